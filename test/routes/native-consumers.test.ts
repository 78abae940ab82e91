/** The tests of consumers that were made past the bridge: each works, or is refused for good. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, type ConsumerBody, createClient, type Delivery } from '../contract/client.ts'
import { openEvents } from '../contract/events.ts'
import { problem, range, refusal, seqs } from '../contract/expectations.ts'
import { type Native, openNative } from '../live/native.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const STREAM = 'NATIVE'
const NS = 1e6

/** What a pull works with, whatever it asks for. */
const WORKING: readonly (readonly [name: string, config: object])[] = [
  ['max_batch', { max_batch: 1 }],
  ['max_bytes', { max_bytes: 100 }],
  ['max_expires', { max_expires: 200 * NS }],
  ['all three', { max_batch: 2, max_bytes: 120, max_expires: 1_000 * NS }],
  ['max_waiting', { max_waiting: 1 }],
  ['headers_only', { headers_only: true }],
  ['sample_freq', { sample_freq: '50' }],
  ['backoff', { backoff: [500 * NS, 1_000 * NS], max_deliver: 5 }],
  ['replay_policy', { replay_policy: 'original' }],
  ['ack_policy all', { ack_policy: 'all' }],
  ['ack_policy none', { ack_policy: 'none' }],
  ['mem_storage', { mem_storage: true, num_replicas: 1 }],
  ['inactive_threshold', { inactive_threshold: 60_000 * NS }],
  ['filters', { filter_subjects: ['native.a', 'native.b'] }],
  ['a start', { deliver_policy: 'by_start_sequence', opt_start_seq: 1 }],
  ['a start by time', { deliver_policy: 'by_start_time', opt_start_time: '2020-01-01T00:00:00Z' }],
  ['metadata', { metadata: { a: 'b' }, description: 'x' }],
]

describe.each(HOSTS)('consumers made natively, read on %s', (host) => {
  let nats: TestNats
  let native: Native
  let bridge: TestHost
  let client: Client

  beforeAll(async () => {
    nats = await startNats()
    native = await openNative(nats.wsUrl)
    bridge = await startHost(host, { natsUrl: nats.wsUrl, env: { HEARTBEAT_MS: '500' } })
    client = await createClient(bridge.url)
    await native.ask(`STREAM.CREATE.${STREAM}`, { name: STREAM, subjects: ['native.>'], storage: 'memory' })
    for (const n of range(1, 3))
      await native.publish({ subject: 'native.a', payload: Buffer.from(`m${n}`), headers: {} })
  })
  afterAll(async () => {
    await bridge?.stop()
    await native?.close()
    await nats?.stop()
  })

  let made = 0
  const make = async (config: object, isDurable = true) => {
    made += 1
    const name = `c${made}`
    const named = isDurable ? { durable_name: name } : { name }
    await native.ask(`CONSUMER.CREATE.${STREAM}.${name}`, {
      stream_name: STREAM,
      config: { ...named, ack_policy: 'explicit', ack_wait: 300_000 * NS, ...config },
    })
    return `/v1/streams/${STREAM}/consumers/${name}`
  }

  it.each(WORKING)('with %s: pulled, all of it', async (_, config) => {
    const path = await make(config)
    const got: number[] = []
    while (got.length < 3) {
      const { messages } = await client.pull(path, { batch: 10, wait_ms: 5_000 })
      got.push(...seqs(messages))
    }
    expect(got).toEqual([1, 2, 3])
  })

  it.each(WORKING)('with %s: pushed as events, all of it', async (_, config) => {
    const events = await openEvents(client, `${await make(config)}/messages`)
    expect(seqs(await events.take<Delivery>('message', 3))).toEqual([1, 2, 3])
    events.close()
  })

  it.each(WORKING)('with %s: what GET answers is what PUT takes, and changes nothing', async (_, config) => {
    const path = await make(config)
    const before = await client.ok<ConsumerBody>(`GET ${path}`)

    const answer = await client.send<ConsumerBody>(`PUT ${path}`, { json: before.config })

    expect([answer.status, answer.body.config]).toEqual([200, before.config])
  })

  it('one that ends each wait at once is asked a few times a second, and delivers what comes', async () => {
    const path = await make({ max_expires: NS, filter_subject: 'native.late' })
    const asked = native.client.subscribe(`$JS.API.CONSUMER.MSG.NEXT.${STREAM}.${path.split('/').at(-1)}`)

    expect((await client.pull(path, { batch: 10, wait_ms: 2_000 })).messages).toEqual([])

    expect(asked.getReceived()).toBeLessThan(40)
    asked.unsubscribe()
    const pulling = client.pull(path, { batch: 10, wait_ms: 20_000 })
    await native.publish({ subject: 'native.late', payload: Buffer.from('late'), headers: {} })
    expect((await pulling).messages.map(({ data }) => data)).toEqual(['late'])
    await native.ask(`STREAM.PURGE.${STREAM}`, { filter: 'native.late' })
  })

  it('without a durable name: pulled and settled', async () => {
    const path = await make({ inactive_threshold: 60_000 * NS }, false)
    const { messages } = await client.pull(path, { batch: 10 })
    expect(seqs(messages)).toEqual([1, 2, 3])
    const acks = messages.map(({ ack_token: token }) => ({ token, action: 'ack' as const }))
    expect(await client.settle(...acks)).toEqual(Array(3).fill({ status: 'ok' }))
  })

  it.each([
    ['priority groups', { priority_groups: ['a'], priority_policy: 'overflow' }, 'priority_groups'],
    ['a pinned client', { priority_groups: ['a'], priority_policy: 'pinned_client' }, 'priority_groups'],
    ['a subject that it pushes to', { deliver_subject: 'somewhere' }, 'deliver_subject'],
    [
      'flow control',
      { deliver_subject: 'somewhere', flow_control: true, idle_heartbeat: 5_000 * NS },
      'flow_control',
    ],
    ['a rate limit', { deliver_subject: 'somewhere', rate_limit_bps: 1_000 }, 'rate_limit_bps'],
  ])('422, once and before any event, with %s, and 400 for its configuration', async (_, config, field) => {
    const path = await make(config)
    const before = await client.ok<ConsumerBody>(`GET ${path}`)
    const refused = problem(422, 'refused_by_jetstream', { retryable: false })

    expect(await client.send(`POST ${path}/pull`, { json: { batch: 2 } })).toMatchObject(refused)
    const events = client.send(`GET ${path}/messages`, { headers: { Accept: 'text/event-stream' } })
    expect(await events).toMatchObject(refused)
    expect(await client.send(`PUT ${path}`, { json: before.config })).toMatchObject(refusal(field))
  })
})
