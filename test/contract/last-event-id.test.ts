/** The contract of `lastEventId`: how a client that cannot send a header says what it had last. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Delivery, Message } from './client.ts'
import { type EventStream, openEvents } from './events.ts'
import { at, problem, range, refusal, seqs } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const EVENTS = { Accept: 'text/event-stream' }

interface Ticket {
  readonly url: string
}

onEveryTarget((target) => {
  let stream: TestStream
  /** What stands right after each message. */
  let ids: readonly string[]
  beforeAll(async () => {
    stream = await target.makeStream()
    for (const n of range(1, 5)) await target.bridge.publish(stream.subject('a'), `m${n}`)
    ids = (await target.bridge.page(stream.name)).messages.map(({ cursor }) => cursor)
  })
  const idAfter = (seq: number) => at(ids, seq - 1)
  const firstSeq = async (query: Record<string, string>, headers: Record<string, string> = {}) => {
    const events = await openEvents(target.bridge, `${stream.path}/messages`, { query, headers })
    const [first] = seqs(await events.take<Message>('message', 1))
    events.close()
    return first
  }
  const refused = (path: string, query: Record<string, string>) =>
    target.bridge.send(`GET ${path}`, { query, headers: EVENTS })
  const lastIdOf = async (events: EventStream) => {
    await events.until('an id', () => events.lastEventId() !== '')
    events.close()
    return events.lastEventId()
  }

  describe('readMessages', () => {
    test('goes on right after it, as after the header', async () => {
      expect(await firstSeq({ lastEventId: idAfter(3) })).toBe(4)
      expect(await firstSeq({ lastEventId: idAfter(3), start: 'beginning' })).toBe(4)
    })

    test('the header goes before it, and it before a cursor', async () => {
      const three = { lastEventId: idAfter(2), cursor: idAfter(1) }
      expect(await firstSeq(three, { 'Last-Event-ID': idAfter(3) })).toBe(4)
      expect(await firstSeq(three)).toBe(3)
      expect(await firstSeq({ cursor: idAfter(1) })).toBe(2)
    })

    test('an empty one, and an empty header, is one that is not there', async () => {
      expect(await firstSeq({ lastEventId: '', cursor: idAfter(2) })).toBe(3)
      expect(await firstSeq({ lastEventId: '', start: 'seq:5' })).toBe(5)
      expect(await firstSeq({ lastEventId: idAfter(2) }, { 'Last-Event-ID': '' })).toBe(3)
    })

    test('there is one from the first sign of life on, though no event has come', async () => {
      const empty = await target.makeStream()
      for (const query of [{}, { start: 'beginning' }, { subject: empty.subject('nothing') }]) {
        const events = await openEvents(target.bridge, `${empty.path}/messages`, { query })
        await events.until('the first piece', () => events.text().includes('\n\n'))
        expect(events.text()).toMatch(/^retry: \d+\nid: \S+\n\n/)
        const id = await lastIdOf(events)
        const again = await openEvents(target.bridge, `${empty.path}/messages`, {
          query: { ...query, lastEventId: id },
        })
        await again.take('caught_up', 1)
        again.close()
      }
    })

    test('400 cursor_invalid where it is none of ours, and 409 cursor_mismatch of another stream', async () => {
      const other = await target.makeStream()
      const { cursor } = await target.bridge.page(other.name)
      expect(await refused(`${stream.path}/messages`, { lastEventId: 'x' })).toMatchObject(
        problem(400, 'cursor_invalid'),
      )
      expect(await refused(`${stream.path}/messages`, { lastEventId: cursor })).toMatchObject(
        problem(409, 'cursor_mismatch'),
      )
    })

    test('400 naming it where it is too long, given twice, or of a page', async () => {
      expect(await refused(`${stream.path}/messages`, { lastEventId: 'x'.repeat(8_193) })).toMatchObject(
        refusal('lastEventId'),
      )
      expect(await refused(`${stream.path}/messages?lastEventId=a&lastEventId=b`, {})).toMatchObject(
        refusal('lastEventId'),
      )
      for (const Accept of ['application/json', 'application/x-ndjson']) {
        const answer = await target.bridge.send(`GET ${stream.path}/messages`, {
          query: { lastEventId: idAfter(1) },
          headers: { Accept },
        })
        expect(answer).toMatchObject(refusal('lastEventId'))
      }
    })
  })

  describe('a ticket', () => {
    const ticketPath = async (json: object) => {
      const { url } = await target.bridge.ok<Ticket>('POST /v1/tickets', { json })
      return new URL(url).pathname + new URL(url).search
    }

    test('resumes by it', async () => {
      const path = await ticketPath({ stream: stream.name, start: 'beginning' })
      const first = await openEvents(target.bridge, path)
      await first.take('message', 5)
      const id = first.events.filter(({ event }) => event === 'message')[1]?.id ?? ''
      first.close()
      const second = await openEvents(target.bridge, `${path}&lastEventId=${encodeURIComponent(id)}`)
      expect(seqs(await second.take<Message>('message', 3))).toEqual([3, 4, 5])
      second.close()
    })

    test("of a consumer resumes by an id of its own, and 400 or 409 by another's", async () => {
      // What was on its way to a client that left comes again after the ack wait.
      const consumer = await target.makeConsumer(stream, { ack_wait_ms: 1_000 })
      const path = await ticketPath({ stream: stream.name, consumer: at(consumer.split('/'), -1) })
      const id = await lastIdOf(await openEvents(target.bridge, path))
      const again = await openEvents(target.bridge, `${path}&lastEventId=${encodeURIComponent(id)}`)
      expect((await again.take<Delivery>('message', 1))[0]).toMatchObject({ stream: stream.name })
      again.close()
      for (const [wrong, status, code] of [
        ['x', 400, 'cursor_invalid'],
        [idAfter(1), 409, 'cursor_mismatch'],
      ] as const) {
        expect(await refused(`${path}&lastEventId=${encodeURIComponent(wrong)}`, {})).toMatchObject(
          problem(status, code),
        )
      }
    })
  })

  test('pushMessages takes it, and an empty one', async () => {
    const consumer = await target.makeConsumer(stream)
    const id = await lastIdOf(await openEvents(target.bridge, `${consumer}/messages`))
    for (const lastEventId of [id, '']) {
      const events = await openEvents(target.bridge, `${consumer}/messages`, { query: { lastEventId } })
      await lastIdOf(events)
    }
  })
})
