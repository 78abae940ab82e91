/** The jobs that a NATS user may be made for, and what each takes: the list that the README has. */
import { expect } from 'vitest'
import { type Client, publishPath, type StreamBody } from '../contract/client.ts'
import { type EventStream, openEvents } from '../contract/events.ts'
import { at, range, until } from '../contract/expectations.ts'

/** Where a job is done: on a stream of its own, which listens on `<stream>.>` and has a consumer `billing`. */
export interface Place {
  readonly stream: string
  readonly path: string
  readonly admin: Client
  /** Whether the server can pause and reset consumers. */
  readonly isCurrent: boolean
  /** Whether to wait and see that nothing is left behind. */
  readonly looksBehind: boolean
}

/** Something to do with one stream, by a user who may do just that. */
export interface Job {
  readonly name: string
  /** What may be published to, besides the subscription to `_INBOX.>`. */
  readonly publish: (stream: string) => readonly string[]
  /** Of the stream. */
  readonly config?: Readonly<Record<string, unknown>>
  /** Throws where a part of it is refused. */
  readonly run: (client: Client, place: Place) => Promise<unknown>
}

export const CONSUMER = 'billing'
const LINES = { headers: { Accept: 'application/x-ndjson' } }
/** More than a server sends without hearing from its reader: 3 MB. */
const LARGE = 'x'.repeat(100_000)
const MANY = 30
/** A feed that nobody reads is kept for five seconds. */
const TIDY_MS = 8_000
const LIVE_MS = 8_000

async function readPages(client: Client, { stream, path }: Place) {
  const { cursor } = await client.page(stream, { limit: 1 })
  await client.page(stream, { cursor })
  for (const start of [
    'beginning',
    'last',
    'last_per_subject',
    'seq:2',
    'tail:1',
    'time:2020-01-01T00:00:00Z',
  ]) {
    await client.page(stream, { start, subject: [`${stream}.a`, `${stream}.b`] })
  }
  await client.ok(`GET ${path}/messages`, LINES)
  await client.ok(`GET ${path}/messages/1`)
  await client.ok(`GET ${path}/messages/last`)
  await client.ok(`GET ${path}`)
  await client.ok(`GET ${path}/subjects`)
  await client.ok('POST /v1/tickets', { json: { stream } })
}

/** Throws what an `error` event says. */
async function untilOrRefused(events: EventStream, name: string, count: number) {
  const failure = await events.until(
    `${count} events "${name}"`,
    () => {
      const failed = events.events.find(({ event }) => event === 'error')
      return failed?.data ?? (events.events.filter(({ event }) => event === name).length >= count && 'none')
    },
    LIVE_MS,
  )
  if (failure !== 'none') throw new Error(failure)
}

/** History, then more live messages than the server sends unasked, then a wait; and nothing left behind. */
async function followLive(client: Client, { stream, path, admin, looksBehind }: Place) {
  const events = await openEvents(client, `${path}/messages`, { query: { start: 'beginning' } })
  await untilOrRefused(events, 'caught_up', 1)
  await Promise.all(range(1, MANY).map(() => admin.publish(`${stream}.a`, LARGE)))
  await untilOrRefused(events, 'message', MANY)
  const waiting = client.page(stream, { start: 'new', wait_ms: 10_000 })
  const published = until('the wait is over', async () => {
    await admin.publish(`${stream}.a`)
    return (await Promise.race([waiting, undefined])) ?? false
  })
  expect((await published).messages.length).toBeGreaterThan(0)
  events.close()
  if (!looksBehind) return
  const left = async () => (await admin.ok<StreamBody>(`GET ${path}`)).state.consumer_count
  await until('its consumer is gone', async () => (await left()) === 1, TIDY_MS)
}

async function publishMany(client: Client, { stream }: Place) {
  const messages = range(1, 3).map((n) => ({ subject: `${stream}.a`, data: `${n}`, id: `many-${n}` }))
  const sent = { json: { messages } }
  const stored = (duplicate: boolean) => Array(3).fill(expect.objectContaining({ stream, duplicate }))
  for (const duplicate of [false, true]) {
    const answered = await client.ok('POST /v1/messages', sent)
    expect(answered, JSON.stringify(answered)).toEqual({ results: stored(duplicate) })
  }
}

/** Without a look at the stream a publish with a key works, but is not told from another. */
async function publishKeyed(client: Client, { stream, isCurrent }: Place) {
  const send = (headers: Readonly<Record<string, string>>, body: string) =>
    client.send<{ duplicate_window_ms?: number }>(`POST ${publishPath(`${stream}.b`)}`, { headers, body })
  const conditional = { 'Idempotency-Key': 'k', 'If-Match': '"2"' }
  const first = await send(conditional, 'x')
  expect(first.status, JSON.stringify(first.body)).toBe(201)
  await client.publish(`${stream}.b`, 'later')
  const seen = [(await send(conditional, 'x')).status, (await send({ 'Idempotency-Key': 'k' }, 'y')).status]
  const wanted = [200, 422]
  // 2.10 looks at keys before conditions.
  if (isCurrent && first.body.duplicate_window_ms === undefined) throw new Error('Not within its permissions')
  if (JSON.stringify(seen) !== JSON.stringify(wanted)) throw new Error(`Not within its permissions: ${seen}`)
}

async function consume(client: Client, { stream, path, admin }: Place) {
  const consumer = `${path}/consumers/${CONSUMER}`
  await admin.publish(`${stream}.a`)
  const { messages } = await client.pull(consumer, { batch: 1, wait_ms: 5_000 })
  const [progress] = await client.settle({ token: at(messages, 0).ack_token, action: 'progress' })
  if (progress?.error) throw new Error(JSON.stringify(progress.error))
  const acked = await client.settle({ token: progress?.ack_token ?? '', action: 'ack' })
  expect(acked).toEqual([{ status: 'ok' }])
  await client.ok('POST /v1/tickets', { json: { stream, consumer: CONSUMER } })
}

async function consumeEvents(client: Client, place: Place) {
  await consume(client, place)
  const events = await openEvents(client, `${place.path}/consumers/${CONSUMER}/messages`)
  await events.take('message', 1)
  events.close()
}

async function manageConsumers(client: Client, { stream, path, isCurrent }: Place) {
  const consumer = `${path}/consumers/worker`
  await client.ok(`PUT ${consumer}`, { json: {} })
  await client.ok(`PUT ${path}/consumers/filtered`, { json: { filter_subjects: [`${stream}.a`] } })
  await client.ok(`GET ${consumer}`)
  await client.ok(`GET ${path}/consumers`)
  if (isCurrent) {
    await client.ok(`POST ${consumer}/pause`, { json: { pause_until: '2099-01-01T00:00:00Z' } })
    await client.ok(`POST ${consumer}/resume`)
    await client.ok(`POST ${consumer}/reset`, { json: {} })
  }
  await client.ok(`DELETE ${consumer}`)
}

async function manageStreams(client: Client, { stream, path }: Place) {
  await client.ok('GET /v1/streams')
  await client.ok(`GET ${path}`)
  await client.ok(`PUT ${path}`, {
    json: { subjects: [`${stream}.>`], storage: 'memory', max_age_ms: 3_600_000 },
  })
  await client.ok(`DELETE ${path}/messages/1`)
  await client.ok(`POST ${path}/purge`, { json: {} })
  await client.ok(`DELETE ${path}`)
  await client.ok('POST /v1/streams', {
    json: { name: stream, subjects: [`${stream}.>`], storage: 'memory' },
  })
}

const READ = (stream: string) => [
  `$JS.API.STREAM.INFO.${stream}`,
  `$JS.API.STREAM.MSG.GET.${stream}`,
  `$JS.API.DIRECT.GET.${stream}`,
]
const CONSUME = (stream: string) => [
  `$JS.API.CONSUMER.INFO.${stream}.${CONSUMER}`,
  `$JS.API.CONSUMER.MSG.NEXT.${stream}.${CONSUMER}`,
  `$JS.ACK.${stream}.${CONSUMER}.>`,
]

export const JOBS: readonly Job[] = [
  {
    name: 'publish',
    publish: (stream) => [`${stream}.>`],
    async run(client, { stream }) {
      const headers = { 'Idempotency-Key': 'k' }
      expect(await client.publish(`${stream}.a`, 'x', headers)).toMatchObject({ duplicate: false })
      expect(await client.publish(`${stream}.a`, 'x', headers)).toMatchObject({ duplicate: true })
      const conflict = await client.send(`POST ${publishPath(`${stream}.a`)}`, {
        headers: { 'If-Match': '"99"' },
      })
      expect(conflict.status).toBe(412)
    },
  },
  {
    name: 'publish many',
    publish: (stream) => [`${stream}.>`],
    run: publishMany,
  },
  {
    name: 'publish, with keys that are looked up',
    publish: (stream) => [`${stream}.>`, `$JS.API.STREAM.INFO.${stream}`, `$JS.API.STREAM.MSG.GET.${stream}`],
    run: publishKeyed,
  },
  { name: 'read by cursor', publish: READ, run: readPages },
  {
    name: 'read by cursor, live',
    publish: (stream) => [
      ...READ(stream),
      `$JS.API.CONSUMER.CREATE.${stream}.*`,
      `$JS.API.CONSUMER.DELETE.${stream}.*`,
      `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
    ],
    run: followLive,
  },
  {
    name: 'read by cursor, without Direct Get',
    publish: (stream) => [
      ...READ(stream),
      `$JS.API.CONSUMER.CREATE.${stream}.>`,
      `$JS.API.CONSUMER.MSG.NEXT.${stream}.*`,
      `$JS.API.CONSUMER.DELETE.${stream}.*`,
    ],
    config: { allow_direct: false },
    async run(client, place) {
      await readPages(client, place)
      await followLive(client, place)
    },
  },
  { name: 'pull and acknowledge', publish: CONSUME, run: consume },
  {
    name: 'pull and acknowledge, as server-sent events',
    publish: (stream) => [...CONSUME(stream), `$JS.API.STREAM.INFO.${stream}`],
    run: consumeEvents,
  },
  {
    name: 'manage consumers',
    publish: (stream) => [
      `$JS.API.STREAM.INFO.${stream}`,
      `$JS.API.CONSUMER.CREATE.${stream}.>`,
      `$JS.API.CONSUMER.INFO.${stream}.*`,
      `$JS.API.CONSUMER.LIST.${stream}`,
      `$JS.API.CONSUMER.PAUSE.${stream}.*`,
      `$JS.API.CONSUMER.RESET.${stream}.*`,
      `$JS.API.CONSUMER.DELETE.${stream}.*`,
    ],
    run: manageConsumers,
  },
  {
    name: 'manage streams',
    publish: (stream) => [
      '$JS.API.STREAM.LIST',
      `$JS.API.STREAM.CREATE.${stream}`,
      `$JS.API.STREAM.INFO.${stream}`,
      `$JS.API.STREAM.UPDATE.${stream}`,
      `$JS.API.STREAM.PURGE.${stream}`,
      `$JS.API.STREAM.DELETE.${stream}`,
      `$JS.API.STREAM.MSG.DELETE.${stream}`,
    ],
    run: manageStreams,
  },
]

/** Jobs that a server without Direct Get of several messages, one before 2.11, does as if the stream did not allow it. */
export const DIRECT_READS = new Set(['read by cursor', 'read by cursor, live'])
