/** Publishing CloudEvents: one that is all of the body or stands in the headers, or a batch of them. */
import type { Context } from 'hono'
import type { AppEnv } from '../context.ts'
import { BridgeError, refuse } from '../errors.ts'
import type { OutgoingMessage, ServerInfo } from '../jetstream.ts'
import { Pipeline } from '../publishing/pipeline.ts'
import { parseInput } from '../router.ts'
import { MAX_BATCH_MESSAGES } from '../schemas/batch.ts'
import {
  type CloudEvent,
  cloudEventSchema,
  compileSubject,
  keyOf,
  readBinaryEvent,
  requireSeenMembers,
  toMessage,
} from '../schemas/cloud-event.ts'
import { readEventHeaders } from '../schemas/cloud-event-headers.ts'
import { parseExactly } from '../schemas/exact-json.ts'
import { requireBoundedJson } from '../schemas/json-bounds.ts'
import type { MessageIdOf } from '../schemas/names.ts'
import { checkNatsHeaders, MSG_ID, requireHeed } from '../schemas/nats-headers.ts'
import { addressed } from '../schemas/outgoing.ts'
import { toMessageHeaders } from '../schemas/publish.ts'
import * as z from '../schemas/zod.ts'
import { answerPublish } from './publish.ts'
import { answerOutcomes, publishEach } from './publish-batch.ts'
import { askServer, type JsonHold, publisherOf, withBody, withJson } from './publishing.ts'

/** The header that says what makes the NATS subject of events. */
export const SUBJECT_HEADER = 'nats-subject'

/** What makes the NATS subject of an event: a query parameter or a header, or the event's own subject. */
type ToSubject = ReturnType<typeof compileSubject>

/** The message of an event, with the key that makes it the same event wherever it comes again. */
function toOutgoing(event: CloudEvent, toSubject: ToSubject, toId: MessageIdOf): OutgoingMessage {
  const { subject, payload, headers } = toMessage(event, toSubject(event))
  return addressed(subject, payload, { ...headers, [MSG_ID]: [toId(keyOf(event))] })
}

const maxBytesOf = (c: Context<AppEnv>, { maxPayloadBytes }: ServerInfo) =>
  Math.min(maxPayloadBytes, c.get('dependencies').settings.MAX_BODY_BYTES)

function readEvent(value: unknown): CloudEvent {
  requireSeenMembers(value)
  return parseInput(cloudEventSchema, value)
}

/** Structured mode: the body is the event. */
export async function answerEvent(c: Context<AppEnv>, template: string | undefined): Promise<Response> {
  const toSubject = compileSubject(template)
  return await withJson(c, c.get('dependencies').settings.MAX_BATCH_BYTES, async (body, counts) => {
    const event = readEvent(parseExactly(decode(body, counts)))
    counts.publishes(1, true)
    return await answerPublish(c, toOutgoing(event, toSubject, c.get('session').messageIdOf))
  })
}

/** Binary mode: the event stands in the headers, the body is its data. */
export async function answerBinaryEvent(c: Context<AppEnv>, template: string | undefined): Promise<Response> {
  const headers = toMessageHeaders([...c.req.raw.headers].filter(([name]) => name !== SUBJECT_HEADER))
  checkNatsHeaders(headers)
  const key = readBinaryEvent(headers)
  if (key === undefined) throw refuse('ce-specversion', 'must be there')
  const subject = compileSubject(template)(readEventHeaders(headers).attributes as CloudEvent)
  const server = await askServer(c)
  requireHeed(headers, server)
  const named = { ...headers, [MSG_ID]: [c.get('session').messageIdOf(key)] }
  return await withBody(c, maxBytesOf(c, server), (payload) =>
    answerPublish(c, addressed(subject, payload, named)),
  )
}

/** The events as they are read: what is wrong with one is told of that one. */
export const eventsSchema = z.array(z.unknown()).max(MAX_BATCH_MESSAGES)

/** Batch mode: the body is an array of events, each of which is stored by itself. */
export async function answerEvents(c: Context<AppEnv>, template: string | undefined): Promise<Response> {
  const { publishers, settings } = c.get('dependencies')
  const toSubject = compileSubject(template)
  const toId = c.get('session').messageIdOf
  return await publishers.hold(c.get('caller').tenant, async () => {
    await askServer(c)
    const read = (value: unknown) => toOutgoing(readEvent(value), toSubject, toId)
    return await withJson(c, settings.MAX_BATCH_BYTES, async (body, counts) => {
      const events = parseInput(eventsSchema, parseExactly(decode(body, counts)))
      counts.publishes(events.length, false)
      return await answerOutcomes(c, await publishEach(new Pipeline(publisherOf(c)), events, read))
    })
  })
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The body as JSON text within its bounds. */
function decode(body: Uint8Array, counts: JsonHold): string {
  try {
    const text = utf8.decode(body)
    counts.parses(text, requireBoundedJson(text, 'body'))
    return text
  } catch (failure) {
    throw failure instanceof BridgeError ? failure : refuse('body', 'must be UTF-8')
  }
}
