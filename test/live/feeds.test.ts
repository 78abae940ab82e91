/** Which feeds there are, on a real JetStream: what ended leaves its place to what came after it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Session } from '../../src/context.ts'
import { BridgeError } from '../../src/errors.ts'
import { createSessions, type Sessions } from '../../src/hosts/sessions.ts'
import type { JetStream } from '../../src/jetstream.ts'
import { createFeeds } from '../../src/live/feeds.ts'
import { BufferBudget } from '../../src/live/seat.ts'
import { createMetrics } from '../../src/metrics.ts'
import { readSettings } from '../../src/settings.ts'
import { createTimers } from '../../src/timers.ts'
import { newTokenKey } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

describe('createFeeds', () => {
  let nats: TestNats
  let sessions: Sessions
  let session: Session
  const metrics = createMetrics({})

  beforeAll(async () => {
    nats = await startNats()
    const settings = { AUTH: 'none', NATS_URL: nats.wsUrl, TOKEN_KEYS: newTokenKey() }
    sessions = createSessions(readSettings(settings), metrics)
    session = sessions.open({ credential: { kind: 'own' }, tenant: 'own' })
    await session.jetstream.createStream({ name: 'S', subjects: ['s'] })
  })
  afterAll(async () => {
    await sessions.close()
    await nats.stop()
  })

  const open = (jetstream: JetStream) => {
    const options = { heartbeatMs: 1_000, bufferBytes: 65_536, budget: new BufferBudget(1_048_576) }
    return createFeeds(jetstream, { ...options, startTimer: createTimers(), metrics: metrics.live })
  }
  const wants = () => ({ filters: [], scope: session.cursors.scope('S', []) })

  it('keeps the successor of a feed that failed while it was being opened', async () => {
    let followed = 0
    let asked = 0
    let joined: Promise<unknown> | undefined
    const jetstream: JetStream = {
      ...session.jetstream,
      async streamInfo(stream) {
        asked += 1
        if (asked === 2) throw new BridgeError('jetstream_timeout', 'JetStream did not answer in time.')
        return session.jetstream.streamInfo(stream)
      },
      async follow(stream, fromSeq, listener) {
        followed += 1
        const subscription = await session.jetstream.follow(stream, fromSeq, listener)
        if (followed > 1) return subscription
        // The first feed is out of its place, and has not told its reader yet: then another reader comes.
        return {
          async stop() {
            joined = feeds.join('S', wants(), 0)
            await joined
            await subscription.stop()
          },
        }
      },
    }
    const feeds = open(jetstream)
    try {
      await expect(feeds.join('S', wants(), 0)).rejects.toMatchObject({ code: 'jetstream_timeout' })
      await joined
      await feeds.join('S', wants(), 0)
      expect(followed).toBe(2)
    } finally {
      await feeds.close()
    }
  })

  it('opens one feed for all who find that theirs has ended', async () => {
    let followed = 0
    let end: () => void = () => undefined
    const jetstream: JetStream = {
      ...session.jetstream,
      async follow(stream, fromSeq, listener) {
        followed += 1
        if (followed === 1) end = () => listener.ended(new BridgeError('jetstream_unavailable', 'Gone.'))
        return session.jetstream.follow(stream, fromSeq, listener)
      },
    }
    const feeds = open(jetstream)
    try {
      await feeds.join('S', wants(), 0)
      const joining = Promise.all([feeds.join('S', wants(), 0), feeds.join('S', wants(), 0)])
      end()
      await joining
      expect(followed).toBe(2)
    } finally {
      await feeds.close()
    }
  })
})
