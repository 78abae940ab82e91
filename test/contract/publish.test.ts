/** The contract of a publish: what is stored, what is answered, and what is refused before NATS hears of it. */
import { beforeAll, describe, expect, test } from 'vitest'
import { type Message, type Published, publishPath } from './client.ts'
import { at, inParallel, problem, range, refusal, seqs, until } from './expectations.ts'
import { openRaw } from './raw.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const cursor = expect.stringMatching(/^\S+$/)

onEveryTarget((target) => {
  const send = (subject: string, headers: Record<string, string> = {}, body = 'payload') =>
    target.bridge.send<Published>(`POST ${publishPath(subject)}`, { headers, body })
  const stored = async (stream: TestStream) => (await target.bridge.page(stream.name)).messages

  describe('publishMessage', () => {
    let stream: TestStream
    beforeAll(async () => {
      stream = await target.makeStream()
    })

    test('201 with stream, seq, duplicate and cursor, and the Location of the message, when it is stored', async () => {
      const orders = await target.makeStream()

      const answer = await send(orders.subject('eu.42'), { 'Content-Type': 'application/json' }, '{"id":7}')

      expect(answer.status).toBe(201)
      expect(answer.body).toEqual({ stream: orders.name, seq: 1, duplicate: false, cursor })
      expect(answer.headers.get('Location')).toBe(`${orders.path}/messages/1`)
      expect(await stored(orders)).toEqual([
        {
          stream: orders.name,
          subject: orders.subject('eu.42'),
          seq: 1,
          time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/),
          headers: { 'Content-Type': ['application/json'] },
          data: '{"id":7}',
          cursor,
        },
      ])
    })

    test('201 and a Location that leads to the message', async () => {
      const { headers } = await send(stream.subject('a'), {}, 'found')

      const message = await target.bridge.ok<Message>(`GET ${headers.get('Location')}`, {
        headers: { Accept: 'application/json' },
      })

      expect(message.data).toBe('found')
    })

    test('201 and no Content-Type stored when none was sent', async () => {
      const { seq } = await target.bridge.publish(stream.subject('a'), 'x')

      const { messages } = await target.bridge.page(stream.name, { start: `seq:${seq}` })

      expect(at(messages, 0).headers).toEqual({})
    })

    test('201 and the Content-Type stored as it was sent', async () => {
      const type = 'text/x-own; charset=UTF-8; note="a b"'
      const { seq } = await target.bridge.publish(stream.subject('a'), 'x', { 'Content-Type': type })

      const { messages } = await target.bridge.page(stream.name, { start: `seq:${seq}` })

      expect(at(messages, 0).headers['Content-Type']).toEqual([type])
    })

    test('201 and the sequences of one stream without a hole when clients publish at the same time', async () => {
      const orders = await target.makeStream()

      const all = await inParallel(range(1, 100), 20, (n) =>
        target.bridge.publish(orders.subject('a'), `${n}`),
      )

      expect(seqs(all).sort((a, b) => a - b)).toEqual(range(1, 100))
    })

    test('201 on a subject outside of ASCII', async () => {
      const subject = stream.subject('größe.日本.🚢')
      const { seq } = await target.bridge.publish(subject, 'x')

      const { messages } = await target.bridge.page(stream.name, { start: `seq:${seq}` })

      expect(at(messages, 0).subject).toBe(subject)
    })

    test.each(['%', 'a/b', 'a?b', 'a#b', 'a+b', 'a&b', '"'])(
      '201 on a subject with %s in it',
      async (tail) => {
        const subject = stream.subject(tail)
        const { seq } = await target.bridge.publish(subject, 'x')

        const { messages } = await target.bridge.page(stream.name, { start: `seq:${seq}`, subject })

        expect(at(messages, 0).subject).toBe(subject)
      },
    )

    describe('headers', () => {
      test('200 with duplicate true and the first sequence when the Idempotency-Key was seen', async () => {
        const orders = await target.makeStream({ duplicate_window_ms: 60_000 })
        const key = { 'Idempotency-Key': 'k-1' }
        const confirmed = { stream: orders.name, seq: 1, duplicate_window_ms: 60_000, cursor }

        const first = await send(orders.subject('a'), key)
        const again = await send(orders.subject('a'), key)

        expect([first.status, again.status]).toEqual([201, 200])
        expect(first.body).toEqual({ ...confirmed, duplicate: false })
        expect(again.body).toEqual({ ...confirmed, duplicate: true })
        const messages = await stored(orders)
        expect(messages.map(({ data, headers }) => ({ data, headers }))).toEqual([
          { data: 'payload', headers: { 'Nats-Msg-Id': ['k-1'] } },
        ])
      })

      test('one key in UTF-8, said in a header and in JSON', async () => {
        const orders = await target.makeStream({ duplicate_window_ms: 60_000 })
        // What `fetch` takes for a header is Latin-1, a character for each byte.
        const inUtf8 = Buffer.from('clé-€', 'utf8').toString('latin1')
        await send(orders.subject('a'), { 'Idempotency-Key': inUtf8 })

        const message = { subject: orders.subject('a'), data: 'payload', id: 'clé-€' }
        const { results } = await target.bridge.ok<{ results: object[] }>('POST /v1/messages', {
          json: { messages: [message] },
        })
        expect(results).toEqual([expect.objectContaining({ seq: 1, duplicate: true })])
      })

      test('400 for a header that would be lost, in JSON and as NatsH-', async () => {
        const subject = stream.subject('a')
        const body = `{"messages":[{"subject":"${subject}","headers":{"__proto__":"x"}}]}`
        const answer = await target.bridge.ok<{ results: { error: object }[] }>('POST /v1/messages', {
          body,
          headers: { 'Content-Type': 'application/json' },
        })

        expect(answer.results[0]?.error).toMatchObject(refusal('headers.__proto__').body)
        expect(await send(subject, { 'NatsH-__proto__': 'x' })).toMatchObject(refusal('natsh-__proto__'))
      })

      test('422 idempotency_conflict when the key was used for another payload', async () => {
        const orders = await target.makeStream()
        await send(orders.subject('a'), { 'Idempotency-Key': 'k' }, 'first')

        expect(await send(orders.subject('a'), { 'Idempotency-Key': 'k' }, 'second')).toMatchObject(
          problem(422, 'idempotency_conflict', { side_effects: 'none', retryable: false }),
        )
        expect(await stored(orders)).toHaveLength(1)
      })

      test('422 idempotency_conflict when the key was used for another subject', async () => {
        const orders = await target.makeStream()
        await send(orders.subject('a'), { 'Idempotency-Key': 'k' })

        expect(await send(orders.subject('b'), { 'Idempotency-Key': 'k' })).toMatchObject(
          problem(422, 'idempotency_conflict', { side_effects: 'none', retryable: false }),
        )
      })

      test('200 whatever the payload when the stream no longer has the first message', async () => {
        const orders = await target.makeStream()
        await send(orders.subject('a'), { 'Idempotency-Key': 'k' }, 'first')
        await target.bridge.ok(`DELETE ${orders.path}/messages/1`)

        expect(await send(orders.subject('a'), { 'Idempotency-Key': 'k' }, 'second')).toMatchObject({
          status: 200,
          body: { seq: 1, duplicate: true },
        })
      })

      test.each([
        ['If-Match', '"1"'],
        ['Nats-Expected-Last-Sequence', '1'],
        ['Nats-Expected-Last-Msg-Id', 'before'],
      ])(
        '200 with duplicate true when a retry finds that %s no longer holds, however much came since',
        async (name, value) => {
          const orders = await target.makeStream()
          const retried = { 'Idempotency-Key': 'k', [name]: value }
          await send(orders.subject('a'), { 'Idempotency-Key': 'before' })
          expect(await send(orders.subject('a'), retried)).toMatchObject({ status: 201, body: { seq: 2 } })
          for (const n of range(1, 3)) await send(orders.subject('a'), { 'Idempotency-Key': `later-${n}` })

          expect(await send(orders.subject('a'), retried)).toMatchObject({
            status: 200,
            body: { seq: 2, duplicate: true },
          })
          expect(await send(orders.subject('a'), retried, 'another payload')).toMatchObject(
            problem(422, 'idempotency_conflict'),
          )
          expect(await send(orders.subject('a'), { ...retried, 'Idempotency-Key': 'new' })).toMatchObject({
            status: 412,
          })
          expect(await stored(orders)).toHaveLength(5)
        },
      )

      test('200 with duplicate true for a conditional retry after the key is forgotten, while the message is the last', async () => {
        const orders = await target.makeStream({ duplicate_window_ms: 100 })
        const retried = { 'Idempotency-Key': 'k', 'If-None-Match': '*' }
        await send(orders.subject('a'), retried)
        const probe = () => send(orders.subject('b'), { 'Idempotency-Key': 'probe' })
        await probe()
        await until('keys are forgotten', async () => (await probe()).status === 201)

        expect(await send(orders.subject('a'), retried)).toMatchObject({
          status: 200,
          body: { seq: 1, duplicate: true },
        })
      })

      test('one 201 and else 200 when many clients publish with the same Idempotency-Key at once', async () => {
        const orders = await target.makeStream()

        const answers = await inParallel(range(1, 20), 20, () =>
          send(orders.subject('a'), { 'Idempotency-Key': 'k' }),
        )

        expect(answers.map(({ status }) => status).sort()).toEqual([...Array(19).fill(200), 201])
        expect(new Set(answers.map(({ body }) => body.seq))).toEqual(new Set([1]))
      })

      test('201 when If-Match names the last sequence of the subject', async () => {
        const orders = await target.makeStream()
        await target.bridge.publish(orders.subject('a'))
        await target.bridge.publish(orders.subject('b'))

        expect(await send(orders.subject('a'), { 'If-Match': '"1"' })).toMatchObject({
          status: 201,
          body: { seq: 3 },
        })
      })

      test('412 precondition_failed with current_seq when If-Match names another sequence', async () => {
        const orders = await target.makeStream()
        await target.bridge.publish(orders.subject('a'))
        await target.bridge.publish(orders.subject('a'))

        const answer = await send(orders.subject('a'), { 'If-Match': '"1"' })

        expect(answer).toMatchObject(
          problem(412, 'precondition_failed', { current_seq: 2, side_effects: 'none', retryable: false }),
        )
        expect(await stored(orders)).toHaveLength(2)
      })

      test('412 precondition_failed with current_seq 0 when If-Match names a sequence of an empty subject', async () => {
        const answer = await send(stream.subject('never'), { 'If-Match': '"5"' })

        expect(answer).toMatchObject(problem(412, 'precondition_failed', { current_seq: 0 }))
      })

      test('201, then 412 precondition_failed with current_seq, with If-None-Match: *', async () => {
        const orders = await target.makeStream()
        await target.bridge.publish(orders.subject('other'))

        expect(await send(orders.subject('a'), { 'If-None-Match': '*' })).toMatchObject({
          status: 201,
          body: { seq: 2 },
        })
        expect(await send(orders.subject('a'), { 'If-None-Match': '*' })).toMatchObject(
          problem(412, 'precondition_failed', { current_seq: 2 }),
        )
      })

      test.each([
        ['If-Match', 'x'],
        ['If-Match', '"x"'],
        ['If-Match', '"-1"'],
        ['If-Match', 'W/"1"'],
        ['If-None-Match', '"1"'],
      ])('400 naming %s when it is %s', async (name, value) => {
        expect(await send(stream.subject('a'), { [name]: value })).toMatchObject(refusal(name))
      })

      test('201 and NatsH-* stored under the name that follows', async () => {
        const headers = { 'NatsH-Region': 'eu', 'NatsH-Order-Id': 'a, b; c="d"' }
        const { seq } = await target.bridge.publish(stream.subject('a'), 'x', headers)

        const { messages } = await target.bridge.page(stream.name, { start: `seq:${seq}` })

        const own = Object.entries(at(messages, 0).headers).map(([name, values]) => [
          name.toLowerCase(),
          values,
        ])
        expect(Object.fromEntries(own)).toEqual({ region: ['eu'], 'order-id': ['a, b; c="d"'] })
      })

      test('201 and traceparent and tracestate stored', async () => {
        const trace = {
          traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
          tracestate: 'a=1,b=2',
        }
        const { seq } = await target.bridge.publish(stream.subject('a'), 'x', trace)

        const { messages } = await target.bridge.page(stream.name, { start: `seq:${seq}` })

        expect(at(messages, 0).headers).toEqual({
          traceparent: [trace.traceparent],
          tracestate: [trace.tracestate],
        })
      })

      test('201 and what came before in the subject gone with Nats-Rollup: sub', async () => {
        const orders = await target.makeStream({ allow_rollup_hdrs: true })
        for (const tail of ['a', 'b', 'a']) await target.bridge.publish(orders.subject(tail))

        expect((await send(orders.subject('a'), { 'Nats-Rollup': 'sub' })).status).toBe(201)

        expect(seqs(await stored(orders))).toEqual([2, 4])
      })

      test('201 when Nats-Expected-* hold', async () => {
        const orders = await target.makeStream()
        await send(orders.subject('a'), { 'Idempotency-Key': 'first' })
        await send(orders.subject('b'), { 'Idempotency-Key': 'second' })

        const answer = await send(orders.subject('a'), {
          'Nats-Expected-Stream': orders.name,
          'Nats-Expected-Last-Sequence': '2',
          'Nats-Expected-Last-Msg-Id': 'second',
        })

        expect(answer).toMatchObject({ status: 201, body: { seq: 3 } })
      })

      test.each([
        ['Nats-Expected-Stream', 'another', (orders: TestStream) => ({ current_stream: orders.name })],
        ['Nats-Expected-Last-Sequence', '77', () => ({ current_seq: 2 })],
        ['Nats-Expected-Last-Subject-Sequence', '77', () => ({ current_seq: 1 })],
        ['Nats-Expected-Last-Msg-Id', 'another', () => ({ current_msg_id: 'last' })],
      ])(
        '412 with the actual value, and nothing stored, when %s does not hold',
        async (name, value, actual) => {
          const orders = await target.makeStream()
          await send(orders.subject('a'))
          await send(orders.subject('b'), { 'Idempotency-Key': 'last' })

          const answer = await send(orders.subject('a'), { [name]: value })

          expect(answer).toMatchObject(
            problem(412, 'precondition_failed', {
              side_effects: 'none',
              retryable: false,
              ...actual(orders),
            }),
          )
          expect(await stored(orders)).toHaveLength(2)
        },
      )

      test.each([
        ['1', '77', 2],
        ['77', '2', 1],
      ])(
        '412 with the value of the condition that does not hold, of the subject %s and of the stream %s',
        async (ofSubject, ofStream, current_seq) => {
          const orders = await target.makeStream()
          await send(orders.subject('a'))
          await send(orders.subject('b'))

          expect(
            await send(orders.subject('a'), {
              'Nats-Expected-Last-Subject-Sequence': ofSubject,
              'Nats-Expected-Last-Sequence': ofStream,
            }),
          ).toMatchObject(problem(412, 'precondition_failed', { current_seq }))
        },
      )

      test.each([
        ['Nats-Expected-Last-Sequence', 'x'],
        ['Nats-Expected-Last-Subject-Sequence', '-1'],
        ['Nats-TTL', 'soon'],
        ['Nats-Incr', 'more'],
        ['Nats-Rollup', 'some'],
        ['Nats-Schedule-Next', 'now'],
        ['Nats-Schedule-Target', 'alone.without.a.schedule'],
        ['Nats-Scheduler', 'alone'],
      ])('400 naming %s when it is %s', async (name, value) => {
        expect(await send(stream.subject('a'), { [name]: value })).toMatchObject(refusal(name))
      })

      test('201 and the message gone after its Nats-TTL, or 501 not_supported', async () => {
        const { message_ttl: supported } = target.supports
        const orders = await target.makeStream(supported ? { allow_msg_ttl: true } : {})

        const answer = await send(orders.subject('a'), { 'Nats-TTL': '1s' })

        if (!supported)
          return expect(answer).toMatchObject(problem(501, 'not_supported', { side_effects: 'none' }))
        expect(answer.status).toBe(201)
        expect(at(await stored(orders), 0).headers).toEqual({ 'Nats-TTL': ['1s'] })
        await until('the message has expired', async () => (await stored(orders)).length === 0)
      })

      test('201 and the counter added to with Nats-Incr, or 501 not_supported', async () => {
        const { counters: supported } = target.supports
        const orders = await target.makeStream(supported ? { allow_msg_counter: true } : {})
        const add = () =>
          target.bridge.send(`POST ${publishPath(orders.subject('a'))}`, { headers: { 'Nats-Incr': '+2' } })

        const answer = await add()

        if (!supported)
          return expect(answer).toMatchObject(problem(501, 'not_supported', { side_effects: 'none' }))
        expect([answer.status, (await add()).status]).toEqual([201, 201])
        expect(at(await stored(orders), -1).data).toBe('{"val":"4"}')
      })

      test.each([
        'Nats-Msg-Id',
        'Nats-Sequence',
        'Nats-Stream',
        'Nats-Marker-Reason',
        'Nats-Batch-Id',
        'Nats-Nonsense',
      ])('400 naming %s, which is not to be set', async (name) => {
        expect(await send(stream.subject('a'), { [name]: '1' })).toMatchObject(refusal(name))
      })

      test("the server's own seq and subject in the message when a header poses as them", async () => {
        const orders = await target.makeStream()
        await send(orders.subject('a'), { 'NatsH-Nats-Sequence': '999', 'NatsH-Nats-Subject': 'forged' })
        await target.bridge.publish(orders.subject('b'))

        const messages = await stored(orders)

        expect(seqs(messages)).toEqual(range(1, messages.length))
        expect(at(messages, -1).subject).toBe(orders.subject('b'))
      })
    })

    describe('subjects', () => {
      test.each([
        ['the wildcard *', 'a.*'],
        ['the wildcard >', 'a.>'],
        ['only the wildcard >', '>'],
        ['an empty token', 'a..b'],
        ['an empty token in front', '.a'],
        ['an empty token at its end', 'a.'],
        ['a space', 'a b'],
        ['a tab', 'a\tb'],
        ['a line feed', 'a\nb'],
        ['a CRLF and a header', 'a\r\nNats-Rollup: all'],
        ['NUL', 'a\0b'],
        ['DEL', 'a\x7fb'],
        ['a C1 control character', 'a\x85b'],
        ['a no-break space', 'a\u00a0b'],
        ['an ideographic space', 'a\u3000b'],
        ['a line separator', 'a\u2028b'],
      ])('400 naming subject when it has %s', async (_, tail) => {
        expect(await send(tail.startsWith('.') || tail === '>' ? tail : stream.subject(tail))).toMatchObject(
          refusal('subject'),
        )
      })

      test.each(['$JS.API.STREAM.NAMES', '$JS.x', '$SYS.x', '$KV.bucket.key', '_INBOX.x', '_INBOX'])(
        "404 subject_not_found on %s, which is the server's own",
        async (subject) => {
          expect(await send(subject)).toMatchObject(
            problem(404, 'subject_not_found', { side_effects: 'none' }),
          )
        },
      )

      test('404 subject_not_found when no stream listens on the subject', async () => {
        expect(await send(`nobody-${stream.name}.a`)).toMatchObject(
          problem(404, 'subject_not_found', { side_effects: 'none', retryable: false }),
        )
      })

      test('a refusal when the subject is longer than NATS takes', async () => {
        const answer = await send(stream.subject('x'.repeat(8_000)))

        expect(answer.status).toBeOneOf([400, 414])
        expect(answer.body).toMatchObject({ side_effects: 'none' })
      })

      test('400, or 404 subject_not_found, when the subject is not well escaped', async () => {
        const connection = await openRaw(target.bridge.url, {
          method: 'POST',
          target: '/v1/subjects/a%zz%ff/messages',
        })

        expect((await connection.head()).status).toBeOneOf([400, 404])
        connection.vanish()
      })
    })

    test('no header but its own when a header value holds a bare line break', async () => {
      const orders = await target.makeStream({ allow_rollup_hdrs: true })
      await target.bridge.publish(orders.subject('a'), 'kept')

      for (const lineBreak of ['\r', '\n', '\r\n\t']) {
        const connection = await openRaw(target.bridge.url, {
          method: 'POST',
          target: publishPath(orders.subject('b')),
          headers: { 'NatsH-A': `x${lineBreak}Nats-Rollup\t: all`, 'NatsH-B': `y${lineBreak}NatsH-C` },
          body: 'x',
        })
        await connection.head().catch(() => undefined)
        connection.vanish()
      }

      const messages = await stored(orders)
      expect(at(messages, 0).data).toBe('kept')
      for (const { headers } of messages) expect(Object.keys(headers)).not.toContain('Nats-Rollup')
    })

    test.each([
      ['a byte', 1],
      ['megabytes', 4_194_304],
    ])(
      "413 payload_too_large, and nothing stored, when the body is %s over the server's limit",
      async (_, over) => {
        const orders = await target.makeStream()
        const body = Buffer.alloc(target.limits.max_payload_bytes + over)

        const answer = await target.bridge.send(`POST ${publishPath(orders.subject('a'))}`, { body })

        expect(answer).toMatchObject(
          problem(413, 'payload_too_large', { side_effects: 'none', retryable: false }),
        )
        expect(await stored(orders)).toEqual([])
      },
    )

    test("413 payload_too_large when body and headers together are over the server's limit", async () => {
      const orders = await target.makeStream()
      const body = Buffer.alloc(target.limits.max_payload_bytes - 10)

      const answer = await target.bridge.send(`POST ${publishPath(orders.subject('a'))}`, {
        body,
        headers: { 'Idempotency-Key': 'a-key-that-takes-more-than-ten-bytes' },
      })

      expect(answer).toMatchObject(problem(413, 'payload_too_large', { side_effects: 'none' }))
      expect(await stored(orders)).toEqual([])
    })

    test('507 stream_full without side effects when the stream takes no more', async () => {
      const orders = await target.makeStream({ max_msgs: 1, discard: 'new' })
      await target.bridge.publish(orders.subject('a'))

      expect(await send(orders.subject('a'))).toMatchObject(
        problem(507, 'stream_full', { side_effects: 'none' }),
      )
    })

    test('a refusal without side effects when the message is larger than the stream takes', async () => {
      const orders = await target.makeStream({ max_msg_size: 10 })

      const answer = await send(orders.subject('a'), {}, 'more than ten bytes')

      expect(answer.status).toBeOneOf([413, 422])
      expect(answer.body).toMatchObject({ side_effects: 'none', retryable: false })
    })

    test('400 naming a query parameter, since there is none', async () => {
      const answer = await target.bridge.send(`POST ${publishPath(stream.subject('a'))}`, {
        query: { ttl: 1 },
        body: 'x',
      })

      expect(answer).toMatchObject(refusal('ttl'))
    })
  })
})
