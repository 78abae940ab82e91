/** A stream that changes while a page of it is read: the page moves past nothing that it neither has nor tells of. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Session } from '../../src/context.ts'
import { createSessions, type Sessions } from '../../src/hosts/sessions.ts'
import type { JetStream } from '../../src/jetstream.ts'
import { createStreamReader } from '../../src/live/reader.ts'
import { createMetrics } from '../../src/metrics.ts'
import type { Gap, Position } from '../../src/reading.ts'
import { readSettings } from '../../src/settings.ts'
import { newTokenKey } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const MESSAGES = 10

describe('a page of a stream that changes while it is read', () => {
  let nats: TestNats
  let sessions: Sessions
  let session: Session
  let stream: string
  let made = 0

  beforeAll(async () => {
    nats = await startNats()
    const settings = readSettings({ AUTH: 'none', NATS_URL: nats.wsUrl, TOKEN_KEYS: newTokenKey() })
    sessions = createSessions(settings, createMetrics({}))
    session = sessions.open({ credential: { kind: 'own' }, tenant: 'own' })
  })
  beforeEach(() => {
    made += 1
    stream = `H${made}`
  })
  afterAll(async () => {
    await sessions?.close()
    await nats?.stop()
  })

  /** Odd sequences are on `odd`, even ones on `even`. */
  const fill = async (config: Readonly<Record<string, unknown>> = {}) => {
    await session.jetstream.createStream({
      name: stream,
      subjects: [`${stream}.>`],
      allow_direct: true,
      ...config,
    })
    for (let seq = 1; seq <= MESSAGES; seq += 1) {
      const subject = `${stream}.${seq % 2 ? 'odd' : 'even'}`
      await session.jetstream.publish({ subject, payload: new Uint8Array([seq]), headers: {} })
    }
  }
  const purgeTo = async (seq: number) => {
    await session.jetstream.purgeStream(stream, { seq })
  }

  /** Pages of everything after `seq`, and all sequences that they tell of in one way or the other. */
  const readAfter = async (seq: number, tails: readonly string[], changed: Partial<JetStream>) => {
    const jetstream: JetStream = { ...session.jetstream, ...changed }
    const reader = createStreamReader(jetstream, {
      heartbeatMs: 1_000,
      bufferBytes: 1_048_576,
      metrics: createMetrics({}).live,
      now: Date.now,
    })
    const filters = tails.map((tail) => `${stream}.${tail}`)
    const told = new Set<number>()
    const gaps: Gap[] = []
    let from: Position = { seq }
    for (;;) {
      const page = await reader.page({
        stream,
        filters,
        scope: session.cursors.scope(stream, filters),
        from: { position: from },
        onGap: 'skip',
        limit: 100,
        maxBytes: 1_000_000,
      })
      for (const message of page.messages) told.add(message.seq)
      for (let gone = page.gap?.fromSeq ?? 1; gone <= (page.gap?.toSeq ?? 0); gone += 1) told.add(gone)
      gaps.push(...(page.gap ? [page.gap] : []))
      from = page.position
      if (page.upToDate) break
    }
    await reader.close()
    return { position: from, gaps, told: [...told].sort((a, b) => a - b) }
  }

  it('tells of one gap where the hole at its beginning grows while it is read', async () => {
    await fill()
    await purgeTo(5)
    let asked = 0
    const { gaps, told } = await readAfter(2, [], {
      streamInfo: async (name) => {
        const info = await session.jetstream.streamInfo(name)
        asked += 1
        if (asked === 1) await purgeTo(8)
        return info
      },
    })
    expect(told).toEqual([3, 4, 5, 6, 7, 8, 9, 10])
    expect(gaps).toEqual([{ fromSeq: 3, toSeq: 7 }])
  })

  it('tells of what was removed between the batches of its two filters', async () => {
    await fill()
    let readOdd: Promise<unknown> | undefined
    const { told } = await readAfter(0, ['odd', 'even'], {
      getBatch: async (name, request) => {
        const batch = session.jetstream.getBatch
        if (request.filter?.endsWith('odd')) {
          const reading = batch(name, request)
          readOdd ??= reading
          return await reading
        }
        await readOdd
        await purgeTo(8)
        return await batch(name, request)
      },
    })
    expect(told).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  })

  it('tells of what was removed in the middle of a batch, which no Direct Get kept together', async () => {
    await fill({ allow_direct: false })
    let isRead = false
    const { told } = await readAfter(0, [], {
      getBatchByConsumer: async (name, request) => {
        const batch = session.jetstream.getBatchByConsumer
        if (isRead) return await batch(name, request)
        isRead = true
        const first = await batch(name, { ...request, batch: 3 })
        await purgeTo(8)
        const rest = await batch(name, { ...request, from: { seq: 4 } })
        return { ...rest, messages: [...first.messages, ...rest.messages] }
      },
    })
    expect(told).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  })

  /** Two messages more, one for each filter. */
  const storeTwo = async () => {
    for (const tail of ['odd', 'even'])
      await session.jetstream.publish({
        subject: `${stream}.${tail}`,
        payload: new Uint8Array(),
        headers: {},
      })
  }

  it('moves past no message that was stored between the batches of its two filters', async () => {
    await fill()
    let readOdd: Promise<unknown> | undefined
    let stored: Promise<void> | undefined
    const { position, told } = await readAfter(0, ['odd', 'even'], {
      getBatch: async (name, request) => {
        const reading = readOdd ? undefined : session.jetstream.getBatch(name, request)
        readOdd ??= reading
        if (reading) return await reading
        await readOdd
        stored ??= storeTwo()
        await stored
        return await session.jetstream.getBatch(name, request)
      },
    })
    expect(told).toEqual(Array.from({ length: position.seq }, (_, index) => index + 1))
  })

  it('moves past no message that was stored while the leader was asked for the end of its two filters', async () => {
    await fill()
    let askedFirst: Promise<unknown> | undefined
    let stored: Promise<void> | undefined
    const { position, told } = await readAfter(0, ['odd', 'even'], {
      getMessage: async (name, lookup) => {
        const asking = askedFirst ? undefined : session.jetstream.getMessage(name, lookup)
        askedFirst ??= asking
        if (asking) return await asking
        await askedFirst
        stored ??= storeTwo()
        await stored
        return await session.jetstream.getMessage(name, lookup)
      },
    })
    expect(told).toEqual(Array.from({ length: position.seq }, (_, index) => index + 1))
  })
})
