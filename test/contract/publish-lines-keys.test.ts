/** The contract of keys and conditions in lines: each line has its own, and they hold in the order of the lines. */
import { describe, expect, test } from 'vitest'
import { range, seqs } from './expectations.ts'
import { linesTo } from './lines.ts'
import { failed, stored, storedOn } from './results.ts'
import { onEveryTarget } from './target.ts'

onEveryTarget((target) => {
  const { sendAll } = linesTo(target)
  const { readAll, countOf } = storedOn(target)

  describe('publishMessages in lines', () => {
    describe('keys and conditions', () => {
      test('200 with duplicate true, and with idempotency_conflict for another payload, when an id comes again', async () => {
        const orders = await target.makeStream()
        const message = { subject: orders.subject('a'), data: 'x', id: 'k' }

        const results = await sendAll([
          message,
          message,
          { ...message, data: 'y' },
          { ...message, subject: orders.subject('b') },
          { ...message, id: 'other' },
        ])

        expect(results).toMatchObject([
          stored(0, 1),
          { index: 1, stream: orders.name, seq: 1, duplicate: true },
          failed(2, 422, 'idempotency_conflict', { retryable: false }),
          failed(3, 422, 'idempotency_conflict', { retryable: false }),
          stored(4, 2),
        ])
        expect((await readAll(orders)).map(({ headers }) => headers['Nats-Msg-Id'])).toEqual([
          ['k'],
          ['other'],
        ])
      })

      test.each([
        ['k', ' k'],
        ['k', 'k '],
        ['k ', 'k '],
        ['\u00a0k', '\u00a0k'],
        ['\ud800', '\ud801'],
      ])('200 and nothing lost of two messages with the ids %j and %j', async (first, second) => {
        const orders = await target.makeStream()
        const subject = orders.subject('a')

        const results = await sendAll([
          { subject, id: first, data: '1' },
          { subject, id: second, data: '2' },
        ])

        const lost = results.filter(({ duplicate, error }) => duplicate && !error)
        expect(lost).toEqual([])
      })

      test('200 with duplicate_window_ms for messages with an id alone', async () => {
        const orders = await target.makeStream({ duplicate_window_ms: 60_000 })
        const subject = orders.subject('a')

        const results = await sendAll([{ subject }, { subject, id: 'k' }, { subject, id: 'k' }, { subject }])

        expect(results.map(({ duplicate_window_ms }) => duplicate_window_ms)).toEqual([
          undefined,
          60_000,
          60_000,
          undefined,
        ])
      })

      test('200 with the actual value in the error of each condition that does not hold, and with the rest stored', async () => {
        const orders = await target.makeStream()
        const subject = orders.subject('a')
        const other = orders.subject('b')

        const results = await sendAll([
          {
            subject,
            id: 'k',
            expected_last_subject_seq: 0,
            expected_last_seq: 0,
            expected_stream: orders.name,
          },
          { subject: other, expected_last_msg_id: 'k' },
          { subject, expected_stream: 'another' },
          { subject, expected_last_seq: 7 },
          { subject, expected_last_subject_seq: 7 },
          { subject, expected_last_msg_id: 'k' },
          { subject, expected_last_subject_seq: 1, expected_last_seq: 2 },
        ])

        const unmet = (index: number, actual: object) => failed(index, 412, 'precondition_failed', actual)
        expect(results).toMatchObject([
          stored(0, 1),
          stored(1, 2),
          unmet(2, { current_stream: orders.name }),
          unmet(3, { current_seq: 2 }),
          unmet(4, { current_seq: 1 }),
          unmet(5, { current_msg_id: '' }),
          stored(6, 3),
        ])
        expect(seqs(await readAll(orders))).toEqual([1, 2, 3])
      })

      test('200 and all stored when each line expects what the one before it stores', async () => {
        const orders = await target.makeStream()
        const messages = range(0, 499).map((n) => ({
          subject: orders.subject('a'),
          data: `${n}`,
          expected_last_subject_seq: n,
        }))

        expect((await sendAll(messages)).filter(({ error }) => error)).toEqual([])
        expect(await countOf(orders)).toBe(500)
      })
    })
  })
})
