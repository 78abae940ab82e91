/** The publish of one message: the request's body is its payload, byte for byte. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { answer } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { refuse } from '../errors.ts'
import type { MessageHeaders, OutgoingMessage } from '../jetstream.ts'
import { keyOf } from '../publishing/keys.ts'
import { createRouter, noQuery, parseInput } from '../router.ts'
import { readBinaryEvent } from '../schemas/cloud-event.ts'
import { examplesOf, json } from '../schemas/examples.ts'
import { requireBoundedHeaders } from '../schemas/header-bounds.ts'
import type { MessageIdOf } from '../schemas/names.ts'
import { subject, subjectFault } from '../schemas/names.ts'
import { checkNatsHeaders, EXPECTED_LAST_SUBJECT_SEQ, MSG_ID, requireHeed } from '../schemas/nats-headers.ts'
import { problems } from '../schemas/problem.ts'
import {
  CHECKED_HEADERS,
  encodePublished,
  publishedSchema,
  publishHeaders,
  toMessageHeaders,
  toText,
} from '../schemas/publish.ts'
import { isReserved, reservedSubject } from '../schemas/reserved-subjects.ts'
import * as z from '../schemas/zod.ts'
import { askServer, publisherOf, withBody } from './publishing.ts'

/** The answer of a publish of one message, in the contract. */
export const publishedAnswer = (description: string, example: 'published' | 'duplicate') => ({
  description,
  headers: z.object({ Location: z.string().openapi({ description: 'The message.' }) }),
  content: json(publishedSchema, example),
})

const payload = { schema: { type: 'string', format: 'binary' }, examples: examplesOf('payload') } as const

const publishMessageRoute = createRoute({
  method: 'post',
  path: '/v1/subjects/{subject}/messages',
  operationId: 'publishMessage',
  tags: ['Publish'],
  summary: 'Publish a message',
  description:
    'Stores the body as the payload, byte for byte, and answers once JetStream has confirmed it. Its `Content-Type`, `ce-*` ' +
    'and trace headers are stored with it, and any header `NatsH-Name: v` as `Name: v`; other `Nats-*` headers are refused. ' +
    'Without an `Idempotency-Key` the bridge never retries a publish.',
  request: {
    params: z.object({ subject }),
    query: noQuery,
    headers: publishHeaders,
    body: {
      required: false,
      description: 'The payload, of any type; none is an empty payload.',
      content: { 'application/octet-stream': payload, '*/*': payload },
    },
  },
  responses: {
    201: publishedAnswer('Stored.', 'published'),
    200: publishedAnswer('The stream had it already.', 'duplicate'),
    ...problems(
      'subject_not_found',
      'precondition_failed',
      'idempotency_conflict',
      'payload_too_large',
      'unsupported_media_type',
      'publish_unconfirmed',
      'publish_unconfirmed_keyed',
      'stream_full',
      'host_full',
    ),
  },
})

export const publish = createRouter()

// The contract alone: what a schema costs on each publish, `readInput` pays only where there is something to check.
publish.openAPIRegistry.registerPath(publishMessageRoute)

publish.post(publishMessageRoute.getRoutingPath(), async (c) => {
  const { subject, headers } = readInput(c)
  const server = await askServer(c)
  requireHeed(headers, server)
  const { MAX_BODY_BYTES } = c.get('dependencies').settings
  return await withBody(c, Math.min(server.maxPayloadBytes, MAX_BODY_BYTES), (payload) =>
    answerPublish(c, { subject, payload, headers }),
  )
})

/** Publishes one message, and answers once it is confirmed. */
export async function answerPublish(c: Context<AppEnv>, message: OutgoingMessage): Promise<Response> {
  const { reader, cursors } = c.get('session')
  const ack = await publisherOf(c).publish(message)
  c.get('dependencies').metrics.publishes.add(1)
  const [position, duplicateWindowMs] = await Promise.all([
    reader.positionAfter(message, ack),
    keyOf(message) === undefined ? undefined : reader.duplicateWindowOf(ack.stream),
  ])
  const cursor = cursors.scope(ack.stream, []).seal(position)
  return answer(c, encodePublished(ack, cursor, duplicateWindowMs), {
    status: ack.duplicate ? 200 : 201,
    headers: {
      'Content-Type': 'application/json',
      Location: `${c.get('dependencies').publicAddress.path}/v1/streams/${encodeURIComponent(ack.stream)}/messages/${ack.seq}`,
    },
  })
}

/** What the route's schemas take, and refuses what they refuse; they are asked only where something is said to them. */
function readInput(c: Context<AppEnv, '/v1/subjects/:subject/messages'>): {
  subject: string
  headers: MessageHeaders
} {
  if (c.req.url.includes('?')) parseInput(noQuery, c.req.query())
  const subject = c.req.param('subject')
  const fault = subjectFault(subject)
  if (fault !== undefined) throw refuse('subject', fault)
  const sent = [...c.req.raw.headers]
  const own = sent.filter(([name]) => CHECKED_HEADERS.has(name))
  const text = own.map(([name, value]) => [name, toText(value)])
  const said = own.length > 0 ? parseInput(publishHeaders, Object.fromEntries(text)) : {}
  if (isReserved(subject)) throw reservedSubject(subject)
  const passed = toMessageHeaders(sent)
  const headers = { ...passed, ...toConditions(said, passed, c.get('session').messageIdOf) }
  if (own.length > 0) checkNatsHeaders(headers, (header) => header.toLowerCase())
  requireBoundedHeaders(headers)
  return { subject, headers }
}

type PublishHeaders = z.output<typeof publishHeaders>

/** The request's own key and conditions in JetStream's words. */
function toConditions(said: PublishHeaders, passed: MessageHeaders, toId: MessageIdOf): MessageHeaders {
  const expected = said['if-match']?.slice(1, -1) ?? (said['if-none-match'] && '0')
  if (said['if-match'] && said['if-none-match'])
    throw refuse('if-none-match', 'must not be given together with if-match')
  if (expected !== undefined && passed[EXPECTED_LAST_SUBJECT_SEQ] !== undefined) {
    throw refuse(
      EXPECTED_LAST_SUBJECT_SEQ.toLowerCase(),
      'must not be given together with if-match or if-none-match',
    )
  }
  const key = said['idempotency-key'] ?? readBinaryEvent(passed)
  return {
    ...(key === undefined ? {} : { [MSG_ID]: [toId(key)] }),
    ...(expected === undefined ? {} : { [EXPECTED_LAST_SUBJECT_SEQ]: [expected] }),
  }
}
