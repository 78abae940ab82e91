/** However large batches are parsed, a host keeps to MAX_MEMORY_BYTES. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { range, until } from '../contract/expectations.ts'
import { openRaw } from '../contract/raw.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { parseExposition } from '../support/prometheus.ts'
import { watchMemory } from './process-memory.ts'
import { makeStream } from './stored.ts'

const MIB = 1_048_576
const MOST_BYTES = 48 * MIB
/** What workerd itself keeps of what comes over its WebSocket and waits for its clients is in no heap of ours. */
const SLACK_BYTES = { node: 150 * MIB, workerd: 300 * MIB }
const TEST_MS = 120_000

const tiny = { subject: 'held.a', data: 'x'.repeat(300) }
/** Of 8 MiB: one large message, many small ones, and one of many values. */
const BATCHES = {
  large: { messages: range(1, 16).map(() => ({ subject: 'held.a', data: 'x'.repeat(500_000) })) },
  small: {
    messages: range(1, 10_000).map((id) => ({
      ...tiny,
      data: `${tiny.data}${id}`,
      id: `${id}`,
      json: undefined,
    })),
  },
  values: { messages: [{ subject: 'held.a', json: [range(1, 45_000).map((id) => ({ [`k${id}`]: id }))] }] },
}

describe.each(HOSTS)('the memory of %s', { timeout: TEST_MS }, (name) => {
  let nats: TestNats
  let host: TestHost

  beforeAll(async () => {
    nats = await startNats()
    const env = { MAX_MEMORY_BYTES: String(MOST_BYTES), PUBLISH_DEADLINE_MS: '0', REQUEST_TIMEOUT_MS: '1000' }
    host = await startHost(name, { natsUrl: nats.wsUrl, env })
    await makeStream(host.url, 'HELD', { storage: 'memory', max_msgs: 1_000 })
  })
  afterAll(async () => {
    await host?.stop()
    await nats?.stop()
  })

  const held = async () =>
    parseExposition(await (await fetch(`${host.url}/metrics`)).text()).total('sluice_held_bytes')
  const send = async (batch: object) => {
    const headers = { 'Content-Type': 'application/json' }
    const answer = await fetch(`${host.url}/v1/messages`, {
      method: 'POST',
      headers,
      body: JSON.stringify(batch),
    }).catch(() => undefined)
    if (!answer) return 'no answer'
    const { code } = (await answer.json()) as { code?: string }
    return code ?? String(answer.status)
  }

  it.each(Object.keys(BATCHES) as (keyof typeof BATCHES)[])(
    'is bounded while NATS is paused and batches come, %s',
    async (shape) => {
      expect(['200', 'host_full']).toContain(await send(BATCHES[shape]))
      const memory = watchMemory(host.pid)
      onTestFinished(nats.resume)
      await nats.pause()

      const outcomes = await Promise.all(range(1, 6).map(() => send(BATCHES[shape])))
      const grownBytes = memory.peakBytes() - memory.levelBytes
      console.log(
        `${name}, ${shape}: ${Math.round(grownBytes / MIB)} MiB more at most; ${outcomes.join(' ')}`,
      )
      expect(outcomes).not.toContain('internal')
      expect(grownBytes).toBeLessThan(MOST_BYTES + SLACK_BYTES[name])

      nats.resume()
      await until('all to be given back', async () => (await held()) === 0)
      await until('JetStream to be there', async () => (await send({ messages: [tiny] })) === '200')
    },
  )

  it('is bounded while 50 pages that are six times their payload are not read', async () => {
    for (const _ of range(1, 16))
      await fetch(`${host.url}/v1/subjects/held.a/messages`, {
        method: 'POST',
        body: Buffer.alloc(500_000, 1),
      })
    const memory = watchMemory(host.pid)
    const target = '/v1/streams/HELD/messages?start=tail:16&limit=1000'
    const unread = await Promise.all(
      range(1, 50).map(async () => {
        const connection = await openRaw(host.url, {
          method: 'GET',
          target,
          headers: { Accept: 'application/json' },
        })
        const { status } = await connection.head()
        expect([200, 503, 504]).toContain(status)
        return connection
      }),
    )
    const grownBytes = memory.peakBytes() - memory.levelBytes
    console.log(`${name}, pages: ${Math.round(grownBytes / MIB)} MiB more at most`)
    expect(grownBytes).toBeLessThan(MOST_BYTES + SLACK_BYTES[name])
    for (const connection of unread) connection.reset()
    await until('all to be given back', async () => (await held()) === 0)
  })
})
