/** What is stored need not look as it was sent: subjects are mapped and transformed, counters count, and others reply first. */
import { connect, type NatsConnection } from 'nats.ws'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, createClient, type Problem, type Published, publishPath } from '../contract/client.ts'
import { failed } from '../contract/results.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { type SwallowingRelay, startSwallowingRelay } from './swallowing-relay.ts'

/** `in.x` is stored as `M.x`, `both.x` as one of two, `M.from` as `M.to`. */
const MAPPINGS = `mappings {
  "in.*": "M.$1"
  "both.*": [{ destination: "M.one.$1", weight: 50% }, { destination: "M.two.$1", weight: 50% }]
  "M.from": "M.to"
}`
const STREAMS = [
  { name: 'M', subjects: ['M.>'] },
  { name: 'T', subjects: ['T.>'], subject_transform: { src: 'T.*', dest: 'stored.{{wildcard(1)}}' } },
  { name: 'R', subjects: ['R.>'], republish: { src: 'R.>', dest: 'again.>' }, allow_rollup_hdrs: true },
  { name: 'Z', subjects: ['Z.>'], compression: 's2', storage: 'file', allow_msg_ttl: true },
  { name: 'C', subjects: ['C.>'], allow_msg_counter: true },
] as const
const SUBJECTS = ['in.a', 'both.a', 'M.from', 'M.plain', 'T.a', 'T.deep.a', 'R.a', 'Z.a']
/** Long enough for a service's reply, short enough for a test that waits for it to pass. */
const REQUEST_TIMEOUT_MS = '1000'

describe.each(HOSTS)('what is stored in another form than it was sent, on %s', (name) => {
  let nats: TestNats
  let native: NatsConnection
  let relay: SwallowingRelay
  let host: TestHost
  let bridge: Client

  beforeAll(async () => {
    nats = await startNats({ configText: MAPPINGS })
    native = await connect({ servers: nats.wsUrl })
    relay = await startSwallowingRelay(nats.wsUrl)
    host = await startHost(name, { natsUrl: relay.wsUrl, env: { REQUEST_TIMEOUT_MS } })
    bridge = await createClient(host.url)
    for (const stream of STREAMS)
      await bridge.ok('POST /v1/streams', {
        json: { storage: 'memory', allow_atomic: stream.name !== 'C', ...stream },
      })
  })
  afterAll(async () => {
    await host?.stop()
    await native?.close()
    await relay?.close()
    await nats?.stop()
  })

  const keyed = (subject: string, body: string, key: string, headers = {}) =>
    bridge.send<Published & Problem>(`POST ${publishPath(subject)}`, {
      body,
      headers: { 'Idempotency-Key': key, ...headers },
    })

  it.each(SUBJECTS)('the cursor of a publish to %s goes on right after it', async (subject) => {
    for (const headers of [
      {},
      { 'Idempotency-Key': crypto.randomUUID() },
      { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` },
    ]) {
      const { stream, cursor } = await bridge.publish(subject, 'first', headers)
      const next = await bridge.publish(subject, 'second')

      expect((await bridge.page(stream, { cursor })).messages).toMatchObject([
        { seq: next.seq, data: 'second' },
      ])
    }
  })

  it.each([
    ['a counter', 'C.a', { 'Nats-Incr': '+2' }],
    ['a rollup', 'R.a', { 'Nats-Rollup': 'sub' }],
    ['one that ages', 'Z.a', { 'Nats-TTL': '1h' }],
  ])('the cursor of %s goes on right after it', async (_, subject, headers) => {
    const { stream, cursor } = await bridge.publish(subject, '', headers)
    const next = await bridge.publish(subject, '', headers)

    expect((await bridge.page(stream, { cursor })).messages).toMatchObject([{ seq: next.seq }])
  })

  it('the cursor of a message that was deleted since goes on right after it', async () => {
    const { stream, seq, cursor } = await bridge.publish('in.gone', 'first')
    const next = await bridge.publish('in.gone', 'second')
    await bridge.ok(`DELETE /v1/streams/${stream}/messages/${seq}`)

    expect((await bridge.page(stream, { cursor })).messages).toMatchObject([{ seq: next.seq }])
  })

  it.each(SUBJECTS)('200 duplicate when the same key comes again on %s', async (subject) => {
    const key = crypto.randomUUID()
    const first = await keyed(subject, 'once', key)
    for (let n = 0; n < 6; n += 1) await bridge.publish(subject, 'other')

    for (let n = 0; n < 4; n += 1)
      expect(await keyed(subject, 'once', key)).toMatchObject({
        status: 200,
        body: { duplicate: true, seq: first.body.seq },
      })
    expect(await keyed(subject, 'another', key)).toMatchObject({
      status: 422,
      body: { code: 'idempotency_conflict' },
    })
  })

  it.each([
    ['in.k', 'in.l'],
    ['T.k', 'T.l'],
    ['M.plain', 'in.m'],
  ])('422 when the key of %s is used for %s', async (one, other) => {
    const key = crypto.randomUUID()
    await keyed(one, 'once', key)
    await bridge.publish(other, 'something')

    expect(await keyed(other, 'once', key)).toMatchObject({
      status: 422,
      body: { code: 'idempotency_conflict' },
    })
  })

  it.each(['in.c', 'T.c', 'M.own'])(
    '200 duplicate when a conditional publish to %s comes again, 412 with the sequence for another',
    async (subject) => {
      const key = crypto.randomUUID()
      const first = await keyed(subject, 'once', key, { 'If-None-Match': '*' })

      expect(await keyed(subject, 'once', key, { 'If-None-Match': '*' })).toMatchObject({
        status: 200,
        body: { duplicate: true, seq: first.body.seq },
      })
      expect(await keyed(subject, 'once', crypto.randomUUID(), { 'If-None-Match': '*' })).toMatchObject({
        status: 412,
        body: { current_seq: first.body.seq },
      })
    },
  )

  it.each(['in', 'T', 'both'])(
    '200 with the same sequences when an atomic batch to %s.* comes again',
    async (place) => {
      const batch = crypto.randomUUID()
      const messages = ['a', 'b', 'c'].map((tail) => ({
        subject: `${place}.${tail}`,
        data: tail,
        id: `${batch}-${tail}`,
      }))
      const send = () =>
        bridge.ok<{ results: Published[] }>('POST /v1/messages', { json: { messages, atomic: true } })

      const { results } = await send()
      await bridge.publish(`${place}.a`, 'other')
      expect((await send()).results).toMatchObject(results.map(({ seq }) => ({ seq })))
    },
  )

  it.each(['in.lost', 'both.lost', 'T.lost'])(
    '200 duplicate for a keyed publish to %s whose PubAck is lost',
    async (subject) => {
      await bridge.publish(subject, 'before')
      relay.swallow()

      const { status, body } = await keyed(subject, 'once', crypto.randomUUID())

      expect({ status, body }).toMatchObject({ status: 200, body: { duplicate: true } })
      const { messages } = await bridge.page(body.stream, { start: `seq:${body.seq}` })
      expect(messages).toMatchObject([{ data: 'once' }])
    },
  )

  describe('a service replies on the subject', () => {
    const serve = (subject: string, reply: string) => {
      const served = native.subscribe(subject, {
        callback: (_, message) => void message.respond(new TextEncoder().encode(reply)),
      })
      return native.flush().then(() => served)
    }

    it.each(['', 'thanks', '{}', '{"error":"no"}', '{"ok":true,"seq":7}'])(
      '201 with the sequence in the stream, whatever it says: %s',
      async (reply) => {
        const served = await serve('M.>', reply)
        try {
          const published = await bridge.publish('M.served', reply)
          const { body } = await keyed('M.served', 'keyed', crypto.randomUUID())
          const sent = ['a', 'b'].map((tail) => ({ subject: `M.served.${tail}`, data: tail }))
          for (const atomic of [false, true]) {
            const { results } = await bridge.ok<{ results: Published[] }>('POST /v1/messages', {
              json: { messages: sent, atomic },
            })
            expect(results).toMatchObject([{ stream: 'M' }, { stream: 'M' }])
          }
          const { messages } = await bridge.page('M', { start: `seq:${published.seq}` })
          expect(messages.slice(0, 2)).toMatchObject([{ data: reply }, { data: 'keyed', seq: body.seq }])
          expect(messages).toHaveLength(6)
        } finally {
          served.unsubscribe()
        }
      },
    )

    it('a refused batch of many subjects of a service is answered, and asks about few of them', async () => {
      let asked = 0
      const served = native.subscribe('many.>', {
        callback: (_, message) => {
          asked += 1
          message.respond()
        },
      })
      await native.flush()
      const messages = Array.from({ length: 200 }, (_, n) => ({ subject: `many.${n}`, data: '' }))

      const { status, body } = await bridge.send<Problem>('POST /v1/messages', {
        json: { messages, atomic: true },
      })
      served.unsubscribe()

      expect({ status, body }).toMatchObject({ status: 404, body: { code: 'subject_not_found' } })
      expect(asked).toBeLessThan(messages.length + 30)
    })

    it('504 that it may be stored where the stream confirms nothing, and 404 where no stream listens', async () => {
      await bridge.ok('POST /v1/streams', {
        json: { name: 'SILENT', subjects: ['silent.>'], no_ack: true, storage: 'memory' },
      })
      const served = [await serve('silent.>', 'thanks'), await serve('nowhere', 'thanks')]

      const unconfirmed = await bridge.send(`POST ${publishPath('silent.a')}`)
      expect(unconfirmed).toMatchObject({
        status: 504,
        body: { code: 'publish_unconfirmed', side_effects: 'possible' },
      })
      expect(await bridge.send(`POST ${publishPath('nowhere')}`)).toMatchObject({
        status: 404,
        body: { code: 'subject_not_found' },
      })
      for (const one of served) one.unsubscribe()
    })
  })

  describe('the stream is changed within moments', () => {
    const config = (name: string, more = {}) => ({
      json: { name, subjects: [`${name}.>`], storage: 'memory', ...more },
    })

    it('a publish tells the duplicate window of now', async () => {
      await bridge.ok('POST /v1/streams', config('W', { duplicate_window_ms: 60_000 }))
      for (const duplicate_window_ms of [60_000, 1_000, 30_000]) {
        await bridge.ok('PUT /v1/streams/W', config('W', { duplicate_window_ms }))
        expect((await keyed('W.a', '', crypto.randomUUID())).body).toMatchObject({ duplicate_window_ms })
      }
    })

    it('the cursor of a publish is good after the stream was made again, and that of before is not', async () => {
      await bridge.ok('POST /v1/streams', config('AGAIN'))
      const before = await bridge.publish('AGAIN.a', 'before')
      // By others: nothing of it comes by this host. It is longer than it was.
      const ask = (path: string, body: object) =>
        native.request(`$JS.API.STREAM.${path}`, JSON.stringify(body))
      await ask('DELETE.AGAIN', {})
      await ask('CREATE.AGAIN', { name: 'AGAIN', subjects: ['AGAIN.>'], storage: 'memory' })
      for (let n = 0; n < 3; n += 1) await native.request('AGAIN.a', 'by others')

      const { cursor, seq } = await bridge.publish('AGAIN.a', 'after')
      expect(seq).toBe(4)
      expect((await bridge.page('AGAIN', { cursor })).messages).toEqual([])
      expect(
        await bridge.send('GET /v1/streams/AGAIN/messages', { query: { cursor: before.cursor } }),
      ).toMatchObject({
        status: 410,
        body: { code: 'stream_recreated' },
      })
    })
  })

  it('413, and no connection is lost, when a message fits and its headers do not', async () => {
    const { limits } = await bridge.ok<{ limits: { max_payload_bytes: number } }>('GET /v1/capabilities')
    const data = 'x'.repeat(limits.max_payload_bytes - 10)

    expect(
      await bridge.send(`POST ${publishPath('M.large')}`, {
        body: data,
        headers: { 'Content-Type': 'text/plain' },
      }),
    ).toMatchObject({
      status: 413,
      body: { code: 'payload_too_large', side_effects: 'none' },
    })
    const { results } = await bridge.ok<{ results: object[] }>('POST /v1/messages', {
      json: {
        messages: [
          { subject: 'M.a', data: '1' },
          { subject: 'M.large', data, id: 'large' },
          { subject: 'M.a', data: '2' },
        ],
      },
    })
    expect(results).toMatchObject([
      { index: 0, stream: 'M' },
      failed(1, 413, 'payload_too_large'),
      { index: 2, stream: 'M' },
    ])
  })
})
