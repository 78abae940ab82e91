/** Reads whose cost goes by the size of a stream, on a real JetStream: exact, with few calls, and over with their client. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Session } from '../../src/context.ts'
import { createSessions, type Sessions } from '../../src/hosts/sessions.ts'
import type { JetStream } from '../../src/jetstream.ts'
import { readPage } from '../../src/live/history.ts'
import { createMetrics } from '../../src/metrics.ts'
import type { Page, ReadOrigin } from '../../src/reading.ts'
import { readSettings } from '../../src/settings.ts'
import { newTokenKey } from '../support/host.ts'
import { NATS_LINES, startNats, type TestNats } from '../support/nats.ts'
import { covers } from './filters.ts'
import { type Native, openNative } from './native.ts'

const MESSAGES = 6_000
const SUBJECTS = 3_000

describe.each(NATS_LINES)('searches with nats-server %s', (version) => {
  let nats: TestNats
  let native: Native
  let sessions: Sessions
  let session: Session
  /** The subject of each message of the stream, by sequence. */
  const stored = new Map<number, string>()

  beforeAll(async () => {
    nats = await startNats({ version })
    native = await openNative(nats.wsUrl)
    const settings = { AUTH: 'none', NATS_URL: nats.wsUrl, TOKEN_KEYS: newTokenKey() }
    sessions = createSessions(readSettings(settings), createMetrics({}))
    session = sessions.open({ credential: { kind: 'own' }, tenant: 'own' })
    await session.jetstream.createStream({ name: 'S', subjects: ['s.>'], allow_direct: true })
    for (let seq = 1; seq <= MESSAGES; seq += 1) {
      // Those of `late` lie together, and each other subject has two messages.
      const subject = seq > 5_900 ? `s.late.${seq}` : `s.${seq % 40}.${seq % SUBJECTS}`
      native.client.publish(subject, `${seq}`)
      stored.set(seq, subject)
    }
    await native.client.flush()
    while ((await session.jetstream.streamInfo('S')).state.last_seq < MESSAGES) await native.client.flush()
    for (const seq of [2, 777, 5_950]) {
      await session.jetstream.deleteMessage('S', seq)
      stored.delete(seq)
    }
  })
  afterAll(async () => {
    await sessions?.close()
    await native?.close()
    await nats?.stop()
  })

  const request = (filters: readonly string[], from: ReadOrigin) => ({
    stream: 'S',
    filters,
    scope: session.cursors.scope('S', filters),
    from,
    onGap: 'error' as const,
    limit: 1_000,
    maxBytes: 8_000_000,
  })
  const seqs = ({ messages }: Page) => messages.map(({ seq }) => seq)
  const matching = (filters: readonly string[]) =>
    [...stored]
      .filter(([, subject]) => filters.length === 0 || filters.some((filter) => covers(filter, subject)))
      .map(([seq]) => seq)
  /** Counts the calls of a search that go by the size of a stream. */
  const counting = () => {
    const calls = { made: 0 }
    const count =
      <Args extends readonly unknown[], Answer>(call: (...args: Args) => Answer) =>
      (...args: Args): Answer => {
        calls.made += 1
        return call(...args)
      }
    const { jetstream } = session
    const counted: JetStream = {
      ...jetstream,
      getBatch: count(jetstream.getBatch),
      getBatchByConsumer: count(jetstream.getBatchByConsumer),
      countMatching: count(jetstream.countMatching),
      getMessage: count(jetstream.getMessage),
    }
    return { calls, jetstream: counted }
  }

  const MANY = Array.from({ length: 32 }, (_, index) => `s.${index}.*`)

  it.each([
    ['no filter', []],
    ['one filter', ['s.7.*']],
    ['messages that lie together', ['s.late.*']],
    ['two filters', ['s.late.*', 's.3.*']],
    ['filters that overlap nowhere', MANY],
    ['a filter that nothing matches', ['s.none.*', 's.8.*']],
  ])('tail: the very last messages of %s', async (_, filters) => {
    for (const count of [1, 7, 90, 500]) {
      const page = await readPage(session.jetstream, request(filters, { start: { at: 'tail', count } }))
      expect(seqs(page)).toEqual(matching(filters).slice(-count))
    }
  })

  it('tail: no more calls for 32 filters than for two', async () => {
    const start = { start: { at: 'tail', count: 3_000 } } as const
    const few = counting()
    await readPage(few.jetstream, { ...request(MANY.slice(0, 2), start), limit: 1 })
    const many = counting()
    await readPage(many.jetstream, { ...request(MANY, start), limit: 1 })
    // One batch for each filter, and its end confirmed, is what a page costs.
    expect(many.calls.made - 2 * MANY.length).toBeLessThan(few.calls.made + 8)
  })

  it.each([100, 1_000])('last_per_subject: each message delivered once, by pages of %d', async (limit) => {
    const lasts = new Map([...stored].map(([seq, subject]) => [subject, seq]))
    const read: number[] = []
    let from: ReadOrigin = { start: { at: 'last_per_subject' } }
    const before = native.client.stats().inMsgs
    const delivered = await deliveries(async () => {
      for (;;) {
        const page = await readPage(session.jetstream, { ...request([], from), limit })
        read.push(...seqs(page))
        if (page.upToDate) return
        from = { position: page.position }
      }
    })
    expect(before).toBe(native.client.stats().inMsgs)
    expect(read).toEqual([...lasts.values()].sort((one, other) => one - other))
    // Each page also asks what the stream is, and the first one for a batch.
    expect(delivered).toBeLessThan(1.5 * lasts.size)
  })

  /** How many messages the server sends meanwhile, over all connections. */
  async function deliveries(work: () => Promise<void>): Promise<number> {
    const sent = async () =>
      ((await (await fetch(`${nats.monitorUrl}/varz`)).json()) as { out_msgs: number }).out_msgs
    const before = await sent()
    await work()
    return (await sent()) - before
  }

  it('last_per_subject: goes on where its consumer is gone', async () => {
    const first = await readPage(session.jetstream, request([], { start: { at: 'last_per_subject' } }))
    const { consumers } = await native.ask<{ consumers: readonly { name: string }[] }>('CONSUMER.LIST.S')
    for (const { name } of consumers) await native.ask(`CONSUMER.DELETE.S.${name}`)
    const second = await readPage(session.jetstream, request([], { position: first.position }))
    const lasts = [...new Map([...stored].map(([seq, subject]) => [subject, seq])).values()].sort(
      (a, b) => a - b,
    )
    expect([...seqs(first), ...seqs(second)]).toEqual(lasts.slice(0, 2_000))
  })

  it('last_per_subject: no consumer is left once the last page has been read', async () => {
    let from: ReadOrigin = { start: { at: 'last_per_subject' } }
    for (;;) {
      const page = await readPage(session.jetstream, request([], from))
      if (page.upToDate) break
      from = { position: page.position }
    }
    const count = async () => (await session.jetstream.streamInfo('S')).state.consumer_count
    await expect.poll(count, { timeout: 15_000 }).toBe(0)
  })

  it('a search makes no call any more once its client is gone', async () => {
    const left = new AbortController()
    const { calls, jetstream } = counting()
    let begun = 0
    const leaving: JetStream = {
      ...jetstream,
      countMatching: (...args) => {
        begun += 1
        if (begun === 2) left.abort()
        return jetstream.countMatching(...args)
      },
    }
    const search = { ...request(MANY, { start: { at: 'tail', count: 3_000 } }), left: () => left.signal }
    await expect(readPage(leaving, search, session.scan)).rejects.toMatchObject({ name: 'AbortError' })
    expect(calls.made).toBeLessThanOrEqual(2)
    expect((await session.jetstream.streamInfo('S')).state.consumer_count).toBeLessThanOrEqual(1)
  })
})
