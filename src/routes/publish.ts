/** Owns the publish of one message: the request's body is its payload, byte for byte. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { answer as answerWith } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { BridgeError, refuse } from '../errors.ts'
import type { JetStream, MessageHeaders, OutgoingMessage, PubAck } from '../jetstream.ts'
import { readBody } from '../read-body.ts'
import { createRouter, noQuery, parseInput } from '../router.ts'
import { examplesOf, json } from '../schemas/examples.ts'
import { isReserved, subject, subjectFault } from '../schemas/names.ts'
import { problems } from '../schemas/problem.ts'
import {
  CHECKED_HEADERS,
  encodePublished,
  publishedSchema,
  publishHeaders,
  RELEASE_OF_LEVEL,
  requiredLevel,
  toMessageHeaders,
} from '../schemas/publish.ts'
import * as z from '../schemas/zod.ts'

const answer = (description: string, example: 'published' | 'duplicate') => ({
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
    201: answer('Stored.', 'published'),
    200: answer('The stream had it already.', 'duplicate'),
    ...problems(
      'subject_not_found',
      'precondition_failed',
      'payload_too_large',
      'publish_unconfirmed',
      'publish_unconfirmed_keyed',
      'stream_full',
    ),
  },
})

export const publish = createRouter()

// The contract alone: what a schema costs on each publish, `readInput` pays only where there is something to check.
publish.openAPIRegistry.registerPath(publishMessageRoute)

publish.post(publishMessageRoute.getRoutingPath(), async (c) => {
  const { subject, headers } = readInput(c)
  const { jetstream, reader, cursors } = c.get('session')
  const { metrics, settings } = c.get('dependencies')
  const server = await jetstream.server()
  const required = requiredLevel(headers)
  if (required && server.apiLevel < required.level) {
    throw new BridgeError(
      'not_supported',
      `${required.header} needs NATS ${RELEASE_OF_LEVEL[required.level]}; the server is ${server.version}.`,
    )
  }
  const payload = await readBody(c.req.raw, Math.min(server.maxPayloadBytes, settings.MAX_BODY_BYTES))
  const message = { subject, payload, headers }
  const ack = await publishOnce(jetstream, message)
  metrics.publishes.add(1)
  const position = await reader.positionAfter(message, ack)
  const cursor = cursors.scope(ack.stream, []).seal(position)
  return answerWith(c, encodePublished(ack, cursor), {
    status: ack.duplicate ? 200 : 201,
    headers: {
      'Content-Type': 'application/json',
      Location: `/v1/streams/${encodeURIComponent(ack.stream)}/messages/${ack.seq}`,
    },
  })
})

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
  const said = own.length > 0 ? parseInput(publishHeaders, Object.fromEntries(own)) : {}
  if (isReserved(subject)) throw new BridgeError('subject_not_found', `No stream listens on "${subject}".`)
  return { subject, headers: { ...toMessageHeaders(sent), ...toConditions(said) } }
}

type PublishHeaders = z.output<typeof publishHeaders>

const MSG_ID = 'Nats-Msg-Id'
const EXPECTED_SEQ = 'Nats-Expected-Last-Subject-Sequence'

/** The request's own conditions in JetStream's words. */
function toConditions(said: PublishHeaders): MessageHeaders {
  const expected = said['if-match']?.slice(1, -1) ?? (said['if-none-match'] && '0')
  if (said['if-match'] && said['if-none-match'])
    throw refuse('if-none-match', 'must not be given together with if-match')
  if (expected !== undefined && said['nats-expected-last-subject-sequence'] !== undefined) {
    throw refuse(
      'nats-expected-last-subject-sequence',
      'must not be given together with if-match or if-none-match',
    )
  }
  return {
    ...(said['idempotency-key'] === undefined ? {} : { [MSG_ID]: [said['idempotency-key']] }),
    ...(expected === undefined ? {} : { [EXPECTED_SEQ]: [expected] }),
  }
}

/** Publishes; a refused condition is looked at again, since the message itself may be what changed the subject. */
async function publishOnce(jetstream: JetStream, message: OutgoingMessage): Promise<PubAck> {
  try {
    return await jetstream.publish(message)
  } catch (failure) {
    if (!(failure instanceof BridgeError) || failure.code !== 'precondition_failed') throw failure
    const key = message.headers[MSG_ID]?.[0]
    const told = failure.members.current_seq
    const last =
      key === undefined && told !== undefined ? undefined : await findLast(jetstream, message.subject)
    if (last && key !== undefined && last.message.headers[MSG_ID]?.[0] === key) {
      return { stream: last.stream, seq: last.message.seq, duplicate: true }
    }
    const current = told ?? last?.message.seq ?? 0
    throw new BridgeError('precondition_failed', `The last sequence of "${message.subject}" is ${current}.`, {
      cause: failure,
      members: { current_seq: current },
    })
  }
}

/** The last message of a subject; undefined where there is none, or the credential may not look. */
async function findLast(jetstream: JetStream, subject: string) {
  try {
    const stream = await jetstream.streamOf(subject)
    const message = stream && (await jetstream.getMessage(stream, { lastBySubject: subject }))
    return message ? { stream, message } : undefined
  } catch (failure) {
    if (failure instanceof BridgeError && failure.code === 'forbidden') return undefined
    throw failure
  }
}
