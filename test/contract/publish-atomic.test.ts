/** The contract of batches with `atomic`: all messages of one are stored, or none. */
import { describe, expect, test } from 'vitest'
import { pacedNow } from '../support/pace.ts'
import { inParallel, problem, range, refusal, seqs } from './expectations.ts'
import { failed, sendBatch, seqsOf, stored, storedOn } from './results.ts'
import { onEveryTarget, type TestStream } from './target.ts'

/** JetStream's own limit of messages in an atomic batch, where its operator has not set another. */
const MOST_ATOMIC = 1_000
/** JetStream's own limit of atomic batches that a stream has under way. */
const MOST_UNDER_WAY = 50
const ATOMIC_AT_ONCE = MOST_UNDER_WAY + 10
const MESSAGES_EACH = 100

onEveryTarget((target) => {
  const { readAll, payloads } = storedOn(target)

  describe('publishMessages with atomic', () => {
    const ATOMIC = { allow_atomic: true }
    /** Makes a stream for batches, and runs the test where the server has them; elsewhere the batch is refused. */
    const onStream = async (run: (orders: TestStream) => Promise<void>) => {
      const { atomic_batches: supported } = target.supports
      const orders = await target.makeStream(supported ? ATOMIC : {})
      if (supported) return await run(orders)
      const { server } = await target.bridge.ok<{ server: { version: string } }>('GET /v1/capabilities')
      const answer = await publish([{ subject: orders.subject('a') }])
      expect(answer).toMatchObject(
        problem(501, 'not_supported', {
          side_effects: 'none',
          detail: expect.stringContaining(server.version),
        }),
      )
      expect(await readAll(orders)).toEqual([])
    }
    const publish = (messages: readonly unknown[]) => sendBatch(target, messages, { atomic: true })
    const innocent = (index: number) => failed(index, 422, 'batch_refused')

    test('200 with consecutive sequences of one stream when all are stored, or 501 not_supported', () =>
      onStream(async (orders) => {
        await target.bridge.publish(orders.subject('a'), 'before')
        const messages = range(1, 20).map((n) => ({ subject: orders.subject(`${n % 3}`), data: `${n}` }))

        const answer = await publish(messages)

        expect(answer.status).toBe(200)
        expect(answer.body).toEqual({
          results: range(0, 19).map((index) => ({
            index,
            stream: orders.name,
            seq: index + 2,
            duplicate: false,
          })),
        })
        expect((await readAll(orders)).slice(1)).toMatchObject(messages)
      }))

    test('200 for a batch of one message', () =>
      onStream(async (orders) => {
        expect(await publish([{ subject: orders.subject('a') }])).toMatchObject({
          status: 200,
          body: { results: [stored(0, 1)] },
        })
      }))

    test('200 when every condition holds', () =>
      onStream(async (orders) => {
        await target.bridge.publish(orders.subject('a'))

        const answer = await publish([
          { subject: orders.subject('a'), expected_last_seq: 1, expected_last_subject_seq: 1 },
          { subject: orders.subject('b'), expected_last_subject_seq: 0, expected_stream: orders.name },
        ])

        expect(answer).toMatchObject({ status: 200, body: { results: [stored(0, 2), stored(1, 3)] } })
      }))

    test.each<[string, object, object]>([
      ['the subject', { expected_last_subject_seq: 7 }, { current_seq: 2 }],
      ['the subject, which has a message', { expected_last_subject_seq: 0 }, { current_seq: 2 }],
      ['the stream', { expected_last_seq: 1 }, { current_seq: 2 }],
      ['the name of the stream', { expected_stream: 'another' }, {}],
    ])(
      '412 with the actual value, none stored, and which message it was, when a condition of %s fails',
      (_, condition, actual) =>
        onStream(async (orders) => {
          for (const tail of ['a', 'b']) await target.bridge.publish(orders.subject(tail), 'before')
          const members = 'current_seq' in actual ? actual : { current_stream: orders.name }

          const answer = await publish([
            { subject: orders.subject('a') },
            { subject: orders.subject('b'), ...condition },
            { subject: orders.subject('c') },
          ])

          expect(answer).toMatchObject(
            problem(412, 'precondition_failed', {
              side_effects: 'none',
              retryable: false,
              ...members,
              results: [innocent(0), failed(1, 412, 'precondition_failed', members), innocent(2)],
            }),
          )
          expect(await payloads(orders)).toEqual(['before', 'before'])
        }),
    )

    test('412 with each message whose condition fails, and none stored', () =>
      onStream(async (orders) => {
        const answer = await publish([
          { subject: orders.subject('a'), expected_last_subject_seq: 3 },
          { subject: orders.subject('b'), expected_last_subject_seq: 0 },
          { subject: orders.subject('c'), expected_last_subject_seq: 4 },
        ])

        const unmet = (index: number) => failed(index, 412, 'precondition_failed', { current_seq: 0 })
        expect(answer).toMatchObject(
          problem(412, 'precondition_failed', { results: [unmet(0), innocent(1), unmet(2)] }),
        )
        expect(await readAll(orders)).toEqual([])
      }))

    test('412, and none stored, for a condition on a subject that the batch itself writes before', () =>
      onStream(async (orders) => {
        const message = { subject: orders.subject('a') }

        const answer = await publish([
          { ...message, expected_last_subject_seq: 0 },
          { ...message, expected_last_subject_seq: 1 },
        ])

        expect(answer).toMatchObject(
          problem(412, 'precondition_failed', {
            results: [innocent(0), failed(1, 412, 'precondition_failed')],
          }),
        )
        expect(await readAll(orders)).toEqual([])
      }))

    test('422 naming the second, and none stored, when a key is there twice', () =>
      onStream(async (orders) => {
        const message = { subject: orders.subject('a'), id: 'k' }

        expect(await publish([message, message])).toMatchObject(
          problem(422, 'idempotency_conflict', {
            results: [innocent(0), failed(1, 422, 'idempotency_conflict')],
          }),
        )
        expect(await readAll(orders)).toEqual([])
      }))

    test.each<[string, object, (orders: TestStream) => Promise<unknown>]>([
      ['', {}, (orders) => target.bridge.publish(orders.subject('1'), 'since')],
      [
        ', though its conditions no longer hold',
        { expected_last_subject_seq: 0 },
        (orders) => target.bridge.publish(orders.subject('1'), 'since'),
      ],
      [
        ', though the stream no longer has all of it',
        {},
        (orders) => target.bridge.ok(`DELETE ${orders.path}/messages/2`),
      ],
    ])(
      '200 with duplicate true and the first sequences when a stored batch comes again%s',
      (_, condition, meanwhile) =>
        onStream(async (orders) => {
          const batch = range(1, 5).map((n) => ({
            subject: orders.subject(`${n}`),
            data: `${n}`,
            ...condition,
            ...(n === 3 ? { id: 'k' } : {}),
          }))
          await publish(batch)
          await meanwhile(orders)
          const before = await payloads(orders)

          expect(await publish(batch)).toMatchObject({
            status: 200,
            body: { results: range(0, 4).map((index) => stored(index, index + 1, true)) },
          })
          expect(await payloads(orders)).toEqual(before)
        }),
    )

    test('422 idempotency_conflict, and none stored, when the batch comes again with another payload', () =>
      onStream(async (orders) => {
        const batch = range(1, 3).map((n) => ({ subject: orders.subject('a'), data: `${n}`, id: `k${n}` }))
        await publish(batch)

        for (const changed of [0, 1, 2]) {
          const another = batch.map((message, index) =>
            index === changed ? { ...message, data: 'x' } : message,
          )
          expect(await publish(another)).toMatchObject(
            problem(422, 'idempotency_conflict', { side_effects: 'none', retryable: false }),
          )
        }
        expect(await payloads(orders)).toEqual(['1', '2', '3'])
      }))

    test.each<[string, (orders: TestStream) => Promise<unknown>]>([
      ['ends before it', async () => {}],
      [
        'has lost the message behind',
        async (orders) => {
          const { seq } = await target.bridge.publish(orders.subject('other'), 'gone soon')
          await target.bridge.ok(`DELETE ${orders.path}/messages/${seq}`)
        },
      ],
      [
        'has lost all of it',
        async (orders) => {
          await target.bridge.publish(orders.subject('other'), 'gone soon')
          await target.bridge.ok(`POST ${orders.path}/purge`, { json: {} })
        },
      ],
    ])(
      '422 idempotency_conflict, and none stored, when only the beginning of a batch was, in a stream that %s',
      (_, meanwhile) =>
        onStream(async (orders) => {
          const message = (n: number) => ({ subject: orders.subject(`${n}`), data: `${n}`, id: `k${n}` })
          const unkeyed = { subject: orders.subject('unkeyed'), data: 'never stored' }
          await publish([message(1), message(2)])
          await meanwhile(orders)
          const before = await payloads(orders)

          for (const another of [
            [message(1), message(2), message(3)],
            [message(2), message(3)],
          ]) {
            expect(await publish(another)).toMatchObject(
              problem(422, 'idempotency_conflict', { side_effects: 'none' }),
            )
          }
          if (before.length > 0) {
            expect(await publish([message(1), message(2), unkeyed])).toMatchObject(
              problem(422, 'idempotency_conflict', { side_effects: 'none' }),
            )
          }
          expect(await payloads(orders)).toEqual(before)
        }),
    )

    test('422 idempotency_conflict, and none stored, when one key of it was used outside of it', () =>
      onStream(async (orders) => {
        const message = { subject: orders.subject('a'), id: 'k' }
        await sendBatch(target, [message])

        expect(await publish([{ subject: orders.subject('b') }, message])).toMatchObject(
          problem(422, 'idempotency_conflict', {
            results: [innocent(0), failed(1, 422, 'idempotency_conflict')],
          }),
        )
        expect(seqs(await readAll(orders))).toEqual([1])
      }))

    test.each([0, 1, 2])("404 naming it, and none stored, when message %s is on nobody's subject", (place) =>
      onStream(async (orders) => {
        const batch = range(0, 2).map((n) => ({
          subject: n === place ? `nobody-${orders.name}` : orders.subject('a'),
        }))

        const answer = await publish(batch)

        expect(answer).toMatchObject(
          problem(404, 'subject_not_found', {
            side_effects: 'none',
            results: range(0, 2).map((n) =>
              n === place ? failed(n, 404, 'subject_not_found') : innocent(n),
            ),
          }),
        )
        expect(await readAll(orders)).toEqual([])
      }),
    )

    test.each([0, 1, 2])('422, and none stored, when message %s is of another stream', (place) =>
      onStream(async (orders) => {
        const other = await target.makeStream(ATOMIC)
        const batch = range(0, 2).map((n) => ({ subject: (n === place ? other : orders).subject('a') }))

        expect(await publish(batch)).toMatchObject(problem(422, 'batch_incomplete', { side_effects: 'none' }))
        expect([await readAll(orders), await readAll(other)]).toEqual([[], []])
      }),
    )

    test('422, and none stored, in a stream without allow_atomic', () =>
      onStream(async () => {
        const orders = await target.makeStream()

        const answer = await publish([{ subject: orders.subject('a') }, { subject: orders.subject('b') }])

        expect(answer).toMatchObject(problem(422, 'refused_by_jetstream', { side_effects: 'none' }))
        expect(await readAll(orders)).toEqual([])
      }))

    test.each<[string, object, number, string]>([
      ['unknown', { unknown: 1 }, 400, 'messages.1.unknown'],
      ['subject', { subject: 'a..b' }, 400, 'messages.1.subject'],
      ['data_base64', { data_base64: '*' }, 400, 'messages.1.data_base64'],
      ['deliver_at', { deliver_at: '2030-01-01T00:00:00Z' }, 400, 'messages.1.deliver_at'],
    ])('400 naming %s with its place, and none stored', (_, members, status, field) =>
      onStream(async (orders) => {
        const subject = orders.subject('a')

        const answer = await publish([{ subject }, { subject, ...members }])

        expect(answer).toMatchObject({ ...refusal(field), status })
        expect(await readAll(orders)).toEqual([])
      }),
    )

    test("404, and none stored, when one is on the server's own subject", () =>
      onStream(async (orders) => {
        expect(await publish([{ subject: orders.subject('a') }, { subject: '$JS.API.INFO' }])).toMatchObject(
          problem(404, 'subject_not_found', { side_effects: 'none' }),
        )
        expect(await readAll(orders)).toEqual([])
      }))

    test('413, and none stored, when one message is larger than the server takes', () =>
      onStream(async (orders) => {
        const subject = orders.subject('a')

        const answer = await publish([
          { subject },
          { subject, data: 'x'.repeat(target.limits.max_payload_bytes + 1) },
        ])

        expect(answer).toMatchObject(problem(413, 'payload_too_large', { side_effects: 'none' }))
        expect(await readAll(orders)).toEqual([])
      }))

    test.each(['a stream listens on', 'no stream listens on'])(
      '413 for the message in the middle that is too large, batch_refused for the others, and the next batch is stored, on a subject that %s',
      (subjects) =>
        onStream(async (orders) => {
          const isHeard = subjects === 'a stream listens on'
          const first = isHeard ? orders.subject('a') : `nowhere-${orders.name}`
          const subject = orders.subject('b')

          const answer = await publish([
            { subject: first },
            { subject, data: 'x'.repeat(target.limits.max_payload_bytes) },
            { subject },
          ])

          const refused = failed(1, 413, 'payload_too_large')
          expect(answer).toMatchObject(problem(413, 'payload_too_large', { side_effects: 'none' }))
          expect(answer.body.results).toMatchObject([innocent(0), refused, innocent(2)])
          expect(await readAll(orders)).toEqual([])
          expect(await publish([{ subject }, { subject }])).toMatchObject({ status: 200 })
        }),
    )

    test('413 for each message that is too large with its headers, wherever it stands', () =>
      onStream(async (orders) => {
        const subject = orders.subject('a')
        const headers = { Note: 'n'.repeat(2_000) }
        const data = 'x'.repeat(target.limits.max_payload_bytes - 1_500)
        const large = { subject, headers, data }

        const { body } = await publish([large, { subject }, { subject, data }, large])

        const refused = (index: number) => failed(index, 413, 'payload_too_large')
        expect(body.results).toMatchObject([refused(0), innocent(1), innocent(2), refused(3)])
        expect(await readAll(orders)).toEqual([])
      }))

    test('413 for the message that is larger than the stream takes', () =>
      onStream(async () => {
        const orders = await target.makeStream({ ...ATOMIC, max_msg_size: 1_000 })
        const subject = orders.subject('a')

        const { status, body } = await publish([
          { subject },
          { subject, data: 'x'.repeat(1_001) },
          { subject },
        ])

        expect(status).toBe(413)
        expect(body.results).toMatchObject([innocent(0), failed(1, 413, 'payload_too_large'), innocent(2)])
        expect(await readAll(orders)).toEqual([])
      }))

    test(`200 with ${MOST_ATOMIC} messages, and 413 batch_too_large with none stored for one more`, () =>
      onStream(async (orders) => {
        const batch = range(0, MOST_ATOMIC).map((n) => ({ subject: orders.subject('a'), data: `${n}` }))

        expect(await publish(batch)).toMatchObject(problem(413, 'batch_too_large', { side_effects: 'none' }))
        expect(await readAll(orders)).toEqual([])
        const { body } = await publish(batch.slice(1))
        expect(seqsOf(body)).toEqual(range(1, MOST_ATOMIC))
        expect(await payloads(orders)).toEqual(range(1, MOST_ATOMIC).map(String))
      }))

    test('200 soon for a batch after others were refused, however many they were', () =>
      onStream(async (orders) => {
        const subject = orders.subject('a')
        const other = (await target.makeStream(ATOMIC)).subject('a')
        await inParallel(range(1, MOST_UNDER_WAY), MOST_UNDER_WAY, async () => {
          expect(await publish([{ subject }, { subject: other }])).toMatchObject({ status: 422 })
        })
        const before = pacedNow()

        expect(await publish([{ subject }, { subject }])).toMatchObject({ status: 200 })

        // JetStream gives up a batch that nobody ends after 10 s.
        expect(pacedNow() - before).toBeLessThan(8_000)
      }))

    test(`200 for ${ATOMIC_AT_ONCE} batches at once, each together, though JetStream takes fewer at a time`, () =>
      onStream(async (orders) => {
        const answers = await inParallel(range(1, ATOMIC_AT_ONCE), ATOMIC_AT_ONCE, (batch) =>
          publish(
            range(1, MESSAGES_EACH).map((n) => ({ subject: orders.subject('a'), data: `${batch}.${n}` })),
          ),
        )

        expect(answers.map(({ status }) => status)).toEqual(Array(ATOMIC_AT_ONCE).fill(200))
        const all = await payloads(orders)
        expect(all).toHaveLength(ATOMIC_AT_ONCE * MESSAGES_EACH)
        for (const [index, { body }] of answers.entries()) {
          const [first] = body.results
          const from = (first?.seq ?? 0) - 1
          const together = range(1, MESSAGES_EACH).map((n) => `${index + 1}.${n}`)
          expect(all.slice(from, from + MESSAGES_EACH)).toEqual(together)
        }
      }))
  })
})
