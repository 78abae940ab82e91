/** Durable consumers: their configuration, state, pause and reset. */
import { createRoute } from '@hono/zod-openapi'
import type { Session } from '../context.ts'
import { BridgeError } from '../errors.ts'
import type { ConsumerInfo, JetStream, StreamInfo } from '../jetstream.ts'
import { createRouter, noQuery } from '../router.ts'
import {
  consumerConfigSchema,
  consumerListSchema,
  consumerSchema,
  encodeConsumer,
  pauseSchema,
  resetSchema,
} from '../schemas/consumer.ts'
import { toJetStream } from '../schemas/durations.ts'
import { json } from '../schemas/examples.ts'
import { consumerName, queryInteger, streamName } from '../schemas/names.ts'
import { problems } from '../schemas/problem.ts'
import * as z from '../schemas/zod.ts'
import { someAtOnce } from '../turns.ts'
import { declared } from './answers.ts'
import { answerList } from './held-answers.ts'

const tags = ['Consumers']
const params = z.object({ stream: streamName, consumer: consumerName })
const missing = ['stream_not_found', 'consumer_not_found'] as const
const badBody = ['payload_too_large', 'unsupported_media_type'] as const

const listConsumersRoute = createRoute({
  method: 'get',
  path: '/v1/streams/{stream}/consumers',
  operationId: 'listConsumers',
  tags,
  summary: 'List the consumers of a stream',
  description:
    'A page of the consumers, by name, each with its state. Follow `next_offset` to the next page.',
  request: {
    params: z.object({ stream: streamName }),
    query: z.strictObject({
      offset: queryInteger(0, Number.MAX_SAFE_INTEGER)
        .optional()
        .openapi({ description: 'Where the page begins; default 0.' }),
    }),
  },
  responses: {
    200: { description: 'A page.', content: json(consumerListSchema, 'consumerList') },
    ...problems('stream_not_found', 'host_full'),
  },
})

const putConsumerRoute = createRoute({
  method: 'put',
  path: '/v1/streams/{stream}/consumers/{consumer}',
  operationId: 'putConsumer',
  tags,
  summary: 'Create or update a durable consumer',
  description: 'Whoever pulls from it shares its messages. Where it starts is settled when it is created.',
  request: {
    params,
    query: noQuery,
    body: { required: false, content: json(consumerConfigSchema, 'consumerConfig', 'consumerFromCursor') },
  },
  responses: {
    200: { description: 'Updated, or there already.', content: json(consumerSchema, 'consumer') },
    201: { description: 'Created.', content: json(consumerSchema, 'consumer') },
    ...problems(
      'stream_not_found',
      'consumer_exists',
      'cursor_invalid',
      'cursor_mismatch',
      'cursor_expired',
      'stream_recreated',
      ...badBody,
    ),
  },
})

const getConsumerRoute = createRoute({
  method: 'get',
  path: '/v1/streams/{stream}/consumers/{consumer}',
  operationId: 'getConsumer',
  tags,
  summary: 'Get a consumer',
  description:
    'Its configuration, how far it is, and a `cursor` to read on from where everything is settled.',
  request: { params, query: noQuery },
  responses: {
    200: { description: 'The consumer.', content: json(consumerSchema, 'consumer') },
    ...problems(...missing),
  },
})

const deleteConsumerRoute = createRoute({
  method: 'delete',
  path: '/v1/streams/{stream}/consumers/{consumer}',
  operationId: 'deleteConsumer',
  tags,
  summary: 'Delete a consumer',
  description: 'Its ack tokens are stale from then on.',
  request: { params, query: noQuery },
  responses: { 204: { description: 'Deleted.' }, ...problems(...missing) },
})

const pauseConsumerRoute = createRoute({
  method: 'post',
  path: '/v1/streams/{stream}/consumers/{consumer}/pause',
  operationId: 'pauseConsumer',
  tags,
  summary: 'Pause a consumer',
  description: 'It delivers nothing until then; NATS 2.11.',
  request: { params, query: noQuery, body: { required: true, content: json(pauseSchema, 'pause') } },
  responses: {
    200: { description: 'The consumer.', content: json(consumerSchema, 'consumer') },
    ...problems(...missing, ...badBody),
  },
})

const resumeConsumerRoute = createRoute({
  method: 'post',
  path: '/v1/streams/{stream}/consumers/{consumer}/resume',
  operationId: 'resumeConsumer',
  tags,
  summary: 'Resume a paused consumer',
  description: 'It delivers again at once; NATS 2.11.',
  request: { params, query: noQuery },
  responses: {
    200: { description: 'The consumer.', content: json(consumerSchema, 'consumer') },
    ...problems(...missing, ...badBody),
  },
})

const resetConsumerRoute = createRoute({
  method: 'post',
  path: '/v1/streams/{stream}/consumers/{consumer}/reset',
  operationId: 'resetConsumer',
  tags,
  summary: 'Reset a consumer',
  description: 'It delivers again from its ack floor, or from a sequence; NATS 2.14.',
  request: { params, query: noQuery, body: { required: false, content: json(resetSchema, 'reset') } },
  responses: {
    200: { description: 'The consumer.', content: json(consumerSchema, 'consumer') },
    ...problems(...missing, ...badBody),
  },
})

/** Consumers of a list whose cursors are looked up at once. */
const CONSUMERS_AT_ONCE = 8

export const consumers = createRouter()
  .openapi(listConsumersRoute, async (c) => {
    const { stream } = c.req.valid('param')
    const { offset = 0 } = c.req.valid('query')
    const { session } = c.var
    // Each consumer has the stream asked for the message at its ack floor.
    const list = await session.scan(c.req.raw.signal, async (signal) => {
      const { items, total } = await session.jetstream.listConsumers(stream, offset)
      const info = await session.jetstream.streamInfo(stream)
      const timeOf = onceForEach((seq: number) => {
        signal.throwIfAborted()
        return timeAt(session.jetstream, info, seq)
      })
      const consumers = await someAtOnce(items, CONSUMERS_AT_ONCE, (one) =>
        encodeAt(session, one, { info, timeOf }),
      )
      const next = offset + items.length
      return { consumers, total, next_offset: next < total ? next : null }
    })
    return declared(answerList(c, list))
  })
  .openapi(putConsumerRoute, async (c) => {
    const { stream, consumer } = c.req.valid('param')
    const { cursor, ...said } = c.req.valid('json')
    const { session } = c.var
    const existing = await findConsumer(session.jetstream, stream, consumer)
    const start =
      cursor === undefined ? {} : await startAfter(session, stream, said.filter_subjects ?? [], cursor)
    const config = { deliver_policy: 'all', ...toJetStream(said), ...start, durable_name: consumer }
    const info = await session.jetstream.putConsumer(stream, config)
    return c.json(await encode(session, info), existing ? 200 : 201)
  })
  .openapi(getConsumerRoute, async (c) => {
    const { stream, consumer } = c.req.valid('param')
    return c.json(await describe(c.var.session, stream, consumer), 200)
  })
  .openapi(deleteConsumerRoute, async (c) => {
    const { stream, consumer } = c.req.valid('param')
    await c.var.session.jetstream.deleteConsumer(stream, consumer)
    return c.body(null, 204)
  })
  .openapi(pauseConsumerRoute, async (c) => {
    const { stream, consumer } = c.req.valid('param')
    await c.var.session.jetstream.pauseConsumer(stream, consumer, c.req.valid('json').pause_until)
    return c.json(await describe(c.var.session, stream, consumer), 200)
  })
  .openapi(resumeConsumerRoute, async (c) => {
    const { stream, consumer } = c.req.valid('param')
    await c.var.session.jetstream.pauseConsumer(stream, consumer, undefined)
    return c.json(await describe(c.var.session, stream, consumer), 200)
  })
  .openapi(resetConsumerRoute, async (c) => {
    const { stream, consumer } = c.req.valid('param')
    const { session } = c.var
    const askedMs = Date.now()
    const { ts } = await session.jetstream.resetConsumer(stream, consumer, c.req.valid('json').seq)
    // Its time has parts of a millisecond: the next whole one is after it.
    const serverMs = Date.parse(ts ?? '') + 1
    if (!Number.isNaN(serverMs)) session.settled.noteReset(stream, consumer, { serverMs, askedMs })
    return c.json(await describe(session, stream, consumer), 200)
  })

async function findConsumer(
  jetstream: JetStream,
  stream: string,
  consumer: string,
): Promise<ConsumerInfo | undefined> {
  try {
    return await jetstream.consumerInfo(stream, consumer)
  } catch (failure) {
    if (failure instanceof BridgeError && failure.code === 'consumer_not_found') return undefined
    throw failure
  }
}

/** The start of a consumer right after a cursor, checked as a read would check it. */
async function startAfter(
  { reader, cursors }: Session,
  stream: string,
  filters: readonly string[],
  cursor: string,
) {
  const scope = cursors.scope(stream, filters)
  const position = scope.open(cursor)
  await reader.page({ stream, filters, scope, from: { position }, limit: 1, maxBytes: 1, onGap: 'error' })
  return { deliver_policy: 'by_start_sequence', opt_start_seq: position.seq + 1 }
}

async function describe(session: Session, stream: string, consumer: string) {
  return encode(session, await session.jetstream.consumerInfo(stream, consumer))
}

async function encode(session: Session, consumer: ConsumerInfo) {
  const info = await session.jetstream.streamInfo(consumer.stream_name)
  return encodeAt(session, consumer, { info, timeOf: (seq) => timeAt(session.jetstream, info, seq) })
}

/** A stream, and when its messages were stored. */
interface Times {
  readonly info: StreamInfo
  timeOf(seq: number): Promise<string | undefined>
}

async function encodeAt({ cursors }: Session, info: ConsumerInfo, { info: stream, timeOf }: Times) {
  const scope = cursors.scope(info.stream_name, filtersOf(info))
  const seq = info.ack_floor.stream_seq
  const time = await timeOf(seq)
  const position = { seq, created: stream.created, ...(time === undefined ? {} : { time }) }
  return encodeConsumer(info, scope.seal(position))
}

/** Asks once for each key, however often it is asked. */
function onceForEach<Key, Value>(ask: (key: Key) => Promise<Value>): (key: Key) => Promise<Value> {
  const asked = new Map<Key, Promise<Value>>()
  return (key) => {
    const known = asked.get(key) ?? ask(key)
    asked.set(key, known)
    return known
  }
}

/** When the message at a sequence was stored: a cursor without it does not show that the stream has lost its tail since. */
async function timeAt(jetstream: JetStream, { config, state }: StreamInfo, seq: number) {
  if (seq === 0 || seq < state.first_seq) return undefined
  if (seq === state.last_seq) return state.last_ts
  return (await jetstream.getMessage(config.name, { seq }))?.time
}

function filtersOf({ config }: ConsumerInfo): string[] {
  const { filter_subject, filter_subjects } = config
  if (typeof filter_subject === 'string' && filter_subject !== '') return [filter_subject]
  return Array.isArray(filter_subjects) ? filter_subjects.map(String) : []
}
