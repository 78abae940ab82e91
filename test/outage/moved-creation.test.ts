/** nats-server 2.10 says another creation time of what it recovers: the same messages are told from those that were made again. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, createClient, type Delivery, type Page, type Published } from '../contract/client.ts'
import { seqs } from '../contract/expectations.ts'
import { type Native, openNative } from '../live/native.ts'
import { startHost, type TestHost } from '../support/host.ts'
import { NATS_LINES, startNats, type TestNats } from '../support/nats.ts'

const ACK_WAIT_MS = 120_000

describe.each(NATS_LINES)('over restarts of nats-server %s', (version) => {
  let nats: TestNats
  let native: Native
  let host: TestHost
  let client: Client
  let made = 0

  beforeAll(async () => {
    nats = await startNats({ version })
    native = await openNative(nats.wsUrl)
    host = await startHost('node', { natsUrl: nats.wsUrl })
    client = await createClient(host.url)
  })
  afterAll(async () => {
    await host?.stop()
    await native?.close()
    await nats?.stop()
  })

  const config = (stream: string) => ({ subjects: [`${stream}.>`], storage: 'file' })
  const make = async () => {
    made += 1
    const stream = `MOVED${made}`
    await client.ok('POST /v1/streams', { json: { name: stream, ...config(stream) } })
    const consumer = `/v1/streams/${stream}/consumers/worker`
    await client.ok(`PUT ${consumer}`, { json: { ack_wait_ms: ACK_WAIT_MS } })
    return { stream, consumer }
  }
  const fill = async (stream: string) => {
    let last: Published | undefined
    for (const n of [1, 2, 3, 4, 5])
      last = await client.publish(`${stream}.${n % 2 ? 'odd' : 'even'}`, `m${n}`)
    return last as Published
  }
  /** Every kind of cursor there is. */
  const cursorsOf = async (stream: string, published: Published) => {
    const odd = { subject: `${stream}.odd` }
    const page = await client.page(stream, { limit: 3 })
    const filtered = await client.page(stream, { ...odd, limit: 2 })
    return [
      { of: 'a page', query: { cursor: page.cursor }, rest: [4, 5] },
      { of: 'a message', query: { cursor: page.messages[1]?.cursor ?? '' }, rest: [3, 4, 5] },
      { of: 'a filtered page', query: { cursor: filtered.cursor, ...odd }, rest: [5] },
      { of: 'the end', query: { cursor: (await client.page(stream)).cursor }, rest: [] },
      { of: 'a publish', query: { cursor: published.cursor }, rest: [] },
    ]
  }
  // In order: a server that is killed may forget what it delivered just then, and delivers it again.
  const restart = async () => {
    await nats.stop()
    await nats.restart()
    await native.ready()
    await expect.poll(async () => (await client.send('GET /readyz')).status, { timeout: 20_000 }).toBe(200)
  }
  const put = async ({ stream, consumer }: { stream: string; consumer: string }) => {
    await client.ok(`PUT /v1/streams/${stream}`, { json: { ...config(stream), description: 'put' } })
    await client.ok(`PUT ${consumer}`, { json: { ack_wait_ms: ACK_WAIT_MS, description: 'put' } })
  }
  const pull = async (consumer: string, batch: number) =>
    (await client.ok<{ messages: readonly Delivery[] }>(`POST ${consumer}/pull`, { json: { batch } }))
      .messages
  const ack = async (token: string) =>
    (
      await client.ok<{ results: readonly { status: string }[] }>('POST /v1/acks', {
        json: { acks: [{ token, action: 'ack' }] },
      })
    ).results[0]?.status
  const read = (stream: string, query: Record<string, string>) =>
    client.send<Page & { code?: string }>(`GET /v1/streams/${stream}/messages`, { query })

  it('cursors are good and acks are ok, after one, and after an update and another', async () => {
    const one = await make()
    const cursors = await cursorsOf(one.stream, await fill(one.stream))
    const deliveries = await pull(one.consumer, 3)
    const expectGood = async (token: string) => {
      for (const { of, query, rest } of cursors) {
        const { status, body } = await read(one.stream, query)
        expect({ of, status, rest: seqs(body.messages ?? []) }).toEqual({ of, status: 200, rest })
      }
      expect(await ack(token)).toBe('ok')
    }

    await restart()
    await expectGood(deliveries[0]?.ack_token ?? '')
    await put(one)
    await restart()
    await expectGood(deliveries[1]?.ack_token ?? '')
    expect(seqs(await pull(one.consumer, 10))).toEqual([4, 5])
  })

  it('the cursor of an empty stream is good after a restart', async () => {
    const one = await make()
    const { cursor } = await client.page(one.stream)
    await restart()
    await fill(one.stream)
    expect(seqs((await client.page(one.stream, { cursor })).messages)).toEqual([1, 2, 3, 4, 5])
  })

  it('cursors are refused and acks are stale where stream and consumer were made again, over the same restarts', async () => {
    const one = await make()
    await restart()
    const cursors = await cursorsOf(one.stream, await fill(one.stream))
    const [delivery] = await pull(one.consumer, 1)
    await client.ok(`DELETE /v1/streams/${one.stream}`)
    await client.ok('POST /v1/streams', { json: { name: one.stream, ...config(one.stream) } })
    await client.ok(`PUT ${one.consumer}`, { json: { ack_wait_ms: ACK_WAIT_MS } })
    await fill(one.stream)
    const [other] = await pull(one.consumer, 1)
    for (const step of [async () => undefined, restart, () => put(one), restart]) {
      await step()
      for (const { of, query } of cursors) {
        const { status, body } = await read(one.stream, query)
        expect({ of, status, code: body.code }).toEqual({ of, status: 410, code: 'stream_recreated' })
      }
      expect(await ack(delivery?.ack_token ?? '')).toBe('stale')
    }
    expect(await ack(other?.ack_token ?? '')).toBe('ok')
  })

  it('acks are stale where the consumer alone was made again', async () => {
    const one = await make()
    await fill(one.stream)
    const [delivery] = await pull(one.consumer, 1)
    await client.ok(`DELETE ${one.consumer}`)
    await client.ok(`PUT ${one.consumer}`, { json: { ack_wait_ms: ACK_WAIT_MS } })
    expect(await ack(delivery?.ack_token ?? '')).toBe('stale')
    await pull(one.consumer, 1)
    expect(await ack(delivery?.ack_token ?? '')).toBe('stale')
  })
})
