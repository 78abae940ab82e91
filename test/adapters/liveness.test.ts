/** What keeps a connection that all requests of a credential share: what is under way on it, and a server that is only slow. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Connection, prepareConnection } from '../../src/adapters/nats/connection.ts'
import { follow } from '../../src/adapters/nats/follow.ts'
import { settled } from '../../src/adapters/nats/liveness.ts'
import { pull } from '../../src/adapters/nats/pull.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { EAGER, eventually, makeStream, open, publishText, settingsFor } from './support.ts'

const IDLE_MS = 150
const WAIT_MS = 10 * IDLE_MS
const signal = new AbortController().signal

let nats: TestNats
let stream: string
let other: ReturnType<typeof open>
const opened: Connection[] = []

beforeAll(async () => {
  nats = await startNats()
  other = open(nats.wsUrl)
  stream = await makeStream(other.jetstream)
  await other.jetstream.putConsumer(stream, { durable_name: 'work', ack_policy: 'explicit' })
})
afterAll(async () => {
  await Promise.all(opened.map((connection) => connection.close()))
  await other?.close()
  await nats?.stop()
})

const prepare = (more: object = {}) => {
  const connection = prepareConnection({ ...settingsFor(nats.wsUrl), ...more }, { kind: 'own' })
  opened.push(connection)
  return connection
}
const take = (connection: Connection, waitMs: number) =>
  pull(connection, { stream, consumer: 'work' }, { batch: 1, maxBytes: 1_048_576, waitMs, signal })

it('a pull that waits for longer than a connection may be idle is not hung up under, and one that nobody uses is', async () => {
  const connection = prepare({ IDLE_CONNECTION_MS: IDLE_MS })
  const client = await connection.client()
  expect(await take(connection, WAIT_MS)).toEqual([])
  expect(await connection.client()).toBe(client)
  await eventually(() => client.isClosed())
})

it('who follows a stream on which nothing happens is not hung up under', async () => {
  const connection = prepare({ IDLE_CONNECTION_MS: IDLE_MS })
  const client = await connection.client()
  const ended: unknown[] = []
  const request = {
    stream,
    fromSeq: 1,
    listener: { ...EAGER, message: () => {}, ended: (why: unknown) => void ended.push(why) },
  }
  const following = await follow(connection, { ...request, heartbeatMs: 100 * IDLE_MS })
  expect(await take(prepare(), WAIT_MS)).toEqual([])
  expect([client.isClosed(), ended]).toEqual([false, []])
  await following.stop()
  await eventually(() => client.isClosed())
})

it('a server that answers a flush after more than a second keeps its connection and what is under way on it', async () => {
  const connection = prepare()
  const client = await connection.client()
  const waiting = take(connection, 20_000)
  await eventually(async () => (await other.jetstream.consumerInfo(stream, 'work')).num_waiting > 0)
  await nats.pause()
  expect(await settled(client)).toBe(false)
  nats.resume()
  await publishText(other.jetstream, `${stream}.a`, 'x')
  expect((await waiting).length).toBe(1)
  expect(await settled(client)).toBe(true)
  expect(await connection.client()).toBe(client)
})

it('a server from which nothing comes any more is given up', async () => {
  const connection = prepare()
  const client = await connection.client()
  await nats.pause()
  try {
    expect(await settled(client)).toBe(false)
    await eventually(() => client.isClosed())
  } finally {
    nats.resume()
  }
})
