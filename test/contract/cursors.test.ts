/** The contract of cursors: what they go with, and that nothing but the bridge can make one. */
import { beforeAll, describe, expect, test } from 'vitest'
import { publishPath, type Query } from './client.ts'
import { at, inParallel, problem, range, seqs } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** The text with another character at `index`, of the same alphabet. */
function mutate(text: string, index: number): string {
  const other = at(
    [...BASE64URL],
    (BASE64URL.indexOf(at([...text], index)) + 1 + (index % 62)) % BASE64URL.length,
  )
  return text.slice(0, index) + other + text.slice(index + 1)
}

onEveryTarget((target) => {
  const read = (stream: TestStream, query: Query) =>
    target.bridge.send(`GET ${stream.path}/messages`, { query })
  const seqsOf = async (stream: TestStream, query: Query) =>
    seqs((await target.bridge.page(stream.name, query)).messages)

  describe('cursors', () => {
    let stream: TestStream
    let a: string
    let b: string

    beforeAll(async () => {
      stream = await target.makeStream()
      a = stream.subject('a')
      b = stream.subject('b')
      for (const subject of [a, b, a, b, a, b]) await target.bridge.publish(subject)
    })

    test('the cursor of a publish is the position right after its message, under any filter', async () => {
      const { cursor } = await target.bridge.publish(stream.subject('marker'))
      const after = await target.bridge.publish(a)

      expect(await seqsOf(stream, { cursor })).toContain(after.seq)
      expect(at(await seqsOf(stream, { cursor }), 0)).toBe(after.seq)
      expect(at(await seqsOf(stream, { cursor, subject: a }), 0)).toBe(after.seq)
      expect(await seqsOf(stream, { cursor, subject: [stream.subject('marker'), b] })).toEqual([])
    })

    test('the cursor of a duplicate goes on right after the message that was stored', async () => {
      const orders = await target.makeStream()
      const publish = () => target.bridge.publish(orders.subject('a'), 'x', { 'Idempotency-Key': 'k' })
      await publish()
      await target.bridge.publish(orders.subject('a'))

      expect(await seqsOf(orders, { cursor: (await publish()).cursor })).toEqual([2])
    })

    test('the cursor of each message is the position right after it', async () => {
      const orders = await target.makeStream()
      for (const n of range(1, 5)) await target.bridge.publish(orders.subject('a'), `${n}`)
      const { messages } = await target.bridge.page(orders.name)

      for (const { cursor, seq } of messages)
        expect(await seqsOf(orders, { cursor })).toEqual(range(seq + 1, 5))
    })

    test('the cursor of a single message is the position right after it', async () => {
      const { body } = await target.bridge.send<{ cursor: string }>(`GET ${stream.path}/messages/2`, {
        headers: { Accept: 'application/json' },
      })

      expect((await seqsOf(stream, { cursor: body.cursor })).slice(0, 2)).toEqual([3, 4])
    })

    test('the cursor of a read without a filter goes with any filter', async () => {
      const { cursor } = await target.bridge.page(stream.name, { limit: 2 })

      expect((await seqsOf(stream, { cursor, subject: a })).slice(0, 2)).toEqual([3, 5])
      expect((await seqsOf(stream, { cursor, subject: [a, b] })).slice(0, 3)).toEqual([3, 4, 5])
    })

    test('a cursor is good for any number of reads', async () => {
      const { cursor } = await target.bridge.page(stream.name, { limit: 2 })

      const reads = await Promise.all(range(1, 10).map(() => seqsOf(stream, { cursor, limit: 2 })))

      expect(reads).toEqual(Array(10).fill([3, 4]))
    })

    test('409 cursor_mismatch with another filter than that of the read it is from', async () => {
      const { cursor } = await target.bridge.page(stream.name, { limit: 1, subject: a })

      for (const subject of [b, [a, b], stream.subject('*'), undefined]) {
        expect(await read(stream, { cursor, subject })).toMatchObject(
          problem(409, 'cursor_mismatch', { retryable: false }),
        )
      }
    })

    test('409 cursor_mismatch with another stream, also from a publish', async () => {
      const other = await target.makeStream()
      const published = await target.bridge.publish(other.subject('a'))
      const { cursor } = await target.bridge.page(other.name)

      expect(await read(stream, { cursor })).toMatchObject(problem(409, 'cursor_mismatch'))
      expect(await read(stream, { cursor: published.cursor })).toMatchObject(problem(409, 'cursor_mismatch'))
    })

    test('409 cursor_mismatch, and no stream of events, with a Last-Event-ID of another stream', async () => {
      const other = await target.makeStream()
      const { cursor } = await target.bridge.publish(other.subject('a'))

      const answer = await target.bridge.send(`GET ${stream.path}/messages`, {
        headers: { Accept: 'text/event-stream', 'Last-Event-ID': cursor },
      })

      expect(answer).toMatchObject(problem(409, 'cursor_mismatch'))
    })

    describe('400 cursor_invalid', () => {
      const invalid = problem(400, 'cursor_invalid', { retryable: false, side_effects: 'none' })
      const expectInvalid = async (forged: string[]) => {
        const answers = await inParallel(forged, 16, (cursor) => read(stream, { cursor }))
        for (const [index, answer] of answers.entries()) {
          expect({ cursor: forged[index], ...answer }).toMatchObject({ cursor: forged[index], ...invalid })
        }
      }
      const ownCursor = async () => (await target.bridge.page(stream.name, { limit: 3 })).cursor

      test('when any of its characters is another', async () => {
        const cursor = await ownCursor()

        await expectInvalid(range(0, cursor.length - 1).map((index) => mutate(cursor, index)))
      })

      test('when it is cut short anywhere, at either end', async () => {
        const cursor = await ownCursor()

        await expectInvalid(range(1, cursor.length - 1).map((length) => cursor.slice(0, length)))
        await expectInvalid(range(1, cursor.length - 1).map((from) => cursor.slice(from)))
      })

      test('when it is made longer', async () => {
        const cursor = await ownCursor()

        const endings = ['A', 'AA', 'AAAA', '=', '==', '.', '.A', ' ', '\n', '\0', '%', cursor, `.${cursor}`]
        await expectInvalid([
          ...endings.map((ending) => cursor + ending),
          `A${cursor}`,
          ` ${cursor}`,
          `.${cursor}`,
        ])
      })

      test('when it was never one', async () => {
        await expectInvalid([
          'x',
          '0',
          'null',
          '....',
          '{"seq":1}',
          'é',
          'c1.k1.AAAA',
          '\ud83d\ude00',
          'A'.repeat(5_000),
        ])
      })

      test('when it is made of the halves of two', async () => {
        const [one, other] = [await ownCursor(), await ownCursor()]
        const half = one.length / 2

        await expectInvalid([one.slice(0, half) + other.slice(half)])
      })

      test('when it is an ack token', async () => {
        const consumer = await target.makeConsumer(stream)
        const { messages } = await target.bridge.pull(consumer, { batch: 1 })

        await expectInvalid([at(messages, 0).ack_token])
      })

      test('as a Last-Event-ID', async () => {
        const cursor = await ownCursor()

        for (const forged of [mutate(cursor, cursor.length - 1), cursor.slice(0, -1), 'x']) {
          const answer = await target.bridge.send(`GET ${stream.path}/messages`, {
            headers: { Accept: 'text/event-stream', 'Last-Event-ID': forged },
          })
          expect(answer).toMatchObject(invalid)
        }
      })

      test('as the start of a consumer', async () => {
        const answer = await target.bridge.send(`PUT ${stream.path}/consumers/forged`, {
          json: { cursor: 'x' },
        })

        expect(answer).toMatchObject(invalid)
      })
    })

    test('nothing when it is empty: as if it were absent', async () => {
      const { messages } = await target.bridge.page(stream.name, { cursor: '', start: 'seq:2' })

      expect(seqs(messages)[0]).toBe(2)
    })

    test('every message once for a reader that publishes and reads in turn', async () => {
      const orders = await target.makeStream()
      let { cursor } = await target.bridge.page(orders.name)
      const read: number[] = []
      for (const n of range(1, 30)) {
        await target.bridge.send(`POST ${publishPath(orders.subject(n % 2 ? 'a' : 'b'))}`, { body: `${n}` })
        if (n % 3) continue
        const page = await target.bridge.page(orders.name, { cursor })
        read.push(...seqs(page.messages))
        cursor = page.cursor
      }

      expect(read).toEqual(range(1, 30))
    })
  })
})
