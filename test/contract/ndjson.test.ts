/** The contract of a read as newline-delimited JSON: a message a line, then where it ended. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Message, Query, StreamBody } from './client.ts'
import { at, inParallel, problem, range, seqs, until } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const PUBLISHED = 1_000
const COPIES = 20
const MANY = PUBLISHED * COPIES

interface Lines {
  readonly messages: readonly Message[]
  readonly end: { readonly cursor: string; readonly up_to_date: boolean }
}

onEveryTarget((target) => {
  const request = (stream: TestStream, query: Query) =>
    target.bridge.open(`GET ${stream.path}/messages`, { query, headers: { Accept: 'application/x-ndjson' } })
  const read = async (stream: TestStream, query: Query = {}): Promise<Lines> => {
    const { response, received } = await request(stream, query)
    target.bridge.contract.check(received)
    expect(response.headers.get('Content-Type')).toMatch(/^application\/x-ndjson/)
    const text = await response.text()
    expect(text.endsWith('\n')).toBe(true)
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    for (const line of lines.slice(-200)) target.bridge.contract.checkPart(received, line)
    return { messages: lines.slice(0, -1), end: at(lines, -1) }
  }

  let longStream: Promise<TestStream> | undefined
  /** A long stream out of a shorter one, by sources that JetStream itself copies. */
  const makeLong = () => {
    longStream ??= copyManyTimes()
    return longStream
  }
  const copyManyTimes = async () => {
    const short = await target.makeStream()
    await inParallel(range(1, PUBLISHED), 32, (n) => target.bridge.publish(short.subject('a'), `${n}`))
    const long = await target.makeStream({
      subjects: [],
      sources: range(1, COPIES).map((copy) => ({
        name: short.name,
        subject_transforms: [{ src: `${short.name}.>`, dest: `copy.${copy}.>` }],
      })),
    })
    await until('all is copied', async () => {
      const { state } = await target.bridge.ok<StreamBody>(`GET ${long.path}`)
      return state.messages === MANY
    })
    return long
  }

  describe('readMessages as newline-delimited JSON', () => {
    let stream: TestStream
    beforeAll(async () => {
      stream = await target.makeStream()
      for (const n of range(1, 250))
        await target.bridge.publish(stream.subject(n % 2 ? 'odd' : 'even'), `m${n}`)
    })

    test('200 with a message a line, the same as in a page, then cursor and up_to_date', async () => {
      const { messages, end } = await read(stream, { start: 'seq:248' })

      const page = await target.bridge.page(stream.name, { start: 'seq:248' })
      const withoutCursor = ({ cursor: _, ...message }: Message) => message
      expect(messages.map(withoutCursor)).toEqual(page.messages.map(withoutCursor))
      expect(end).toEqual({ cursor: expect.any(String), up_to_date: true })
    })

    test('200 with all messages when no limit is given', async () => {
      expect(seqs((await read(stream)).messages)).toEqual(range(1, 250))
    })

    test('200 with no more than limit, not up to date, and a cursor to go on from', async () => {
      const { messages, end } = await read(stream, { limit: 150 })

      expect(seqs(messages)).toEqual(range(1, 150))
      expect(end.up_to_date).toBe(false)
      expect(seqs((await read(stream, { cursor: end.cursor })).messages)).toEqual(range(151, 250))
    })

    test('200 with what the filter selects', async () => {
      const { messages } = await read(stream, { subject: stream.subject('even'), start: 'tail:10' })

      expect(seqs(messages)).toEqual(range(0, 9).map((n) => 232 + 2 * n))
    })

    test('200 from the cursor of any message', async () => {
      const { messages } = await read(stream, { limit: 100 })

      expect(seqs((await read(stream, { cursor: at(messages, 41).cursor })).messages)).toEqual(range(43, 250))
    })

    test('200 with nothing but the last line when there is nothing', async () => {
      const empty = await target.makeStream()

      expect(await read(empty)).toEqual({
        messages: [],
        end: { cursor: expect.any(String), up_to_date: true },
      })
    })

    test('200 soon after a message is published, with wait_ms', async () => {
      const empty = await target.makeStream()
      const waiting = read(empty, { wait_ms: 30_000 })
      for (const _ of range(1, 5)) await target.bridge.ok('GET /v1/capabilities')
      await target.bridge.publish(empty.subject('a'), 'x')

      expect(seqs((await waiting).messages)).toEqual([1])
    })

    test(`200 with ${MANY} messages, complete and in order`, async () => {
      const long = await makeLong()

      const { messages, end } = await read(long)

      expect(messages).toHaveLength(MANY)
      expect(messages.every(({ seq }, index) => seq === index + 1)).toBe(true)
      const perPayload = Map.groupBy(messages, ({ data }) => data)
      expect([...perPayload.values()].map(({ length }) => length)).toEqual(Array(PUBLISHED).fill(COPIES))
      expect(end.up_to_date).toBe(true)
    })

    test(`200 with half of ${MANY} messages when the filter selects every other`, async () => {
      const long = await makeLong()
      const subject = range(1, COPIES / 2).map((copy) => `copy.${copy}.>`)

      const { messages } = await read(long, { subject })

      expect(messages).toHaveLength(MANY / 2)
      expect(seqs(messages)).toEqual(seqs(messages).sort((a, b) => a - b))
    })

    test('404 stream_not_found, as a status, when the stream does not exist', async () => {
      const answer = await target.bridge.send('GET /v1/streams/nothing-here/messages', {
        headers: { Accept: 'application/x-ndjson' },
      })

      expect(answer).toMatchObject(problem(404, 'stream_not_found'))
    })
  })
})
