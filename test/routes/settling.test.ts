/** The tests of acks that come late, twice or from elsewhere: none settles another client's delivery. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Ack, type Client, type ConsumerBody, createClient, type Delivery } from '../contract/client.ts'
import { at, until } from '../contract/expectations.ts'
import { startProxy, type TcpProxy } from '../faults/proxy.ts'
import { startSwallowingRelay } from '../publishing/swallowing-relay.ts'
import { HOSTS, newTokenKey, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const OK = { status: 'ok' }
const STALE = { status: 'stale' }
const LONG_MS = 300_000

describe.each(HOSTS)('acks on %s', (host) => {
  let nats: TestNats
  let proxy: TcpProxy
  let bridges: TestHost[] = []
  /** Near NATS, and over the proxy. */
  let near: Client
  let far: Client
  let streams = 0
  const tokenKey = newTokenKey()

  beforeAll(async () => {
    nats = await startNats()
    const { port } = new URL(nats.wsUrl)
    proxy = await startProxy(Number(port), Math.random)
    const env = { TOKEN_KEYS: tokenKey }
    bridges = await Promise.all([
      startHost(host, { natsUrl: nats.wsUrl, env }),
      startHost(host, { natsUrl: `ws://127.0.0.1:${proxy.port}`, env }),
    ])
    near = await createClient(at(bridges, 0).url)
    far = await createClient(at(bridges, 1).url)
  })
  afterAll(async () => {
    for (const bridge of bridges) await bridge.stop()
    await proxy?.close()
    await nats?.stop()
  })

  const make = async (count: number, config: object = {}) => {
    streams += 1
    const name = `S${streams}`
    await near.ok('POST /v1/streams', { json: { name, subjects: [name], storage: 'memory' } })
    for (let n = 1; n <= count; n += 1) await near.publish(name, `m${n}`)
    const path = `/v1/streams/${name}/consumers/work`
    await near.ok(`PUT ${path}`, { json: { ack_wait_ms: LONG_MS, ...config } })
    return path
  }
  const pull = async (client: Client, path: string, batch = 1) =>
    (await client.pull(path, { batch, wait_ms: 10_000 })).messages
  const settle = async (client: Client, { ack_token: token }: Delivery, ack: Omit<Ack, 'token'>) =>
    at(await client.settle({ token, ...ack }), 0)
  const state = (path: string) => near.ok<ConsumerBody>(`GET ${path}`)

  it.each(['ack', 'term', 'progress'] as const)(
    'stale for %s after a nak, and the next delivery untouched',
    async (action) => {
      const path = await make(2)
      const first = at(await pull(near, path), 0)
      expect(await settle(near, first, { action: 'nak' })).toEqual(OK)
      const second = at(await pull(near, path), 0)
      expect([second.seq, second.delivery_count]).toEqual([1, 2])

      expect(await settle(near, first, { action })).toEqual(STALE)

      expect((await state(path)).num_ack_pending).toBe(1)
      expect(await settle(near, second, { action: 'ack' })).toEqual(OK)
    },
  )

  it('a nak sent twice is answered as before, and takes the message from nobody', async () => {
    const path = await make(2)
    const first = at(await pull(near, path), 0)
    await settle(near, first, { action: 'nak' })
    await pull(near, path)

    expect(await settle(near, first, { action: 'nak' })).toEqual(OK)
    expect(await settle(near, first, { action: 'nak', delay_ms: 10 })).toEqual(OK)

    expect((await near.pull(path, { batch: 2 })).messages).toMatchObject([{ seq: 2, delivery_count: 1 }])
  })

  it('a nak and an ack of one token in one request: the first counts', async () => {
    const path = await make(1)
    const { ack_token: token } = at(await pull(near, path), 0)

    const results = await near.settle(
      { token, action: 'nak' },
      { token, action: 'ack' },
      { token, action: 'nak' },
    )

    expect(results).toEqual([OK, STALE, OK])
    expect(await pull(near, path)).toMatchObject([{ seq: 1, delivery_count: 2 }])
  })

  it.each(['ack', 'term'] as const)('%s again is answered as before', async (action) => {
    const path = await make(1)
    const first = at(await pull(near, path), 0)

    expect(await settle(near, first, { action })).toEqual(OK)
    expect(await settle(near, first, { action })).toEqual(OK)
    expect(await settle(near, first, { action: 'nak' })).toEqual(STALE)
  })

  it.each(['ack', 'nak', 'term', 'progress'] as const)(
    'stale for %s at another instance once a consumer in strict order has delivered on',
    async (action) => {
      const path = await make(2, { max_ack_pending: 1 })
      const first = at(await pull(near, path), 0)
      await settle(near, first, { action: 'nak' })
      const second = at(await pull(near, path), 0)

      expect(await settle(far, first, { action })).toEqual(STALE)

      expect((await state(path)).num_ack_pending).toBe(1)
      expect(await settle(far, second, { action: 'ack' })).toEqual(OK)
    },
  )

  it('a nak whose answer was lost is not sent again once the message went on', async () => {
    const path = await make(1)
    const first = at(await pull(far, path), 0)
    // What NATS answers is lost from the moment on at which it has the nak.
    await settle(far, first, { action: 'progress' })
    proxy.setWeather({ deafToServer: true })
    const lost = settle(far, first, { action: 'nak' })
    const result = await lost.finally(() => proxy.setWeather({}))
    if (result.status === 'ok') throw new Error('The answer was not lost.')
    proxy.reset()
    const other = (await near.pull(path, { wait_ms: 500 })).messages[0]

    const again = await settle(far, first, { action: 'nak' })

    // Where the nak itself did not get through either, it does now.
    if (other) {
      expect([again, (await state(path)).num_ack_pending]).toEqual([STALE, 1])
      expect(await settle(near, other, { action: 'ack' })).toEqual(OK)
    } else expect(again).toEqual(OK)
  })

  it('a nak that was not sent, since nothing was heard of the consumer, is sent when it comes again', async () => {
    const path = await make(3)
    const relay = await startSwallowingRelay(nats.wsUrl)
    const env = { TOKEN_KEYS: tokenKey, REQUEST_TIMEOUT_MS: '500' }
    const bridge = await startHost(host, { natsUrl: relay.wsUrl, env })
    try {
      const client = await createClient(bridge.url)
      const first = at(await pull(client, path, 3), 0)
      relay.swallow()
      expect((await settle(client, first, { action: 'nak' })).error).toMatchObject({
        code: 'jetstream_timeout',
      })
      relay.cut()
      await until('NATS is there again', async () => (await client.send(`GET ${path}`)).status === 200)

      expect(await settle(client, first, { action: 'nak' })).toEqual(OK)

      expect(await pull(near, path)).toMatchObject([{ seq: 1, delivery_count: 2 }])
    } finally {
      await bridge.stop()
      await relay.close()
    }
  })

  it('nak with "delay": "backoff": delivered again after the step that is due, and not before', async () => {
    const path = await make(1, { backoff_ms: [1_500, 60_000], max_deliver: 5 })
    const first = at(await pull(near, path), 0)

    expect(await settle(near, first, { action: 'nak', delay: 'backoff' })).toEqual(OK)

    expect((await near.pull(path, { wait_ms: 300 })).messages).toEqual([])
    const second = at(await pull(near, path), 0)
    expect(second.delivery_count).toBe(2)
    expect(await settle(near, second, { action: 'nak', delay: 'backoff' })).toEqual(OK)
    expect((await near.pull(path, { wait_ms: 2_000 })).messages).toEqual([])
  })

  it.each([
    ['delay', { delay: 'backoff' }],
    ['delay_ms', { delay_ms: 1_000 }],
  ] as const)('nak with %s: waits that long at each step of a back-off, not longer', async (_, how) => {
    const path = await make(1, { backoff_ms: [2_000, 1_000, 300_000, 1_000], max_deliver: 9 })
    for (const count of [1, 2]) {
      const delivery = at(await pull(near, path), 0)
      expect(delivery.delivery_count).toBe(count)
      expect(await settle(near, delivery, { action: 'nak', ...how })).toEqual(OK)
    }
    const third = at(await pull(near, path), 0)
    expect(third.delivery_count).toBe(3)

    expect(await settle(near, third, { action: 'nak', delay_ms: 1_000 })).toEqual(OK)

    // The step of this delivery is five minutes.
    const fourth = at(await pull(near, path), 0)
    expect(fourth.delivery_count).toBe(4)
  })

  it('on a slow and uneven connection: ok only for what is not delivered again', async () => {
    proxy.setWeather({ latencyMs: [100, 300] })
    const ackWaitMs = 5_000
    const cases = await Promise.all(
      Array.from({ length: 6 }, async (_, index) => {
        const path = await make(1, { ack_wait_ms: ackWaitMs })
        const delivery = at(await pull(far, path), 0)
        const sendAt = Date.parse(delivery.ack_deadline ?? '') - 2_500 + 550 * index
        const again = near.pull(path, { wait_ms: 2 * ackWaitMs })
        await delay(Math.max(0, sendAt - Date.now()))
        const result = await settle(far, delivery, { action: 'ack' })
        return { status: result.status ?? result.error?.code, again: (await again).messages.length }
      }),
    )
    const inTime = at(await pull(far, await make(1)), 0)
    const settled = await settle(far, inTime, { action: 'ack' })
    proxy.setWeather({})

    expect(settled).toEqual(OK)
    for (const { status, again } of cases) expect([`ok 0`, `stale 1`]).toContain(`${status} ${again}`)
  })

  it.runIf(host === 'node')(
    'instances whose clocks are ten seconds apart settle what the others delivered',
    async () => {
      const ahead = async (seconds: number) => {
        const patch = `const now = Date.now; Date.now = () => now() + ${1_000 * seconds}`
        const env = {
          TOKEN_KEYS: tokenKey,
          NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(patch)}`,
        }
        const bridge = await startHost('node', { natsUrl: nats.wsUrl, env })
        bridges.push(bridge)
        return await createClient(bridge.url)
      }
      const clients = [near, await ahead(10), await ahead(-10)]
      for (const from of clients)
        for (const to of clients) {
          const path = await make(2, { ack_wait_ms: 5_000 })
          const [first, second] = await pull(from, path, 2)
          if (!first || !second) throw new Error('Nothing was delivered.')
          const left = Date.parse(first.ack_deadline ?? '') - Date.now()
          expect([left > 0, left < 5_000]).toEqual([true, true])
          const renewed = await settle(to, first, { action: 'progress' })
          expect(renewed.status).toBe('ok')
          expect(
            await settle(from, { ...first, ack_token: renewed.ack_token ?? '' }, { action: 'ack' }),
          ).toEqual(OK)
          expect(await settle(to, second, { action: 'nak' })).toEqual(OK)
          const again = at(await pull(to, path), 0)
          expect(again.delivery_count).toBe(2)
        }
      const path = await make(1, { ack_wait_ms: 1_000 })
      const late = at(await pull(clients[2] ?? near, path), 0)
      const next = at(await pull(near, path), 0)
      for (const client of clients) expect(await settle(client, late, { action: 'ack' })).toEqual(STALE)
      expect(next.delivery_count).toBe(2)
    },
  )

  it('an answer that comes after the deadline: never ok for what another client has', async () => {
    const path = await make(1, { ack_wait_ms: 2_000 })
    const delivery = at(await pull(far, path), 0)
    const again = pull(near, path)
    // The look at the consumer passes, and the answer to the ack does not until it is too late.
    proxy.setWeather({ latencyMs: [600, 600] })
    await delay(Math.max(0, Date.parse(delivery.ack_deadline ?? '') - 900 - Date.now()))
    const result = await settle(far, delivery, { action: 'ack' })
    proxy.setWeather({})
    await until('it is delivered again, or settled', async () => {
      const { num_ack_pending, delivered } = await state(path)
      return num_ack_pending === 0 || delivered.consumer_seq === 2
    })
    const { delivered } = await state(path)

    expect(result.status === 'ok' && delivered.consumer_seq > 1).toBe(false)
    if (delivered.consumer_seq > 1) await again
    else await near.ok(`DELETE ${path}`)
    await again.catch(() => [])
  })
})
