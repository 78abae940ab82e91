/** What an event stream holds for a reader that takes nothing, and that it is counted. */
import { afterAll, beforeAll, test } from 'vitest'
import { createClient } from '../contract/client.ts'
import { until } from '../contract/expectations.ts'
import { startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { parseExposition } from '../support/prometheus.ts'

let nats: TestNats
let host: TestHost
beforeAll(async () => {
  nats = await startNats()
  host = await startHost('node', { natsUrl: nats.wsUrl })
})
afterAll(async () => {
  await host.stop()
  await nats.stop()
})

test('the first events are counted until their reader has them', async () => {
  const bridge = await createClient(host.url)
  await bridge.ok('POST /v1/streams', { json: { name: 'LARGE', subjects: ['large.>'], storage: 'memory' } })
  const payload = 'x'.repeat(1_000_000)
  // More than the connection takes at once.
  for (let n = 0; n < 12; n += 1) await bridge.publish('large.x', payload)
  const answer = await fetch(`${host.url}/v1/streams/LARGE/messages?start=beginning`, {
    headers: { Accept: 'text/event-stream' },
  })
  const held = async () =>
    parseExposition(await (await fetch(`${host.url}/metrics`)).text()).total('sluice_held_bytes', {
      kind: 'answers',
    })
  await until('what is not taken is counted', async () => (await held()) >= 2 * payload.length)
  await answer.body?.cancel()
  await until('nothing is held', async () => (await held()) === 0)
})
