/** How often a stream is asked when it was made, on a real JetStream. */
import { expect, it } from 'vitest'
import { createSessions } from '../../src/hosts/sessions.ts'
import { createIncarnations } from '../../src/live/incarnations.ts'
import { createMetrics } from '../../src/metrics.ts'
import { readSettings } from '../../src/settings.ts'
import { newTokenKey } from '../support/host.ts'
import { startNats } from '../support/nats.ts'

it('asks once for all who find what is known too old', async () => {
  const nats = await startNats()
  const settings = { AUTH: 'none', NATS_URL: nats.wsUrl, TOKEN_KEYS: newTokenKey() }
  const sessions = createSessions(readSettings(settings), createMetrics({}))
  try {
    const { jetstream } = sessions.open({ credential: { kind: 'own' }, tenant: 'own' })
    const { created } = await jetstream.createStream({ name: 'S', subjects: ['s'] })
    let asked = 0
    let now = 0
    const counting = {
      ...jetstream,
      streamInfo: (stream: string) => {
        asked += 1
        return jetstream.streamInfo(stream)
      },
    }
    const incarnations = createIncarnations(counting, () => now)
    const all = () => Promise.all(Array.from({ length: 100 }, (_, at) => incarnations.of('S', at + 1)))
    await incarnations.of('S', 1)
    now = 60_000
    expect(new Set((await all()).map((incarnation) => incarnation.created))).toEqual(new Set([created]))
    expect(asked).toBe(2)
  } finally {
    await sessions.close()
    await nats.stop()
  }
})
