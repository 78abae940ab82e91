/** The tests of the connection itself: credentials, permissions, loss and recovery. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePorts } from '../../scripts/ports.ts'
import type { JetStreamConnection, NatsCredential } from '../../src/jetstream.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { pacedNow } from '../support/pace.ts'
import { codeOf, EAGER, eventually, failureOf, makeStream, open, publishText } from './support.ts'

const MAX_BYTES = 1_048_576
const signal = new AbortController().signal

const USERS = `
authorization { users: [
  { user: admin, password: admin }
  { user: writer, password: w, permissions: { publish: ["OPEN.>"], subscribe: ["_INBOX.>"] } }
  { user: deaf, password: d, permissions: { publish: [">"], subscribe: ["nothing"] } }
  { user: reader, password: r, permissions: {
      publish: ["$JS.API.DIRECT.GET.OPEN", "$JS.API.STREAM.MSG.GET.OPEN"], subscribe: ["_INBOX.>"] } }
] }`

interface Connz {
  readonly connections: readonly { readonly name?: string; readonly subscriptions: number }[]
  readonly total: number
}

const connections = async (nats: TestNats): Promise<Connz> =>
  (await (await fetch(`${nats.monitorUrl}/connz`)).json()) as Connz

describe('credentials', () => {
  let nats: TestNats
  const opened: JetStreamConnection[] = []
  const as = (user: string, password: string) => {
    const connection = open(nats.wsUrl, { REQUEST_TIMEOUT_MS: '3000' }, { kind: 'user', user, password })
    opened.push(connection)
    return connection.jetstream
  }

  beforeAll(async () => {
    nats = await startNats({ configText: USERS })
    const admin = as('admin', 'admin')
    await admin.createStream({ name: 'OPEN', subjects: ['OPEN.>'], allow_direct: true })
  })
  afterAll(async () => {
    await Promise.all(opened.map((connection) => connection.close()))
    await nats?.stop()
  })

  it('unauthenticated with a wrong password, with none, and with a token', async () => {
    const wrong = await Promise.all(Array.from({ length: 20 }, () => codeOf(as('admin', 'wrong').ping())))
    expect(new Set(wrong)).toEqual(new Set(['unauthenticated']))
    expect(await codeOf(open(nats.wsUrl).jetstream.ping())).toBe('unauthenticated')
    const token: NatsCredential = { kind: 'token', token: 't' }
    expect(await codeOf(open(nats.wsUrl, {}, token).jetstream.ping())).toBe('unauthenticated')
    expect(await codeOf(open(nats.wsUrl, { NATS_CREDS: 'not a creds file' }).jetstream.ping())).toBe(
      'unauthenticated',
    )
  })

  it("the bridge's own user from the settings", async () => {
    const connection = open(nats.wsUrl, { NATS_USER: 'admin', NATS_PASSWORD: 'admin' })
    opened.push(connection)
    await connection.jetstream.ping()
  })

  it('forbidden at once where a permission is missing, in words of ours', async () => {
    const started = pacedNow()
    const writer = as('writer', 'w')
    expect((await publishText(writer, 'OPEN.a', 'x')).stream).toBe('OPEN')
    const failure = await failureOf(publishText(writer, 'CLOSED.a', 'x'))
    expect([failure.code, failure.message]).toEqual([
      'forbidden',
      'NATS does not let this user publish to "CLOSED.a".',
    ])
    const many = await Promise.all([1, 2, 3].map(() => codeOf(publishText(writer, 'CLOSED.a', 'x'))))
    expect(many).toEqual(['forbidden', 'forbidden', 'forbidden'])
    for (const subject of ['CLOSED.a"b\\c', 'CLOSED.\u200b\u{e0001}', 'CLOSED.\ud7ff'])
      expect((await failureOf(publishText(writer, subject, 'x'))).message).toBe(
        `NATS does not let this user publish to "${subject}".`,
      )
    const mixed = ['OPEN.a', 'CLOSED."a', 'OPEN.b', 'CLOSED.\\b', 'CLOSED."a', 'OPEN.c']
    const outcomes = mixed.map((subject) =>
      publishText(writer, subject, 'x').then(
        () => 'stored',
        () => 'refused',
      ),
    )
    expect(await Promise.all(outcomes)).toEqual(
      mixed.map((subject) => (subject.startsWith('OPEN') ? 'stored' : 'refused')),
    )
    expect((await failureOf(writer.streamInfo('OPEN'))).message).toBe(
      'NATS does not let this user publish to "$JS.API.STREAM.INFO.OPEN".',
    )
    expect(await codeOf(writer.getBatch('OPEN', { from: { seq: 1 }, batch: 1, maxBytes: 1 }))).toBe(
      'forbidden',
    )
    expect(await codeOf(writer.pull('OPEN', 'c', { batch: 1, maxBytes: 1, waitMs: 0, signal }))).toBe(
      'forbidden',
    )
    expect(pacedNow() - started).toBeLessThan(4_000)
  })

  it('forbidden at once where the inbox may not be subscribed to', async () => {
    const started = pacedNow()
    const deaf = as('deaf', 'd')
    expect(await codeOf(deaf.streamInfo('OPEN'))).toBe('forbidden')
    expect(await codeOf(deaf.getBatch('OPEN', { from: { seq: 1 }, batch: 1, maxBytes: 1 }))).toBe('forbidden')
    expect(
      await codeOf(deaf.follow('OPEN', 1, { ...EAGER, message: () => undefined, ended: () => undefined })),
    ).toBe('forbidden')
    expect(pacedNow() - started).toBeLessThan(4_000)
  })

  it('a reader reads, and the level of the server is known without the API', async () => {
    const reader = as('reader', 'r')
    expect(
      (await reader.getBatch('OPEN', { from: { seq: 1 }, batch: 1, maxBytes: 1 })).messages,
    ).toHaveLength(1)
    expect((await reader.server()).apiLevel).toBeGreaterThanOrEqual(4)
    await reader.ping()
  })
})

describe('connection', () => {
  let nats: TestNats
  beforeAll(async () => {
    nats = await startNats()
  })
  afterAll(async () => await nats?.stop())

  it('dials at the first call, once for many at the same time, and leaves no subscription behind', async () => {
    const { jetstream, close } = open(nats.wsUrl)
    expect((await connections(nats)).total).toBe(0)
    const stream = await makeStream(jetstream, { storage: 'file' })
    await publishText(jetstream, `${stream}.a`, 'x')
    const request = { from: { seq: 1 }, batch: 1, maxBytes: MAX_BYTES }
    await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        index % 2 ? jetstream.getBatch(stream, request) : jetstream.getBatchByConsumer(stream, request),
      ),
    )
    const [only, ...others] = await eventually(async () => {
      const { connections: all } = await connections(nats)
      return all[0]?.subscriptions === 1 && all
    })
    expect([only?.name, others.length]).toEqual(['sluice', 0])
    await close()
    await close()
    expect(await codeOf(jetstream.ping())).toBe('jetstream_unavailable')
    await eventually(async () => (await connections(nats)).total === 0)
  })

  it('jetstream_unavailable when nobody is there, and the next address is tried', async () => {
    const [port] = await freePorts(1)
    const dead = `ws://127.0.0.1:${port}`
    expect(await codeOf(open(dead).jetstream.ping())).toBe('jetstream_unavailable')
    expect(await codeOf(publishText(open(dead).jetstream, 'a', 'x'))).toBe('jetstream_unavailable')
    const { jetstream, close } = open(`${dead},${nats.wsUrl},${dead}`)
    await jetstream.ping()
    await close()
  })

  it('a server that was killed and started again is dialled by the next call', async () => {
    const { jetstream, close } = open(nats.wsUrl)
    const stream = await makeStream(jetstream, { storage: 'file' })
    await publishText(jetstream, `${stream}.a`, 'x')
    const ended: unknown[] = []
    await jetstream.follow(stream, 1, {
      message: () => undefined,
      ...EAGER,
      ended: (failure) => void ended.push(failure),
    })
    await jetstream.putConsumer(stream, {
      durable_name: 'work',
      ack_policy: 'explicit',
      filter_subject: `${stream}.b`,
    })
    const pulled = codeOf(
      jetstream.pull(stream, 'work', { batch: 1, maxBytes: MAX_BYTES, waitMs: 20_000, signal }),
    )
    await eventually(async () => (await jetstream.consumerInfo(stream, 'work')).num_waiting > 0)
    await nats.kill()
    expect(await pulled).toBe('jetstream_unavailable')
    await eventually(() => ended.length === 1)
    expect(ended).toMatchObject([{ code: 'jetstream_unavailable' }])
    expect(await codeOf(jetstream.ping())).toBe('jetstream_unavailable')
    await nats.restart()
    expect((await publishText(jetstream, `${stream}.a`, 'y')).seq).toBe(2)
    await close()
  })

  it('what is under way fails at once when the connection is lost', async () => {
    const { jetstream, close } = open(nats.wsUrl, { REQUEST_TIMEOUT_MS: '20000' })
    const stream = await makeStream(jetstream, { storage: 'file' })
    await nats.pause()
    const under = Array.from({ length: 20 }, () => codeOf(publishText(jetstream, `${stream}.a`, 'x')))
    const asked = codeOf(jetstream.streamInfo(stream))
    await new Promise((resolve) => setImmediate(resolve))
    const begun = pacedNow()
    await nats.kill()
    expect(new Set(await Promise.all(under))).toEqual(new Set(['publish_unconfirmed']))
    expect(await asked).toBe('jetstream_unavailable')
    expect(pacedNow() - begun).toBeLessThan(10_000)
    await nats.restart()
    await close()
  })

  it('each request has its own time-out, and what comes late is no answer to a later one', async () => {
    const timeoutMs = 600
    const { jetstream, close } = open(nats.wsUrl, { REQUEST_TIMEOUT_MS: String(timeoutMs) })
    const stream = await makeStream(jetstream)
    await publishText(jetstream, `${stream}.a`, 'x')
    await nats.pause()
    const timed = async (text: string) => {
      const begun = performance.now()
      expect(await codeOf(publishText(jetstream, `${stream}.a`, text))).toBe('publish_unconfirmed')
      return performance.now() - begun
    }
    const first = timed('y')
    await new Promise((resolve) => setTimeout(resolve, timeoutMs / 2))
    const second = timed('z')
    const took = [await first, await second]
    nats.resume()
    const later = await Promise.all(['1', '2'].map((text) => publishText(jetstream, `${stream}.a`, text)))
    expect(later.map(({ seq }) => seq)).toEqual([4, 5])
    for (const ms of took) {
      expect(ms).toBeGreaterThanOrEqual(timeoutMs - 5)
      expect(ms).toBeLessThan(timeoutMs + 5_000)
    }
    await close()
  })

  it('publish_unconfirmed when the server falls silent, nothing is sent twice, and it is dialled again', async () => {
    const { jetstream, close } = open(nats.wsUrl, { REQUEST_TIMEOUT_MS: '200', CONNECT_TIMEOUT_MS: '200' })
    const stream = await makeStream(jetstream, { storage: 'file' })
    await nats.pause()
    const plain = codeOf(publishText(jetstream, `${stream}.a`, 'x'))
    const keyed = codeOf(publishText(jetstream, `${stream}.a`, 'y', { 'Nats-Msg-Id': ['k'] }))
    const read = codeOf(jetstream.getBatch(stream, { from: { seq: 1 }, batch: 1, maxBytes: 1 }))
    expect(await Promise.all([plain, keyed])).toEqual(['publish_unconfirmed', 'publish_unconfirmed_keyed'])
    expect(await read).toBe('jetstream_timeout')
    await eventually(async () => (await codeOf(jetstream.ping())) === 'jetstream_unavailable')
    nats.resume()
    await eventually(() =>
      jetstream
        .ping()
        .then(() => true)
        .catch(() => undefined),
    )
    expect((await publishText(jetstream, `${stream}.a`, 'y', { 'Nats-Msg-Id': ['k'] })).duplicate).toBe(true)
    expect((await jetstream.streamInfo(stream)).state.messages).toBe(2)
    await close()
    await eventually(async () => (await connections(nats)).total === 0)
  })
})
