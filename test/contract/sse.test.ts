/** The contract of a read as server-sent events: history joined to live, resumes, gaps and heartbeats. */
import { describe, expect, test } from 'vitest'
import type { Call, Gap, Message, Problem } from './client.ts'
import { type EventStream, openEvents } from './events.ts'
import { at, inParallel, problem, range, refusal, seqs } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

onEveryTarget((target) => {
  /** Runs `use` on a stream of events and closes it. */
  const withEvents = async <Result>(
    stream: TestStream,
    call: Call,
    use: (events: EventStream) => Promise<Result>,
  ) => {
    const events = await openEvents(target.bridge, `${stream.path}/messages`, call)
    try {
      return await use(events)
    } finally {
      events.close()
    }
  }
  const take = (stream: TestStream, call: Call, count: number) =>
    withEvents(stream, call, (events) => events.take<Message>('message', count))
  /** What history holds, by the event that ends it. */
  const history = (stream: TestStream, call: Call) =>
    withEvents(stream, call, async (events) => {
      await events.take('caught_up', 1)
      return events.events
        .filter(({ event }) => event === 'message')
        .map(({ data }) => JSON.parse(data) as Message)
    })
  const fill = async (stream: TestStream, first: number, last: number) => {
    for (const n of range(first, last))
      await target.bridge.publish(stream.subject(n % 2 ? 'odd' : 'even'), `m${n}`)
  }
  const refused = (stream: TestStream, { headers, ...call }: Call) =>
    target.bridge.send(`GET ${stream.path}/messages`, {
      ...call,
      headers: { Accept: 'text/event-stream', ...headers },
    })

  describe('readMessages as server-sent events', () => {
    test('200 that no cache or proxy keeps or changes, its first line retry:', async () => {
      const stream = await target.makeStream()

      await withEvents(stream, {}, async (events) => {
        await events.take('caught_up', 1)
        expect(events.text()).toMatch(/^retry: ?\d+\r?\n/)
        expect(events.headers.get('Content-Type')).toMatch(/^text\/event-stream/)
        expect(events.headers.get('Cache-Control')).toMatch(/no-transform/)
        expect(events.headers.get('Cache-Control')).toMatch(/private|no-store/)
      })
    })

    test.each([
      ['a work queue, which nobody reads beside its consumers', { retention: 'workqueue' }],
      ['a stream that has as many consumers as it may', { max_consumers: 1 }],
    ])('422 refused_by_jetstream, as a status and every time, for %s', async (_, config) => {
      const stream = await target.makeStream(config)
      await fill(stream, 1, 2)
      await target.makeConsumer(stream)

      for (const start of ['beginning', 'new', 'beginning'])
        expect(await refused(stream, { query: { start } })).toMatchObject(
          problem(422, 'refused_by_jetstream'),
        )
    })

    test('history, caught_up, then live, each event a message with its cursor as its id', async () => {
      const stream = await target.makeStream()
      await fill(stream, 1, 3)

      await withEvents(stream, { query: { start: 'beginning' } }, async (events) => {
        await events.take('caught_up', 1)
        await fill(stream, 4, 5)
        await events.take('message', 5)

        expect(events.events.map(({ event }) => event)).toEqual([
          ...Array(3).fill('message'),
          'caught_up',
          'message',
          'message',
        ])
        const { messages } = await target.bridge.page(stream.name)
        const sent = events.events.filter(({ event }) => event === 'message')
        for (const [index, { id, data }] of sent.entries()) {
          const { cursor, ...message } = at(messages, index)
          expect(JSON.parse(data)).toEqual({ ...message, cursor: id })
          expect(cursor).not.toBe('')
        }
      })
    })

    test('caught_up with a cursor to go on from', async () => {
      const stream = await target.makeStream()
      await fill(stream, 1, 3)

      const [caughtUp] = await withEvents(stream, {}, (events) =>
        events.take<{ cursor: string }>('caught_up', 1),
      )
      await fill(stream, 4, 5)

      expect(seqs(await take(stream, { query: { cursor: caughtUp?.cursor } }, 2))).toEqual([4, 5])
    })

    test('only what is published from now on when neither cursor nor start is given', async () => {
      const stream = await target.makeStream()
      await fill(stream, 1, 3)

      await withEvents(stream, {}, async (events) => {
        await events.take('caught_up', 1)
        await fill(stream, 4, 4)
        expect(seqs(await events.take<Message>('message', 1))).toEqual([4])
      })
    })

    test('the messages of every start, with and without a filter', async () => {
      const stream = await target.makeStream()
      await fill(stream, 1, 8)
      const { time } = at((await target.bridge.page(stream.name)).messages, 4)
      const subject = stream.subject('odd')
      const both = [subject, stream.subject('even')]

      const reads = [
        [{ start: 'beginning' }, range(1, 8)],
        [{ start: 'new' }, []],
        [{ start: 'last' }, [8]],
        [{ start: 'last_per_subject' }, [7, 8]],
        [{ start: 'seq:6' }, [6, 7, 8]],
        [{ start: `time:${time}` }, [5, 6, 7, 8]],
        [{ start: 'tail:3' }, [6, 7, 8]],
        [{ start: 'beginning', subject }, [1, 3, 5, 7]],
        [{ start: 'last', subject }, [7]],
        [{ start: 'last_per_subject', subject: both }, [7, 8]],
        [{ start: 'seq:4', subject }, [5, 7]],
        [{ start: 'tail:2', subject }, [5, 7]],
        [{ start: 'beginning', subject: both }, range(1, 8)],
        [{ start: 'beginning', subject: stream.subject('nothing') }, []],
      ] as const
      const results = await inParallel(reads, 4, async ([query]) => seqs(await history(stream, { query })))

      expect(results.map((sequences, index) => [reads[index]?.[0], sequences])).toEqual(
        reads.map(([query, expected]) => [query, expected]),
      )
    })

    test('live messages of the filters alone', async () => {
      const stream = await target.makeStream()

      await withEvents(
        stream,
        { query: { subject: [stream.subject('odd'), stream.subject('x.>')] } },
        async (events) => {
          await events.take('caught_up', 1)
          await fill(stream, 1, 4)
          await target.bridge.publish(stream.subject('x.y.z'))
          expect(seqs(await events.take<Message>('message', 3))).toEqual([1, 3, 5])
        },
      )
    })

    test('every message once, in order, when history meets a publisher that does not pause', async () => {
      const stream = await target.makeStream()
      await inParallel(range(1, 300), 16, (n) => target.bridge.publish(stream.subject('a'), `${n}`))
      const publishing = inParallel(range(1, 600), 4, (n) =>
        target.bridge.publish(stream.subject('a'), `${n}`),
      )

      const readers = await inParallel(['beginning', 'seq:200', 'tail:50', 'new'], 4, (start) =>
        withEvents(stream, { query: { start } }, async (events) => {
          await events.until('the last message', () =>
            events.events.some(({ data }) => data.includes('"seq":900,')),
          )
          return events.events
            .filter(({ event }) => event === 'message')
            .map(({ data }) => (JSON.parse(data) as Message).seq)
        }),
      )
      await publishing

      for (const sequences of readers) expect(sequences).toEqual(range(at(sequences, 0), 900))
      expect(readers.slice(0, 2).map((sequences) => sequences[0])).toEqual([1, 200])
    })

    test('every message to each of many readers', async () => {
      const stream = await target.makeStream()
      const readers = await inParallel(range(1, 20), 20, () =>
        openEvents(target.bridge, `${stream.path}/messages`),
      )
      await inParallel(readers, 20, (events) => events.take('caught_up', 1))
      await fill(stream, 1, 50)

      const received = await inParallel(readers, 20, (events) => events.take<Message>('message', 50))
      for (const events of readers) events.close()

      for (const messages of received) expect(seqs(messages)).toEqual(range(1, 50))
    })

    describe('resumed', () => {
      test('right after the Last-Event-ID, from every tenth event', async () => {
        const stream = await target.makeStream()
        await inParallel(range(1, 200), 16, (n) => target.bridge.publish(stream.subject('a'), `${n}`))
        const first = await withEvents(stream, { query: { start: 'beginning' } }, async (events) => {
          await events.take('message', 200)
          return events.events.filter(({ event }) => event === 'message')
        })

        const resumed = range(0, 19).map((n) => n * 10)
        const rests = await inParallel(resumed, 4, (index) =>
          history(stream, {
            query: { start: 'beginning' },
            headers: { 'Last-Event-ID': at(first, index).id ?? '' },
          }),
        )

        expect(rests.map(seqs)).toEqual(resumed.map((index) => range(index + 2, 200)))
      })

      test('by Last-Event-ID rather than by the cursor in the URL, which stays the same over reconnects', async () => {
        const stream = await target.makeStream()
        await fill(stream, 1, 6)
        const { messages } = await target.bridge.page(stream.name)
        const headers = { 'Last-Event-ID': at(messages, 3).cursor }

        expect(seqs(await take(stream, { query: { cursor: at(messages, 0).cursor }, headers }, 2))).toEqual([
          5, 6,
        ])
      })

      test('by the cursor of a page, and a page by the id of an event', async () => {
        const stream = await target.makeStream()
        await fill(stream, 1, 6)
        const query = { subject: stream.subject('odd') }
        const { cursor } = await target.bridge.page(stream.name, { ...query, limit: 1 })

        const [third] = await take(stream, { query: { ...query, cursor } }, 1)

        expect(third?.seq).toBe(3)
        expect(
          seqs((await target.bridge.page(stream.name, { ...query, cursor: third?.cursor })).messages),
        ).toEqual([5])
      })

      test('from what came live', async () => {
        const stream = await target.makeStream()
        const id = await withEvents(stream, {}, async (events) => {
          await events.take('caught_up', 1)
          await fill(stream, 1, 3)
          await events.take('message', 3)
          return events.lastEventId()
        })
        await fill(stream, 4, 6)

        expect(seqs(await history(stream, { headers: { 'Last-Event-ID': id } }))).toEqual([4, 5, 6])
      })
    })

    describe('where messages are gone', () => {
      const makeGap = async () => {
        const stream = await target.makeStream()
        await fill(stream, 1, 10)
        const { cursor } = await target.bridge.page(stream.name, { limit: 4 })
        await target.bridge.ok(`POST ${stream.path}/purge`, { json: { seq: 8 } })
        return { stream, cursor }
      }

      test.each(['skip', undefined])('gap, then the messages behind it, with on_gap=%s', async (on_gap) => {
        const { stream, cursor } = await makeGap()

        await withEvents(
          stream,
          { query: { on_gap }, headers: { 'Last-Event-ID': cursor } },
          async (events) => {
            const messages = await events.take<Message>('message', 3)
            const [gap] = await events.take<Gap & { cursor: string }>('gap', 1)

            expect(at(events.events, 0).event).toBe('gap')
            expect(gap).toEqual({
              from_seq: 5,
              to_seq: 7,
              reason: expect.any(String),
              cursor: expect.any(String),
            })
            expect(seqs(messages)).toEqual([8, 9, 10])
            expect(seqs(await take(stream, { query: { cursor: gap?.cursor } }, 3))).toEqual([8, 9, 10])
          },
        )
      })

      test('cursor_expired, as a status or as an error event that ends the stream, with on_gap=error', async () => {
        const { stream, cursor } = await makeGap()
        const answer = await refused(stream, { query: { cursor, on_gap: 'error' } }).catch(() => undefined)
        if (answer?.status === 410)
          return expect(answer).toMatchObject(problem(410, 'cursor_expired', { missed: 3 }))

        await withEvents(stream, { query: { cursor, on_gap: 'error' } }, async (events) => {
          const [failure] = await events.take<Problem>('error', 1)
          expect(failure).toMatchObject({ code: 'cursor_expired', status: 410, earliest_seq: 8, missed: 3 })
          await events.until('the end', () => events.ended())
        })
      })

      test('stream_recreated, as a status or as an error event that ends the stream, with a cursor of the old one', async () => {
        const stream = await target.makeStream()
        await fill(stream, 1, 4)
        const { cursor } = await target.bridge.page(stream.name, { limit: 2 })
        await target.remakeStream(stream)
        await fill(stream, 1, 4)

        const response = await target.bridge.open(`GET ${stream.path}/messages`, {
          headers: { Accept: 'text/event-stream', 'Last-Event-ID': cursor },
        })
        const text = await response.response.text()

        expect(text).toContain('"stream_recreated"')
        expect(text).not.toContain('event: message')
      })

      test('an error event, then the end, when the stream is deleted', async () => {
        const stream = await target.makeStream()

        await withEvents(stream, {}, async (events) => {
          await events.take('caught_up', 1)
          await target.bridge.ok(`DELETE ${stream.path}`)
          const [failure] = await events.take<Problem>('error', 1, 30_000)
          expect(failure).toMatchObject({ code: 'stream_not_found', status: 404 })
          await events.until('the end', () => events.ended())
        })
      })
    })

    describe('heartbeat', () => {
      test('something to read on a stream where nothing is published', async () => {
        const stream = await target.makeStream()

        await withEvents(stream, {}, async (events) => {
          await events.take('caught_up', 1)
          for (const _ of range(1, 2)) {
            const before = events.text().length
            await events.until('a heartbeat', () => events.text().length > before, target.longestSilenceMs)
          }
          expect(events.events).toHaveLength(1)
        })
      })

      test('a fresh id where the filter is sparse, so that a resume never rescans', async () => {
        const stream = await target.makeStream()
        const query = { subject: stream.subject('rare') }

        const id = await withEvents(stream, { query }, async (events) => {
          await events.take('caught_up', 1)
          const before = events.lastEventId()
          await fill(stream, 1, 20)
          // The next heartbeat may have been on its way already, the one after it was not.
          for (const _ of range(1, 2)) {
            const seen = events.text().length
            await events.until('a heartbeat', () => events.text().length > seen, target.longestSilenceMs)
          }
          expect(events.lastEventId()).not.toBe(before)
          return events.lastEventId()
        })
        await target.bridge.ok(`POST ${stream.path}/purge`, { json: {} })
        await target.bridge.publish(stream.subject('rare'), 'found')

        await withEvents(stream, { query, headers: { 'Last-Event-ID': id } }, async (events) => {
          expect(seqs(await events.take<Message>('message', 1))).toEqual([21])
          expect(events.events.map(({ event }) => event)).not.toContain('gap')
        })
      })
    })

    describe('refused before it begins', () => {
      test('404 stream_not_found when the stream does not exist', async () => {
        const answer = await target.bridge.send('GET /v1/streams/nothing-here/messages', {
          headers: { Accept: 'text/event-stream' },
        })

        expect(answer).toMatchObject(problem(404, 'stream_not_found'))
      })

      test.each([
        ['start', 'whenever'],
        ['on_gap', 'x'],
        ['subject', 'a b'],
        ['limit', '10'],
        ['unknown', 'x'],
      ])('400 naming %s when it is %s', async (name, value) => {
        const stream = await target.makeStream()
        const { status, body } = await refused(stream, { query: { [name]: value } })

        expect({ status, body }).toMatchObject(name === 'subject' ? { status: 400 } : refusal(name))
      })
    })
  })
})
