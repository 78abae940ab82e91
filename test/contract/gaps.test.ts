/** The promise that a reader is told what it missed: expired cursors, gaps, and streams made again. */
import { describe, expect, test } from 'vitest'
import type { Page, Problem, Query } from './client.ts'
import { openEvents } from './events.ts'
import { at, problem, range, seqs } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

onEveryTarget((target) => {
  const read = (stream: TestStream, query: Query) =>
    target.bridge.send<Page & Problem>(`GET ${stream.path}/messages`, { query })
  const purge = (stream: TestStream, json: unknown) => target.bridge.ok(`POST ${stream.path}/purge`, { json })
  const fill = async (stream: TestStream, first: number, last: number) => {
    for (const n of range(first, last))
      await target.bridge.publish(stream.subject(n % 2 ? 'odd' : 'even'), `m${n}`)
  }
  /** A stream of ten messages, and the cursor after the fourth. */
  const makeRead = async (config: Record<string, unknown> = {}) => {
    const stream = await target.makeStream(config)
    await fill(stream, 1, 10)
    const { cursor } = await target.bridge.page(stream.name, { limit: 4 })
    return { stream, cursor }
  }

  describe('readMessages where messages are gone', () => {
    test('200 without a gap when single messages in the middle were deleted', async () => {
      const { stream, cursor } = await makeRead()
      for (const seq of [5, 6, 8]) await target.bridge.ok(`DELETE ${stream.path}/messages/${seq}`)

      const { status, body } = await read(stream, { cursor })

      expect(status).toBe(200)
      expect(seqs(body.messages)).toEqual([7, 9, 10])
      expect(body).not.toHaveProperty('gap')
    })

    test.each([
      ['deleted one by one', { max_msgs_per_subject: -1 }],
      ['purged by subject', { max_msgs_per_subject: -1 }],
      ['replaced by newer ones', { max_msgs_per_subject: 2 }],
    ])('no gap in a page, in lines or in events when messages in the middle were %s', async (how, config) => {
      const stream = await target.makeStream(config)
      for (const [index, subject] of ['a', 'b', 'c', 'b', 'c', 'b', 'a'].entries())
        await target.bridge.publish(stream.subject(subject), `m${index + 1}`)
      const { cursor } = await target.bridge.page(stream.name, { limit: 1 })
      if (how === 'deleted one by one')
        for (const seq of [2, 4, 6]) await target.bridge.ok(`DELETE ${stream.path}/messages/${seq}`)
      if (how === 'purged by subject') await purge(stream, { filter: stream.subject('b') })
      const left = config.max_msgs_per_subject < 0 ? [3, 5, 7] : [3, 4, 5, 6, 7]

      for (const on_gap of ['error', 'skip']) {
        const query = { cursor, on_gap }
        const page = await read(stream, { ...query })
        expect([seqs(page.body.messages), page.body.gap]).toEqual([left, undefined])
        const lines = await target.bridge.send(`GET ${stream.path}/messages`, {
          query,
          headers: { Accept: 'application/x-ndjson' },
        })
        const told = Buffer.from(lines.bytes)
          .toString()
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as { seq?: number })
        expect(told.slice(0, -1).map(({ seq }) => seq)).toEqual(left)
        const events = await openEvents(target.bridge, `${stream.path}/messages`, { query })
        await events.take('caught_up', 1)
        events.close()
        expect(events.events.map(({ event }) => event)).toEqual([...left.map(() => 'message'), 'caught_up'])
      }
    })

    test('200 without a gap when the message at the cursor itself was deleted', async () => {
      const { stream, cursor } = await makeRead()
      await target.bridge.ok(`DELETE ${stream.path}/messages/4`)

      const { body } = await read(stream, { cursor })

      expect(seqs(body.messages)).toEqual(range(5, 10))
      expect(body).not.toHaveProperty('gap')
    })

    test('200 without a gap when messages in the middle were rolled up', async () => {
      const stream = await target.makeStream({ allow_rollup_hdrs: true })
      await fill(stream, 1, 6)
      const { cursor } = await target.bridge.page(stream.name, { limit: 1 })
      await target.bridge.publish(stream.subject('even'), 'all', { 'Nats-Rollup': 'sub' })

      const { status, body } = await read(stream, { cursor })

      expect(status).toBe(200)
      expect(seqs(body.messages)).toEqual([3, 5, 7])
    })

    test('200 without a gap when all that is gone had been read', async () => {
      const { stream, cursor } = await makeRead()
      await purge(stream, { seq: 5 })

      const { status, body } = await read(stream, { cursor })

      expect(status).toBe(200)
      expect(seqs(body.messages)).toEqual(range(5, 10))
    })

    test('410 cursor_expired with earliest_seq, missed and earliest_cursor when unread messages were purged', async () => {
      const { stream, cursor } = await makeRead()
      await purge(stream, { seq: 8 })

      const { status, body } = await read(stream, { cursor })

      expect(status).toBe(410)
      expect(body).toMatchObject({
        code: 'cursor_expired',
        earliest_seq: 8,
        missed: 3,
        retryable: false,
        side_effects: 'none',
      })
      const following = await target.bridge.page(stream.name, { cursor: body.earliest_cursor })
      expect(seqs(following.messages)).toEqual([8, 9, 10])
    })

    test('410 cursor_expired when everything was purged', async () => {
      const { stream, cursor } = await makeRead()
      await purge(stream, {})

      const { body } = await read(stream, { cursor })

      expect(body).toMatchObject({ code: 'cursor_expired', earliest_seq: 11, missed: 6 })
      await fill(stream, 11, 12)
      expect(
        seqs((await target.bridge.page(stream.name, { cursor: body.earliest_cursor })).messages),
      ).toEqual([11, 12])
    })

    test('410 cursor_expired when retention removed unread messages', async () => {
      const { stream, cursor } = await makeRead({ max_msgs: 10 })
      await fill(stream, 11, 20)

      expect((await read(stream, { cursor })).body).toMatchObject({
        code: 'cursor_expired',
        earliest_seq: 11,
        missed: 6,
      })
    })

    test('410 cursor_expired for the cursor of a publish', async () => {
      const stream = await target.makeStream()
      const { cursor } = await target.bridge.publish(stream.subject('odd'))
      await fill(stream, 2, 5)
      await purge(stream, { keep: 1 })

      expect((await read(stream, { cursor })).body).toMatchObject({
        code: 'cursor_expired',
        earliest_seq: 5,
        missed: 3,
      })
    })

    test('410 cursor_expired with an earliest_cursor for the filter when the read has one', async () => {
      const stream = await target.makeStream()
      await fill(stream, 1, 10)
      const query = { subject: stream.subject('odd') }
      const { cursor } = await target.bridge.page(stream.name, { ...query, limit: 1 })
      await purge(stream, { seq: 8 })

      const { body } = await read(stream, { ...query, cursor })

      expect(body).toMatchObject({ code: 'cursor_expired', earliest_seq: 8 })
      const following = await target.bridge.page(stream.name, { ...query, cursor: body.earliest_cursor })
      expect(seqs(following.messages)).toEqual([9])
    })

    test.each(['application/x-ndjson', 'application/json'])(
      '410 cursor_expired, as a status, under Accept: %s',
      async (Accept) => {
        const { stream, cursor } = await makeRead()
        await purge(stream, { seq: 8 })

        const answer = await target.bridge.send(`GET ${stream.path}/messages`, {
          query: { cursor },
          headers: { Accept },
        })

        expect(answer).toMatchObject(problem(410, 'cursor_expired'))
      },
    )

    test('200 with the gap in the page, then the rest once, under on_gap=skip', async () => {
      const { stream, cursor } = await makeRead()
      await purge(stream, { seq: 8 })

      const { status, body } = await read(stream, { cursor, on_gap: 'skip', limit: 2 })

      expect(status).toBe(200)
      expect(body.gap).toEqual({ from_seq: 5, to_seq: 7, reason: expect.any(String) })
      expect(seqs(body.messages)).toEqual([8, 9])
      const rest = await target.bridge.page(stream.name, { cursor: body.cursor })
      expect(rest).not.toHaveProperty('gap')
      expect(seqs(rest.messages)).toEqual([10])
    })

    test('200 with the gap up to the end when everything was purged, under on_gap=skip', async () => {
      const { stream, cursor } = await makeRead()
      await purge(stream, {})

      const { body } = await read(stream, { cursor, on_gap: 'skip' })

      expect(body).toMatchObject({ messages: [], gap: { from_seq: 5, to_seq: 10 } })
      await fill(stream, 11, 11)
      expect(seqs((await target.bridge.page(stream.name, { cursor: body.cursor })).messages)).toEqual([11])
    })

    test('every sequence either read or in a gap, once, while purges overtake the reader, under on_gap=skip', async () => {
      const stream = await target.makeStream()
      let { cursor } = await target.bridge.page(stream.name)
      const seen: number[] = []
      for (const round of range(0, 5)) {
        await fill(stream, round * 10 + 1, round * 10 + 10)
        await purge(stream, { seq: round * 10 + 1 + round })
        const { body } = await read(stream, { cursor, on_gap: 'skip', limit: Math.max(1, 10 - 2 * round) })
        if (body.gap) seen.push(...range(body.gap.from_seq, body.gap.to_seq))
        seen.push(...seqs(body.messages))
        cursor = body.cursor
      }

      expect(seen).toEqual(range(1, at(seen, -1)))
    })

    test('the gap told, and every other line there, under Accept: application/x-ndjson and on_gap=skip', async () => {
      const { stream, cursor } = await makeRead()
      await purge(stream, { seq: 8 })

      const { bytes } = await target.bridge.send(`GET ${stream.path}/messages`, {
        query: { cursor, on_gap: 'skip' },
        headers: { Accept: 'application/x-ndjson' },
      })

      const text = Buffer.from(bytes).toString()
      const lines = text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(lines.filter(({ seq }) => seq !== undefined).map(({ seq }) => seq)).toEqual([8, 9, 10])
      expect(text).toMatch(/"from_seq":5,"to_seq":7/)
    })
  })

  describe('readMessages where the stream was made again', () => {
    /** Every kind of cursor there is, each well into the stream. */
    const makeCursors = async (stream: TestStream) => {
      const last = await target.bridge.publish(stream.subject('odd'), 'm5')
      const { cursor } = await target.bridge.page(stream.name, { limit: 3 })
      const filtered = await target.bridge.page(stream.name, { subject: stream.subject('odd'), limit: 2 })
      const single = await target.bridge.ok<{ cursor: string }>(`GET ${stream.path}/messages/2`, {
        headers: { Accept: 'application/json' },
      })
      const end = await target.bridge.page(stream.name)
      return [
        ['of a page', { cursor }],
        ['of a filtered page', { cursor: filtered.cursor, subject: stream.subject('odd') }],
        ['of a publish', { cursor: last.cursor }],
        ['of a single message', { cursor: single.cursor }],
        ['of the end', { cursor: end.cursor }],
      ] as const
    }

    test.each([
      ['empty', 0],
      ['shorter', 2],
      ['with the same content', 5],
      ['longer', 9],
    ])(
      '410 stream_recreated with an earliest_cursor that reads all of it when the new one is %s',
      async (_, count) => {
        const stream = await target.makeStream()
        await fill(stream, 1, 4)
        const cursors = await makeCursors(stream)
        await target.remakeStream(stream)
        await fill(stream, 1, count)

        for (const [kind, query] of cursors) {
          const { body } = await read(stream, query)
          expect({ kind, ...body }).toMatchObject({
            kind,
            status: 410,
            code: 'stream_recreated',
            retryable: false,
          })
          const all = await target.bridge.page(stream.name, { ...query, cursor: body.earliest_cursor })
          const matching = 'subject' in query ? range(1, count).filter((n) => n % 2) : range(1, count)
          expect(seqs(all.messages)).toEqual(matching)
        }
      },
    )

    test('410 stream_recreated for the cursor of a stream that was empty', async () => {
      const stream = await target.makeStream()
      const { cursor } = await target.bridge.page(stream.name)
      await target.remakeStream(stream)
      await fill(stream, 1, 1)

      expect(await read(stream, { cursor })).toMatchObject(problem(410, 'stream_recreated'))
    })

    test('never in silence under on_gap=skip', async () => {
      const stream = await target.makeStream()
      await fill(stream, 1, 4)
      const cursors = await makeCursors(stream)
      await target.remakeStream(stream)
      await fill(stream, 1, 9)

      for (const [kind, query] of cursors) {
        const { status, body } = await read(stream, { ...query, on_gap: 'skip' })
        expect({ kind, told: status === 410 || body.gap !== undefined }).toEqual({ kind, told: true })
      }
    })

    test('404 stream_not_found for a cursor when the stream is deleted', async () => {
      const { stream, cursor } = await makeRead()
      await target.bridge.ok(`DELETE ${stream.path}`)

      expect(await read(stream, { cursor })).toMatchObject(problem(404, 'stream_not_found'))
    })
  })
})
