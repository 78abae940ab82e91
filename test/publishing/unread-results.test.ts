/** A client that reads nothing before it has sent all its lines is answered: how far they were published, and where to go on. */
import { once } from 'node:events'
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, createClient, type StreamBody } from '../contract/client.ts'
import type { Result } from '../contract/results.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const lineOf = (n: number) => `${JSON.stringify({ subject: 'S.a', data: String(n) })}\n`
const linesFrom = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, at) => lineOf(from + at)).join('')

describe.each(HOSTS)('on %s', (name) => {
  let nats: TestNats
  let host: TestHost
  let bridge: Client

  beforeAll(async () => {
    nats = await startNats()
    host = await startHost(name, { natsUrl: nats.wsUrl, env: { UNREAD_RESULTS_MS: '300' } })
    bridge = await createClient(host.url)
    await bridge.ok('POST /v1/streams', { json: { name: 'S', subjects: ['S.>'], storage: 'memory' } })
  })
  afterAll(async () => {
    await host?.stop()
    await nats?.stop()
  })

  /** Sends the whole body, and reads nothing of the answer before. */
  const sendThenRead = async (body: string): Promise<readonly Result[]> => {
    const sending = request(`${host.url}/v1/messages`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-ndjson', 'Content-Length': Buffer.byteLength(body) },
    })
    const answered = once(sending, 'response')
    // Nothing is read: not even the head is looked at before all is sent.
    sending.on('socket', (socket) => socket.pause())
    await new Promise<void>((resolve) => sending.end(body, resolve))
    sending.socket?.resume()
    const [answer] = await answered
    const chunks: Buffer[] = []
    for await (const chunk of answer) chunks.push(chunk)
    return Buffer.concat(chunks)
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
  }

  const countStored = async () => (await bridge.ok<StreamBody>('GET /v1/streams/S')).state.messages

  it.each([300_000])(
    '%i lines: some are published, and the last result says where to go on',
    async (count) => {
      const before = await countStored()

      const results = await sendThenRead(linesFrom(0, count))

      const last = results.at(-1)
      const published = results.length - 1
      expect(last).toEqual({
        error: expect.objectContaining({
          code: 'results_unread',
          side_effects: 'none',
          next_index: published,
          detail: expect.stringContaining(`index ${published} on`),
        }),
      })
      expect(
        results.slice(0, -1).every(({ index, seq }, at) => index === at && seq === before + at + 1),
      ).toBe(true)
      expect(published).toBeGreaterThan(1_000)
      expect(await countStored()).toBe(before + published)
    },
  )

  it('a client that goes on where it was told has all of it published, each once and in order', async () => {
    await bridge.ok('POST /v1/streams/S/purge', { json: {} })
    const count = 100_000
    const { state } = await bridge.ok<StreamBody>('GET /v1/streams/S')
    let next = 0
    while (next < count) {
      const results = await sendThenRead(linesFrom(next, Math.min(count, next + 40_000)))
      const error = results.at(-1)?.error as { readonly next_index?: number } | undefined
      next += error?.next_index ?? results.length
    }

    expect(await countStored()).toBe(count)
    const read = async (seq: number) =>
      (await bridge.page('S', { start: `seq:${state.last_seq + seq}`, limit: 1 })).messages[0]?.data
    for (const seq of [1, 30_000, 70_001, count]) expect(await read(seq)).toBe(String(seq - 1))
  })

  it('a client that reads while it sends has all its results', async () => {
    const before = await countStored()
    const { response } = await bridge.open('POST /v1/messages', {
      headers: { 'Content-Type': 'application/x-ndjson' },
      body: linesFrom(0, 60_000),
    })
    const lines = (await response.text()).trimEnd().split('\n')
    expect(lines).toHaveLength(60_000)
    expect(await countStored()).toBe(before + 60_000)
  })
})
