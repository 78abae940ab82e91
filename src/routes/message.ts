/** Single messages: by sequence or the last of a subject, as JSON or raw, and their deletion. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { chooseType } from '../accept.ts'
import type { AppEnv } from '../context.ts'
import { BridgeError } from '../errors.ts'
import type { Hold } from '../holds.ts'
import type { MessageLookup, StoredMessage } from '../jetstream.ts'
import { JSON_TYPE, mediaTypeOf } from '../media-types.ts'
import { escapedBytes } from '../message-size.ts'
import { createRouter, noQuery } from '../router.ts'
import { MAX_PASSED_CHARS } from '../schemas/bounds.ts'
import { cloudEventSchema } from '../schemas/cloud-event.ts'
import { EVENT_TYPE, toBinaryHeaders } from '../schemas/cloud-event-headers.ts'
import { createEventEncoder } from '../schemas/cloud-event-out.ts'
import { examplesOf, json } from '../schemas/examples.ts'
import { encodeMessage, messageSchema, payloadForm } from '../schemas/message.ts'
import { queryInteger, streamName, subjectFilter } from '../schemas/names.ts'
import { problems } from '../schemas/problem.ts'
import { toNanos } from '../schemas/time.ts'
import * as z from '../schemas/zod.ts'
import { isKnown } from './entity-tags.ts'
import { type HeldBody, heldBody, SMALL_BYTES } from './held-answers.ts'
import { rawHeaders, servedType } from './raw-bodies.ts'

const answers = {
  200: {
    description:
      'The message as JSON, as a CloudEvent, or its raw payload with its own type, and with the `ce-*` headers of an event ' +
      'that is stored in binary mode: what `Accept` prefers, JSON where it does not say. An `Accept` that allows none of ' +
      'these is answered with the raw payload.',
    headers: z.object({
      ETag: z.string().openapi({ description: 'Stays the same as long as the message is there.' }),
    }),
    content: {
      ...json(messageSchema, 'message', 'messageBinary'),
      [EVENT_TYPE]: { schema: cloudEventSchema, examples: examplesOf('cloudEvent') },
      '*/*': { schema: { type: 'string', format: 'binary' } as const, examples: examplesOf('payload') },
    },
  },
  304: { description: 'Unchanged since the `ETag` in `If-None-Match`.' },
  ...problems('stream_not_found', 'message_not_found'),
}
const params = z.object({
  stream: streamName,
  seq: queryInteger(1, Number.MAX_SAFE_INTEGER).openapi({
    description: 'Sequence of the message.',
    example: 42,
  }),
})
const conditional = z.object({
  'if-none-match': z
    .string()
    .max(MAX_PASSED_CHARS)
    .optional()
    .openapi({ description: 'An `ETag` seen before.' }),
})

const getMessageRoute = createRoute({
  method: 'get',
  path: '/v1/streams/{stream}/messages/{seq}',
  operationId: 'getMessage',
  tags: ['Read'],
  summary: 'Get a message by sequence',
  description: 'What a sequence holds never changes, so the answer may be cached privately.',
  request: {
    params,
    query: z.strictObject({ payload: payloadForm }),
    headers: conditional,
  },
  responses: answers,
})

const getLastMessageRoute = createRoute({
  method: 'get',
  path: '/v1/streams/{stream}/messages/last',
  operationId: 'getLastMessage',
  tags: ['Read'],
  summary: 'Get the last message of a subject',
  description: 'The newest message whose subject matches, as the leader of the stream has it.',
  request: {
    params: z.object({ stream: streamName }),
    query: z.strictObject({ subject: subjectFilter.default('>'), payload: payloadForm }),
    headers: conditional,
  },
  responses: answers,
})

const deleteMessageRoute = createRoute({
  method: 'delete',
  path: '/v1/streams/{stream}/messages/{seq}',
  operationId: 'deleteMessage',
  tags: ['Streams'],
  summary: 'Delete a message',
  description: 'Removes one message. Readers by cursor pass over it without a gap.',
  request: {
    params,
    query: noQuery,
  },
  responses: { 204: { description: 'Deleted.' }, ...problems('stream_not_found', 'message_not_found') },
})

/** Seconds that a private cache may keep what a sequence holds. */
const CACHE_SECONDS = 60

export const message = createRouter()
  .openapi(getLastMessageRoute, (c) => {
    const { subject, payload } = c.req.valid('query')
    c.header('Cache-Control', 'private, no-cache')
    return answerMessage(c, c.req.valid('param').stream, { lastBySubject: subject }, payload)
  })
  .openapi(getMessageRoute, (c) => {
    const { stream, seq } = c.req.valid('param')
    c.header('Cache-Control', `private, max-age=${CACHE_SECONDS}`)
    return answerMessage(c, stream, { seq }, c.req.valid('query').payload)
  })
  .openapi(deleteMessageRoute, async (c) => {
    const { stream, seq } = c.req.valid('param')
    await c.var.session.jetstream.deleteMessage(stream, seq)
    return c.body(null, 204)
  })

async function answerMessage(
  c: Context<AppEnv>,
  stream: string,
  lookup: MessageLookup,
  form: 'base64' | 'json' | undefined,
): Promise<Response> {
  const { jetstream, cursors } = c.var.session
  const hold = c.var.dependencies.openHold(c.var.caller.tenant)
  hold.requireRoom(SMALL_BYTES)
  const [info, found] = await Promise.all([
    jetstream.streamInfo(stream),
    jetstream.getMessage(stream, lookup),
  ])
  if (!found) throw new BridgeError('message_not_found', `Stream "${stream}" does not have the message.`)
  const offered = [JSON_TYPE, mediaTypeOf(contentTypeOf(found)), EVENT_TYPE]
  const type = chooseType(c.req.header('Accept'), offered)
  const isEvent = type === EVENT_TYPE
  const isRaw = !isEvent && type !== JSON_TYPE
  const etag = etagOf(found, c.var.session.tagMark, isRaw ? 'raw' : isEvent ? 'event' : (form ?? 'text'))
  c.header('ETag', etag)
  c.header('Vary', 'Accept', { append: true })
  if (isKnown(c.req.header('If-None-Match'), etag)) return c.body(null, 304)
  if (isRaw) return answerRaw(c, found)
  const write = () => {
    if (isEvent) return createEventEncoder(stream)(found)
    const { seq, time } = found
    const cursor = cursors.scope(stream, []).seal({ seq, time, created: info.created })
    return encodeMessage(stream, found, form ?? 'text', { cursor })
  }
  c.header('Content-Type', isEvent ? EVENT_TYPE : JSON_TYPE)
  if (isSmall(found)) return c.body(write())
  return c.body(writeLarge(c, { found, write, form, hold }))
}

const isSmall = ({ payload }: StoredMessage) => payload.length <= SMALL_BYTES / 8

interface Large {
  readonly found: StoredMessage
  readonly write: () => string
  readonly form: 'base64' | 'json' | undefined
  readonly hold: Hold
}

/** Has room for what is written before it is written: beside the message, it as a text and as bytes. */
function writeLarge(c: Context<AppEnv>, { found, write, form, hold }: Large): HeldBody {
  const written = escapedBytes(found.payload) * (form === 'json' ? 2 : 1)
  try {
    hold.take(found.payload.length + 2 * written, 'answers')
    const body = UTF8.encode(write())
    hold.release()
    return heldBody(c, body)
  } finally {
    hold.release()
  }
}

const UTF8 = new TextEncoder()

/**
 * A sequence may be used again in another incarnation of the stream, but not at the same nanosecond; `mark`: of the caller,
 * since the cursor beside a message is good for no other. Weak, since that is sealed anew each time.
 */
function etagOf({ seq, time }: StoredMessage, mark: string, form: string): string {
  return `W/"${seq}-${(toNanos(time) ?? 0n).toString(36)}-${mark}-${form}"`
}

const contentTypeOf = ({ headers }: StoredMessage) => servedType(headers['Content-Type']?.[0])

function answerRaw(c: Context<AppEnv>, { payload, headers }: StoredMessage): Response {
  const ofEvent = toBinaryHeaders(headers)
  const said = { ...ofEvent, ...rawHeaders(ofEvent['Content-Type'] ?? headers['Content-Type']?.[0]) }
  for (const [name, value] of Object.entries(said)) c.header(name, value)
  return c.body(heldBody(c, new Uint8Array(payload)))
}
