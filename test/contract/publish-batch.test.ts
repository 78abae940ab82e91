/** The contract of publishes in one JSON document: what becomes of each message by itself. */
import { beforeAll, describe, expect, test } from 'vitest'
import { at, problem, range, refusal, seqs } from './expectations.ts'
import { failed, sendBatch, seqsOf, stored, storedOn } from './results.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const JSON_TYPE = { 'Content-Type': 'application/json' }

onEveryTarget((target) => {
  const send = (messages: unknown) => sendBatch(target, messages)
  const sendBody = (body: string | Uint8Array, headers: Record<string, string> = JSON_TYPE) =>
    target.bridge.send('POST /v1/messages', { body, headers })
  const { readAll, payloads } = storedOn(target)

  describe('publishMessages in a batch', () => {
    let shared: TestStream
    beforeAll(async () => {
      shared = await target.makeStream()
    })

    test('200 with what became of each message, in their order', async () => {
      const orders = await target.makeStream()
      const subject = orders.subject('a')

      const answer = await send([
        { subject, data: '1' },
        { subject, data: '2', id: 'k' },
        { subject: `nobody-${orders.name}`, data: '3' },
        { subject, data: '2', id: 'k' },
        { subject, data: '5', unknown: 1 },
        { subject, data: '6', id: 'k' },
        { subject, data: '7', expected_last_subject_seq: 1 },
        { subject, data: '8' },
        '9',
      ])

      expect(answer.status).toBe(200)
      const { results } = answer.body
      expect(at(results, 0)).toEqual({ index: 0, stream: orders.name, seq: 1, duplicate: false })
      expect(at(results, 1)).toMatchObject({ ...stored(1, 2), duplicate_window_ms: expect.any(Number) })
      expect(results).toMatchObject([
        stored(0, 1),
        stored(1, 2),
        failed(2, 404, 'subject_not_found'),
        stored(3, 2, true),
        { index: 4, error: refusal('unknown').body },
        failed(5, 422, 'idempotency_conflict'),
        failed(6, 412, 'precondition_failed', { current_seq: 2 }),
        stored(7, 3),
        failed(8, 400, 'invalid_request'),
      ])
      expect(await payloads(orders)).toEqual(['1', '2', '8'])
    })

    test('200 with all digits of json, and none rounded', async () => {
      const orders = await target.makeStream()
      const json = '{"big":12345678901234567890,"exact":5.00,"far":1e400}'

      await sendBody(`{"messages":[{"subject":"${orders.subject('a')}","json":${json}}]}`)

      expect(await readAll(orders)).toMatchObject([
        { data: json, headers: { 'Content-Type': ['application/json'] } },
      ])
    })

    test('200 with as many results as a batch may have messages', async () => {
      const orders = await target.makeStream()
      const most = 10_000

      const { body } = await send(range(1, most).map(() => ({ subject: orders.subject('a') })))

      expect(seqsOf(body)).toEqual(range(1, most))
    })

    test.each<[string, () => unknown, string]>([
      ['messages when there are none', () => ({ messages: [] }), 'messages'],
      [
        'messages when there are over 10,000',
        () => ({ messages: range(0, 10_000).map(() => ({ subject: shared.subject('a') })) }),
        'messages',
      ],
      ['messages when they are not there', () => ({ atomic: false }), 'messages'],
      ['messages when they are no list', () => ({ messages: {} }), 'messages'],
      [
        'what it does not know',
        () => ({ messages: [{ subject: shared.subject('a') }], ordered: true }),
        'ordered',
      ],
      [
        'atomic when it is no boolean',
        () => ({ messages: [{ subject: shared.subject('a') }], atomic: 1 }),
        'atomic',
      ],
    ])('400 naming %s, and nothing stored', async (_, json, field) => {
      const answer = await target.bridge.send('POST /v1/messages', { json: json() })

      expect(answer).toMatchObject(refusal(field))
      expect(await readAll(shared)).toEqual([])
    })

    test.each(['', '{', '{"messages":[{"subject":"a"}]', 'null', '[]', '\ufeff{}', '['.repeat(200_000)])(
      '400 when the body is %.20j',
      async (body) => {
        expect(await sendBody(body)).toMatchObject(problem(400, 'invalid_request', { side_effects: 'none' }))
      },
    )

    test('400 when the body is not UTF-8', async () => {
      const body = Buffer.concat([
        Buffer.from('{"messages":[{"subject":"'),
        Buffer.from([0xff]),
        Buffer.from('"}]}'),
      ])

      expect(await sendBody(body)).toMatchObject(refusal('body'))
    })

    test('413 payload_too_large over max_batch_bytes, and 200 at it', async () => {
      const orders = await target.makeStream()
      const { max_batch_bytes: most } = target.limits
      const body = JSON.stringify({ messages: [{ subject: orders.subject('a') }] })

      expect(await sendBody(body.padEnd(most + 1))).toMatchObject(
        problem(413, 'payload_too_large', { side_effects: 'none' }),
      )
      expect(await sendBody(body.padEnd(most))).toMatchObject({ status: 200 })
      expect(seqs(await readAll(orders))).toEqual([1])
    })

    test.each([
      ['Idempotency-Key', 'k'],
      ['If-Match', '"1"'],
      ['If-None-Match', '*'],
    ])('400 naming %s, which is for one message, and nothing stored', async (name, value) => {
      const message = { subject: shared.subject('a') }
      const bodies = {
        'application/json': { messages: [message] },
        'application/x-ndjson': message,
        'application/cloudevents+json': { specversion: '1.0', id: '1', source: '/a', type: 'a', ...message },
      }

      for (const [type, body] of Object.entries(bodies)) {
        const answer = await sendBody(JSON.stringify(body), { 'Content-Type': type, [name]: value })
        expect({ type, ...answer }).toMatchObject({ type, ...refusal(name) })
      }
      expect(await readAll(shared)).toEqual([])
    })

    test.each([
      'text/plain',
      'application/xml',
      'application/json-seq',
      'application/octet-stream',
      undefined,
    ])('415 unsupported_media_type when the body is %s', async (type) => {
      const answer = await sendBody('{"messages":[]}', type === undefined ? {} : { 'Content-Type': type })

      expect(answer).toMatchObject(problem(415, 'unsupported_media_type', { side_effects: 'none' }))
    })

    test.each(['application/json; charset=utf-8', 'Application/JSON'])(
      '200 when the type is %s',
      async (type) => {
        const orders = await target.makeStream()
        const body = JSON.stringify({ messages: [{ subject: orders.subject('a') }] })

        expect((await sendBody(body, { 'Content-Type': type })).status).toBe(200)
      },
    )
  })
})
