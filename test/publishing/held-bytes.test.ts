/** However many publishes wait for a JetStream that does not answer: a host keeps no more of their bodies than it may. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { publishPath } from '../contract/client.ts'
import { inParallel, range, until } from '../contract/expectations.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { parseExposition } from '../support/prometheus.ts'
import { watchMemory } from './process-memory.ts'
import { makeStream } from './stored.ts'

const MB = 1_000_000
const MOST_HELD_BYTES = 32 * 1_048_576
const BODY_BYTES = MB
const PUBLISHES = 1_000
/** Without a bound the bodies of so many would be in memory. */
const AT_ONCE = 400
/** As promised; workerd itself lets a good part of a MB pile up for each of so many connections. */
const MOST_GROWTH_BYTES = { node: MOST_HELD_BYTES + 150 * MB, workerd: MOST_HELD_BYTES + 600 * MB }
const LOST = 'no answer'
const TEST_MS = 120_000

describe.each(HOSTS)('the memory of %s is bounded', { timeout: TEST_MS }, (name) => {
  let nats: TestNats
  let host: TestHost

  beforeAll(async () => {
    nats = await startNats()
    host = await startHost(name, {
      natsUrl: nats.wsUrl,
      env: {
        MAX_MEMORY_BYTES: String(MOST_HELD_BYTES),
        PUBLISH_DEADLINE_MS: '6000',
        NODE_OPTIONS: '--max-semi-space-size=16',
      },
    })
    await makeStream(host.url, 'HELD', { storage: 'memory', max_msgs: 10 })
  })
  afterAll(async () => {
    await host?.stop()
    await nats?.stop()
  })

  const body = Buffer.alloc(BODY_BYTES, 'x')
  const publish = async (key: number) => {
    const headers = { 'Idempotency-Key': `key-${key}` }
    const answer = await fetch(host.url + publishPath('held.a'), { method: 'POST', body, headers }).catch(
      () => undefined,
    )
    // Refused for JetStream's sake before its body was read: the connection may end under the body.
    if (!answer) return LOST
    const { code } = (await answer.json()) as { code?: string }
    return code ?? answer.status
  }
  const figures = async () => parseExposition(await (await fetch(`${host.url}/metrics`)).text())

  it(`while NATS is paused and ${PUBLISHES} publishes of a MB come, and all is given back`, async () => {
    // What a runtime takes for the first bodies it keeps.
    await inParallel(range(1, 100), 20, publish)
    const memory = watchMemory(host.pid)
    onTestFinished(nats.resume)
    await nats.pause()

    const outcomes = await inParallel(range(101, 100 + PUBLISHES), AT_ONCE, publish)

    const grownBytes = memory.peakBytes() - memory.levelBytes
    const counts = Object.fromEntries(
      [...Map.groupBy(outcomes, String)].map(([outcome, alike]) => [outcome, alike.length]),
    )
    console.log(`${name}: ${Math.round(grownBytes / MB)} MB more at most; ${JSON.stringify(counts)}`)
    const allowed = [
      LOST,
      'host_full',
      'publish_unconfirmed_keyed',
      'jetstream_unavailable',
      'jetstream_timeout',
    ]
    expect(Object.keys(counts).filter((outcome) => !allowed.includes(outcome))).toEqual([])
    expect(counts.host_full).toBeGreaterThan(AT_ONCE / 2)
    expect(grownBytes).toBeLessThan(MOST_GROWTH_BYTES[name])

    nats.resume()
    await until('a publish to be stored again', async () => (await publish(0)) === 201)
    expect((await figures()).total('sluice_held_bytes')).toBe(0)
  })
})
