/** The contract of pages: where a read begins, how far it goes, and how it waits. */
import { beforeAll, describe, expect, test } from 'vitest'
import { pacedNow } from '../support/pace.ts'
import type { Message, Page, Query } from './client.ts'
import { at, problem, range, refusal, seqs } from './expectations.ts'
import { onEveryTarget, type Target, type TestStream } from './target.ts'

const LETTERS = ['a', 'b', 'c']
const COUNT = 12
/** Far longer than any answer that has a message takes. */
const LONG_WAIT_MS = 30_000
const SOON_MS = 20_000

/** Subjects of the filter, then each `start` with the sequences that it reads: message n has letter (n - 1) mod 3. */
const STARTS: readonly (readonly [string[], Record<string, number[]>])[] = [
  [
    [],
    {
      beginning: range(1, 12),
      new: [],
      last: [12],
      last_per_subject: [10, 11, 12],
      'seq:1': range(1, 12),
      'seq:5': range(5, 12),
      'time:5': range(5, 12),
      'tail:1': [12],
      'tail:4': range(9, 12),
      'tail:100': range(1, 12),
    },
  ],
  [
    ['a'],
    {
      beginning: [1, 4, 7, 10],
      new: [],
      last: [10],
      last_per_subject: [10],
      'seq:5': [7, 10],
      'time:5': [7, 10],
      'tail:1': [10],
      'tail:2': [7, 10],
    },
  ],
  [
    ['a', 'c'],
    {
      beginning: [1, 3, 4, 6, 7, 9, 10, 12],
      new: [],
      last: [12],
      last_per_subject: [10, 12],
      'seq:5': [6, 7, 9, 10, 12],
      'time:5': [6, 7, 9, 10, 12],
      'tail:1': [12],
      'tail:3': [9, 10, 12],
    },
  ],
  [['*'], { beginning: range(1, 12), last_per_subject: [10, 11, 12], 'tail:4': range(9, 12) }],
  [['b', '>'], { beginning: range(1, 12), last: [12] }],
  [
    ['nothing'],
    { beginning: [], new: [], last: [], last_per_subject: [], 'seq:5': [], 'time:5': [], 'tail:3': [] },
  ],
]
const EVERY_START = STARTS.flatMap(([filter, starts]) =>
  Object.entries(starts).map(([start, expected]) => [start, filter, expected] as const),
)

async function fill(target: Target, stream: TestStream, from = 1, count = COUNT) {
  for (const n of range(from, from + count - 1)) {
    await target.bridge.publish(stream.subject(at(LETTERS, (n - 1) % LETTERS.length)), `m${n}`)
  }
}

onEveryTarget((target) => {
  const page = (stream: TestStream, query: Query = {}) => target.bridge.page(stream.name, query)
  const read = (stream: TestStream, query: Query) =>
    target.bridge.send<Page>(`GET ${stream.path}/messages`, { query })

  /** Follows the cursor until there is nothing more. */
  const follow = async (
    stream: TestStream,
    query: Query,
  ): Promise<{ messages: Message[]; cursor: string }> => {
    const messages: Message[] = []
    let next = query
    for (;;) {
      const { messages: more, cursor, up_to_date } = await page(stream, next)
      messages.push(...more)
      if (up_to_date) return { messages, cursor }
      const { start: _, ...rest } = query
      next = { ...rest, cursor }
    }
  }

  describe('readMessages', () => {
    let stream: TestStream
    let fifth: Message

    beforeAll(async () => {
      stream = await target.makeStream()
      await fill(target, stream)
      fifth = at((await page(stream)).messages, 4)
    })

    const toQuery = (start: string, filter: readonly string[]): Query => ({
      start: start === 'time:5' ? `time:${fifth.time}` : start,
      subject: filter.map((tail) => stream.subject(tail)),
    })

    test('200 with messages, cursor, up_to_date and a Link to the next page', async () => {
      const { status, headers, body } = await read(stream, { limit: 2, subject: stream.subject('b') })

      expect(status).toBe(200)
      expect(Object.keys(body).sort()).toEqual(['cursor', 'messages', 'up_to_date'])
      expect(seqs(body.messages)).toEqual([2, 5])
      expect(body.up_to_date).toBe(false)
      const [, link = ''] = /^<([^>]+)>; *rel="?next"?$/.exec(headers.get('Link') ?? '') ?? []
      const next = new URL(link, `${target.bridge.url}${stream.path}/messages`)
      const following = await target.bridge.ok<Page>(`GET ${next.pathname}${next.search}`)
      expect(seqs(following.messages)).toEqual([8, 11])
    })

    test('200 with an empty page, up to date, when the stream is empty', async () => {
      const empty = await target.makeStream()

      expect(await page(empty)).toEqual({ messages: [], cursor: expect.any(String), up_to_date: true })
    })

    test('200 from the beginning when neither cursor nor start is given', async () => {
      expect(seqs((await page(stream)).messages)).toEqual(range(1, COUNT))
    })

    test.each(['*/*', 'application/json', 'application/*', 'application/json, text/plain;q=0.5'])(
      '200 with a page under Accept: %s',
      async (accept) => {
        const { headers } = await target.bridge.send(`GET ${stream.path}/messages`, {
          headers: { Accept: accept },
        })

        expect(headers.get('Content-Type')).toMatch(/^application\/json/)
      },
    )

    test.each(EVERY_START)('200 from start=%s with the filter %j', async (start, filter, expected) => {
      const { messages, up_to_date } = await page(stream, toQuery(start, filter))

      expect(seqs(messages)).toEqual(expected)
      expect(up_to_date).toBe(true)
    })

    test.each(EVERY_START)(
      'every message once by following pages of 2 from start=%s with the filter %j',
      async (...args) => {
        const [start, filter, expected] = args

        const { messages } = await follow(stream, { ...toQuery(start, filter), limit: 2 })

        expect(seqs(messages)).toEqual(expected)
      },
    )

    test('what is published later, and nothing else, from the cursor of every start', async () => {
      const growing = await target.makeStream()
      await fill(target, growing)
      const ends = []
      for (const [start, filter] of EVERY_START.filter(([form]) => form !== 'time:5')) {
        const query = { subject: filter.map((tail) => growing.subject(tail)) }
        ends.push({
          start,
          filter,
          query,
          cursor: (await follow(growing, { ...query, start, limit: 5 })).cursor,
        })
      }
      await fill(target, growing, 13, 3)

      for (const { start, filter, query, cursor } of ends) {
        const { messages } = await page(growing, { ...query, cursor })
        const wanted = range(13, 15).filter((n) => {
          const letter = at(LETTERS, (n - 1) % LETTERS.length)
          return filter.length === 0 || filter.some((tail) => [letter, '*', '>'].includes(tail))
        })
        expect([start, filter, seqs(messages)]).toEqual([start, filter, wanted])
      }
    })

    test('every message once by following pages of a stream without allow_direct', async () => {
      const indirect = await target.makeStream({ allow_direct: false })
      await fill(target, indirect)

      expect(seqs((await follow(indirect, { limit: 5 })).messages)).toEqual(range(1, COUNT))
      const filtered = { subject: [indirect.subject('a'), indirect.subject('c')], limit: 3 }
      expect(seqs((await follow(indirect, filtered)).messages)).toEqual([1, 3, 4, 6, 7, 9, 10, 12])
    })

    test('200 with 100 messages when no limit is given, and with up to 1000 when it is', async () => {
      const long = await target.makeStream()
      await Promise.all(range(1, 1_010).map((n) => target.bridge.publish(long.subject('a'), `${n}`)))

      expect((await page(long)).messages).toHaveLength(100)
      expect((await page(long, { limit: 1_000 })).messages).toHaveLength(1_000)
      expect(seqs((await follow(long, { limit: 999 })).messages)).toEqual(range(1, 1_010))
    })

    test('200 with no more payload than max_bytes, but always one message', async () => {
      const heavy = await target.makeStream()
      for (const letter of ['a', 'b', 'c', 'd'])
        await target.bridge.publish(heavy.subject('a'), letter.repeat(1_000))

      const { messages, up_to_date } = await page(heavy, { max_bytes: 2_500 })
      expect(messages.length).toBeOneOf([1, 2])
      expect(up_to_date).toBe(false)
      expect(seqs((await page(heavy, { max_bytes: 1 })).messages)).toEqual([1])
      expect(seqs((await follow(heavy, { max_bytes: 1_500 })).messages)).toEqual(range(1, 4))
    })

    test('the cursor of an empty page moves past what the filter left out', async () => {
      const busy = await target.makeStream()
      const query = { subject: busy.subject('rare') }
      for (const n of range(1, 5)) await target.bridge.publish(busy.subject('often'), `${n}`)

      const empty = await page(busy, query)
      expect(empty).toMatchObject({ messages: [], up_to_date: true })

      // Had it stayed behind, it would have lost messages now.
      await target.bridge.ok(`POST ${busy.path}/purge`, { json: {} })
      await target.bridge.publish(busy.subject('rare'), 'found')
      expect(seqs((await page(busy, { ...query, cursor: empty.cursor })).messages)).toEqual([6])
    })

    describe('with wait_ms', () => {
      test.each(['cursor', 'start=new'])('200 soon after a message is published, from %s', async (from) => {
        const waited = await target.makeStream()
        const { cursor } = await target.bridge.publish(waited.subject('a'))
        const position = from === 'cursor' ? { cursor } : { start: 'new' }
        const begun = pacedNow()
        const waiting = page(waited, {
          ...position,
          wait_ms: LONG_WAIT_MS,
          subject: waited.subject('wanted'),
        })
        // Round trips, so that it waits indeed when the message comes.
        for (const n of range(1, 20)) await target.bridge.publish(waited.subject('other'), `${n}`)
        await target.bridge.publish(waited.subject('wanted'), 'yes')

        const { messages } = await waiting

        expect(messages.map(({ data }) => data)).toEqual(['yes'])
        expect(pacedNow() - begun).toBeLessThan(SOON_MS)
      })

      test('200 at once when there are messages already', async () => {
        const begun = pacedNow()

        expect(seqs((await page(stream, { start: 'seq:11', wait_ms: LONG_WAIT_MS })).messages)).toEqual([
          11, 12,
        ])
        expect(pacedNow() - begun).toBeLessThan(SOON_MS)
      })

      test('200 with an empty page, its cursor moved on, when nothing that matches came in time', async () => {
        const waited = await target.makeStream()
        const query = { subject: waited.subject('wanted') }
        const { cursor } = await page(waited, query)
        const begun = performance.now()
        const waiting = page(waited, { ...query, cursor, wait_ms: 1_000 })
        for (const n of range(1, 5)) await target.bridge.publish(waited.subject('other'), `${n}`)

        const empty = await waiting

        expect(empty).toMatchObject({ messages: [], up_to_date: true })
        expect(performance.now() - begun).toBeGreaterThan(900)
        await target.bridge.ok(`POST ${waited.path}/purge`, { json: {} })
        await target.bridge.publish(waited.subject('wanted'), 'found')
        expect(seqs((await page(waited, { ...query, cursor: empty.cursor })).messages)).toEqual([6])
      })

      test('200 to every one of many that wait for the same message', async () => {
        const waited = await target.makeStream()
        const waiting = range(1, 20).map(() => page(waited, { start: 'beginning', wait_ms: LONG_WAIT_MS }))
        await target.bridge.publish(waited.subject('a'), 'shared')

        const pages = await Promise.all(waiting)

        expect(pages.map(({ messages }) => seqs(messages))).toEqual(Array(20).fill([1]))
      })
    })

    test.each([
      ['limit', ['0', '1001', '-1', '1.5', 'many', '', ' 1', '1e2', '0x10']],
      ['max_bytes', ['0', '-1', 'x', '']],
      ['wait_ms', ['-1', '60001', 'x', '1.5']],
      ['on_gap', ['maybe', '', 'SKIP']],
      ['payload', ['xml', '']],
      [
        'start',
        [
          '',
          'end',
          'seq:',
          'seq:0',
          'seq:-1',
          'seq:x',
          'seq:1.5',
          'time:',
          'time:yesterday',
          'time:2026-13-01T00:00:00Z',
        ],
      ],
      ['start', ['tail:', 'tail:0', 'tail:-3', 'tail:x', 'Beginning', 'seq:1 ', 'seq:99999999999999999999']],
      ['subject', ['', 'a b', 'a..b', '.a', 'a.', 'a.>.b', '>.a', 'a\0', 'a\r\nb', 'a\u00a0b']],
    ])('400 naming %s when it is one of %j', async (name, values) => {
      for (const value of values) {
        const answer = await read(stream, { [name]: value })
        // The field of a repeatable parameter may say which of its values.
        const [first] = ((answer.body as unknown as { errors?: { field: string }[] }).errors ?? []).map(
          ({ field }) => field,
        )
        expect({ value, status: answer.status, field: first?.replace(/\.\d+$/, '') }).toEqual({
          value,
          status: 400,
          field: name,
        })
      }
    })

    test('subjects named with brackets, as axios, jQuery and PHP name lists', async () => {
      const orders = await target.makeStream()
      for (const tail of ['a', 'b', 'c']) await target.bridge.publish(orders.subject(tail))
      const [a, b, c] = ['a', 'b', 'c'].map((tail) => orders.subject(tail))
      const read = async (query: string) =>
        (await target.bridge.ok<Page>(`GET ${orders.path}/messages?${query}`)).messages.map(
          ({ subject }) => subject,
        )

      expect(await read(`subject[]=${a}&subject[]=${c}`)).toEqual([a, c])
      expect(await read(`subject%5B%5D=${b}`)).toEqual([b])
      expect(await read(`subject=${a}&subject[]=${b}`)).toEqual([a, b])
      for (const query of [`limit[]=1`, `subject[0]=${a}`, 'subject[]=a..b', 'constructor[]=1'])
        expect((await target.bridge.send(`GET ${orders.path}/messages?${query}`)).status).toBe(400)
    })

    test.each(['foo', 'Limit', 'filter', 'offset', '__proto__', 'constructor'])(
      '400 naming the query parameter %s, which is unknown',
      async (name) => {
        const answer = await target.bridge.send(`GET ${stream.path}/messages?${name}=1`)

        expect(answer).toMatchObject(refusal(name))
      },
    )

    test('404 stream_not_found when the stream does not exist', async () => {
      const answer = await target.bridge.send(`GET /v1/streams/no-${stream.name}/messages`)

      expect(answer).toMatchObject(
        problem(404, 'stream_not_found', { retryable: false, side_effects: 'none' }),
      )
    })

    test.each(['a.b', 'a b', 'a*', '>', 'a\0', 'ä\u00a0', 'x'.repeat(300)])(
      '400 naming stream when it is %j',
      async (name) => {
        const answer = await target.bridge.send(`GET /v1/streams/${encodeURIComponent(name)}/messages`)

        expect(answer).toMatchObject(refusal('stream'))
      },
    )

    test.each(['text/html', 'application/xml', 'image/*'])(
      '406 not_acceptable under Accept: %s',
      async (accept) => {
        const answer = await target.bridge.send(`GET ${stream.path}/messages`, {
          headers: { Accept: accept },
        })

        expect(answer).toMatchObject(problem(406, 'not_acceptable'))
      },
    )
  })
})
