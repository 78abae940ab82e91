/** A reader's way between history and the live end, on a real JetStream: nothing twice, nothing missing, nothing unsaid. */
import { createParser } from 'eventsource-parser'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Session } from '../../src/context.ts'
import { createSessions, type Sessions } from '../../src/hosts/sessions.ts'
import { createMetrics } from '../../src/metrics.ts'
import type { ReadOrigin } from '../../src/reading.ts'
import { readSettings } from '../../src/settings.ts'
import { newTokenKey } from '../support/host.ts'
import { startNats } from '../support/nats.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

interface Event {
  readonly event: string
  readonly id: string | undefined
  readonly data: Record<string, unknown>
}

/** Reads events one by one, as slowly as its caller. */
function eventReader(body: ReadableStream<Uint8Array>) {
  const reader = body.getReader()
  const ready: Event[] = []
  const decoder = new TextDecoder()
  const parser = createParser({
    onEvent: ({ event = 'message', id, data }) =>
      ready.push({ event, id, data: JSON.parse(data) as Event['data'] }),
  })
  return {
    async next(): Promise<Event> {
      while (ready.length === 0) {
        const { done, value } = await reader.read()
        if (done) throw new Error('The stream ended.')
        parser.feed(decoder.decode(value, { stream: true }))
      }
      return ready.shift() as Event
    },
    cancel: () => reader.cancel(),
  }
}

describe('tail', () => {
  let nats: Awaited<ReturnType<typeof startNats>>
  let sessions: Sessions
  let session: Session
  let stream: string
  let made = 0

  beforeAll(async () => {
    nats = await startNats()
    const settings = { AUTH: 'none', NATS_URL: nats.wsUrl, TOKEN_KEYS: newTokenKey(), HEARTBEAT_MS: '200' }
    sessions = createSessions(readSettings(settings), createMetrics({}))
    session = sessions.open({ credential: { kind: 'own' }, tenant: 'own' })
  })
  beforeEach(async () => {
    made += 1
    stream = `TAIL${made}`
    await session.jetstream.createStream({ name: stream, subjects: [`${stream}.>`], allow_direct: true })
  })
  afterAll(async () => {
    await sessions.close()
    await nats.stop()
  })

  const publish = (token: string, payload: Uint8Array) =>
    session.jetstream.publish({ subject: `${stream}.${token}`, payload, headers: {} })
  const publishMany = async (count: number, payload: (index: number) => string, token = 'a') => {
    for (let index = 0; index < count; index += 1) await publish(token, bytes(payload(index)))
  }
  const openTail = async (
    from: ReadOrigin,
    options: { filters?: string[]; onGap?: 'error' | 'skip' } = {},
  ) => {
    const filters = options.filters ?? []
    const scope = session.cursors.scope(stream, filters)
    const request = {
      stream,
      filters,
      scope,
      from,
      form: 'text',
      onGap: options.onGap ?? 'skip',
      requestId: 'r',
      onEnd: () => {},
    } as const
    return eventReader(await session.reader.tail(request))
  }
  const nextOf = async (reader: ReturnType<typeof eventReader>, event: string) => {
    for (;;) {
      const next = await reader.next()
      if (next.event === event) return next
      if (next.event === 'error') throw new Error(JSON.stringify(next.data))
    }
  }

  it('gives a reader that stops for a while every message, in order, although its buffer is bounded', async () => {
    const reader = await openTail({ start: { at: 'new' } })
    await nextOf(reader, 'caught_up')
    const payload = (index: number) => `${index} ${'x'.repeat(100_000)}`
    await publishMany(60, payload)
    for (let index = 0; index < 60; index += 1) {
      expect((await nextOf(reader, 'message')).data).toMatchObject({ seq: index + 1, data: payload(index) })
    }
    await publish('a', bytes('live again'))
    expect((await nextOf(reader, 'message')).data).toMatchObject({ seq: 61, data: 'live again' })
    await reader.cancel()
  })

  it('tells a live reader of messages that were purged before it came to them, to the sequence', async () => {
    const reader = await openTail({ start: { at: 'beginning' } })
    await nextOf(reader, 'caught_up')
    await publishMany(40, (index) => `${index} ${'x'.repeat(100_000)}`)
    await session.jetstream.purgeStream(stream, { seq: 31 })
    const seen: number[] = []
    let gap: Event | undefined
    while (seen.at(-1) !== 40) {
      const next = await reader.next()
      if (next.event === 'message') seen.push(Number(next.data.seq))
      if (next.event === 'gap') gap = next
    }
    const beforeGap = seen.filter((seq) => seq <= 30)
    expect(seen).toEqual(
      [...Array(beforeGap.length).keys()]
        .map((index) => index + 1)
        .concat([31, 32, 33, 34, 35, 36, 37, 38, 39, 40]),
    )
    expect(gap?.data).toMatchObject({ from_seq: beforeGap.length + 1, to_seq: 30, reason: 'removed' })
    await reader.cancel()
  })

  it('passes over single deleted messages without a gap', async () => {
    await publishMany(10, String)
    await session.jetstream.deleteMessage(stream, 4)
    await session.jetstream.deleteMessage(stream, 7)
    const reader = await openTail({ start: { at: 'beginning' } })
    const seen: unknown[] = []
    for (let next = await reader.next(); next.event !== 'caught_up'; next = await reader.next()) {
      expect(next.event).toBe('message')
      seen.push(next.data.seq)
    }
    expect(seen).toEqual([1, 2, 3, 5, 6, 8, 9, 10])
    await reader.cancel()
  })

  it('ends with an error where the stream is deleted under it', async () => {
    const reader = await openTail({ start: { at: 'new' } })
    await nextOf(reader, 'caught_up')
    await session.jetstream.deleteStream(stream)
    await expect(nextOf(reader, 'message')).rejects.toThrow('stream_not_found')
  })

  it('resumes from any event, in the middle of a snapshot of last messages too', async () => {
    for (let index = 0; index < 30; index += 1) await publish(`k${index % 10}`, bytes(String(index)))
    const whole = await openTail({ start: { at: 'last_per_subject' } })
    const events: Event[] = []
    for (let next = await whole.next(); next.event !== 'caught_up'; next = await whole.next())
      events.push(next)
    await whole.cancel()
    expect(events.map(({ data }) => data.seq)).toEqual([21, 22, 23, 24, 25, 26, 27, 28, 29, 30])
    for (const [index, { id = '' }] of events.entries()) {
      const position = session.cursors.scope(stream, []).open(id)
      const rest = await openTail({ position })
      for (const expected of events.slice(index + 1))
        expect((await rest.next()).data.seq).toBe(expected.data.seq)
      expect((await rest.next()).event).toBe('caught_up')
      await rest.cancel()
    }
  })

  it('holds one consumer for many readers, and none soon after they left', async () => {
    const readers = await Promise.all(
      [1, 2, 3, 4, 5].map(() => openTail({ start: { at: 'new' } }, { filters: [`${stream}.b`] })),
    )
    for (const reader of readers) await nextOf(reader, 'caught_up')
    expect((await session.jetstream.listConsumers(stream, 0)).total).toBe(1)
    await publish('a', bytes('not theirs'))
    await publish('b', bytes('theirs'))
    for (const reader of readers)
      expect((await nextOf(reader, 'message')).data).toMatchObject({ seq: 2, data: 'theirs' })
    for (const reader of readers) await reader.cancel()
    await expect
      .poll(async () => (await session.jetstream.listConsumers(stream, 0)).total, { timeout: 10_000 })
      .toBe(0)
  })
})
