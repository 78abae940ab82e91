/** The contract of publishes in lines: a result a line, in order, while more lines are on their way. */
import { once } from 'node:events'
import { createGzip } from 'node:zlib'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Message } from './client.ts'
import { at, payloadOf, range, refusal } from './expectations.ts'
import { LINES, linesTo, MANY, STALLED_MS, toLine } from './lines.ts'
import { failed, stored, storedOn } from './results.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const EVERY_BYTE = Buffer.from(range(0, 255))

/** The line with this index is refused, and this member of it named. */
const refused = (index: number, field: string) => ({ index, error: refusal(field).body })

onEveryTarget((target) => {
  const { begin, send, sendAll } = linesTo(target)
  const { readAll } = storedOn(target)

  describe('publishMessages in lines', () => {
    let shared: TestStream
    beforeAll(async () => {
      shared = await target.makeStream()
    })

    test('200 with a line of stream, seq and duplicate for each message', async () => {
      const orders = await target.makeStream()
      const messages = ['a', 'b'].map((data) => ({ subject: orders.subject(data), data }))

      expect(await sendAll(messages)).toEqual([
        { index: 0, stream: orders.name, seq: 1, duplicate: false },
        { index: 1, stream: orders.name, seq: 2, duplicate: false },
      ])
      expect(await readAll(orders)).toMatchObject(messages)
    })

    test('200 with each result while the rest of the body is still to be sent', async () => {
      const orders = await target.makeStream()
      const conversation = begin()

      for (const n of range(1, 5)) {
        conversation.say(toLine({ subject: orders.subject('a'), data: `${n}` }))
        expect(await conversation.next()).toMatchObject(stored(n - 1, n))
        expect(at(await readAll(orders), -1).data).toBe(`${n}`)
      }
      conversation.end()
      expect(await conversation.next()).toBe(undefined)
    })

    test('200 with each result while the rest of what is compressed is still to be sent', async () => {
      const orders = await target.makeStream()
      const conversation = begin({ 'Content-Encoding': 'gzip' })
      const compressed = createGzip()
      compressed.on('data', (chunk) => conversation.say(chunk))

      for (const n of range(1, 5)) {
        compressed.write(toLine({ subject: orders.subject('a'), data: `${n}` }))
        compressed.flush()
        expect(await conversation.next()).toMatchObject(stored(n - 1, n))
      }
      compressed.end()
      await once(compressed, 'end')
      conversation.end()
      expect(await conversation.next()).toBe(undefined)
    })

    test(`200 with ${MANY} results in the order of the lines, and the stream in that order`, async () => {
      const orders = await target.makeStream()

      const results = await sendAll(
        range(1, MANY).map((n) => ({ subject: orders.subject(`${n % 7}`), data: `${n}` })),
      )

      expect(results.map(({ index, seq }) => [index, seq])).toEqual(range(1, MANY).map((n) => [n - 1, n]))
      expect((await readAll(orders)).map(({ data }) => data)).toEqual(range(1, MANY).map((n) => `${n}`))
    })

    test('200 with a line that comes byte by byte', async () => {
      const orders = await target.makeStream()
      const conversation = begin()
      for (const byte of Buffer.from(toLine({ subject: orders.subject('a'), data: 'größe 🚢' }))) {
        conversation.say(Buffer.from([byte]))
        await conversation.room(STALLED_MS)
      }

      expect(await conversation.next()).toMatchObject(stored(0))
      expect(at(await readAll(orders), 0).data).toBe('größe 🚢')
      conversation.end()
    })

    test.each<[string, (subject: string) => string | Buffer, (index: number) => object]>([
      ['not JSON', () => '{"subject":', (index) => refused(index, 'line')],
      ['no object', () => '7', (index) => refused(index, 'line')],
      ['null', () => 'null', (index) => refused(index, 'line')],
      ['an array', () => '[]', (index) => failed(index, 400, 'invalid_request')],
      ['nested too deeply', () => `${'['.repeat(200_000)}`, (index) => failed(index, 400, 'invalid_request')],
      [
        'a message with an unknown member',
        (subject) => JSON.stringify({ subject, expected: 1 }),
        (index) => refused(index, 'expected'),
      ],
      ['without a subject', () => '{"data":"x"}', (index) => refused(index, 'subject')],
      ['a bad subject', () => '{"subject":"a..b"}', (index) => refused(index, 'subject')],
      ['a wildcard', () => '{"subject":"a.>"}', (index) => refused(index, 'subject')],
      [
        'two payloads',
        (subject) => JSON.stringify({ subject, data: 'x', data_base64: 'eA==' }),
        (index) => refused(index, 'data_base64'),
      ],
      [
        'a lone surrogate',
        (subject) => `{"subject":"${subject}","data":"\\ud800"}`,
        (index) => refused(index, 'data'),
      ],
      [
        'not base64',
        (subject) => JSON.stringify({ subject, data_base64: '*' }),
        (index) => refused(index, 'data_base64'),
      ],
      [
        'not UTF-8',
        (subject) =>
          Buffer.concat([Buffer.from(`{"subject":"${subject}","data":"`), Buffer.from([0xff, 0x22, 0x7d])]),
        (index) => refused(index, 'line'),
      ],
      [
        'a header that is not to be set',
        (subject) => JSON.stringify({ subject, headers: { 'Nats-Msg-Id': 'x' } }),
        (index) => refused(index, 'headers.Nats-Msg-Id'),
      ],
      [
        'a payload over the limit of the server',
        (subject) => JSON.stringify({ subject, data: 'x'.repeat(target.limits.max_payload_bytes + 1) }),
        (index) => failed(index, 413, 'payload_too_large'),
      ],
      [
        'a line longer than any message needs',
        (subject) => JSON.stringify({ subject, data: 'x'.repeat(2 * target.limits.max_payload_bytes) }),
        (index) => failed(index, 413, 'payload_too_large'),
      ],
      [
        "the server's own subject",
        () => '{"subject":"$JS.API.STREAM.NAMES"}',
        (index) => failed(index, 404, 'subject_not_found'),
      ],
      [
        "nobody's subject",
        (subject) => JSON.stringify({ subject: `nobody-${subject}` }),
        (index) => failed(index, 404, 'subject_not_found', { retryable: false }),
      ],
    ])(
      '200 with an error in the place of the line, and the rest stored, when it is %s',
      async (_, bad, error) => {
        const orders = await target.makeStream()
        const subject = orders.subject('a')
        const good = (data: string) => Buffer.from(toLine({ subject, data }))

        const results = await send(
          Buffer.concat([good('1'), Buffer.from(bad(subject)), Buffer.from('\n'), good('2'), good('3')]),
        )

        expect(results).toMatchObject([stored(0, 1), error(1), stored(2, 2), stored(3, 3)])
        expect((await readAll(orders)).map(({ data }) => data)).toEqual(['1', '2', '3'])
      },
    )

    test.each([
      ['blank lines, which have no index', '\n\n{1}\n  \n\t\n{2}\n\n'],
      ['lines that end in CRLF', '{1}\r\n\r\n{2}\r\n'],
      ['a last line without an end', '{1}\n{2}'],
      ['a last line of white space without an end', '{1}\n{2}\n '],
    ])('200 with %s', async (_, form) => {
      const orders = await target.makeStream()
      const line = (n: number) => JSON.stringify({ subject: orders.subject('a'), data: `${n}` })

      const results = await send(form.replace(/\{(\d)\}/g, (__, n) => line(Number(n))))

      expect(results).toMatchObject([stored(0, 1), stored(1, 2)])
      expect((await readAll(orders)).map(({ data }) => data)).toEqual(['1', '2'])
    })

    test.each(['', '\n', ' \r\n\n'])('200 without a line when the body is %j', async (body) => {
      expect(await send(body)).toEqual([])
    })

    test.each<[string, object, Buffer, Message['headers']]>([
      ['no payload', {}, Buffer.alloc(0), {}],
      ['empty data', { data: '' }, Buffer.alloc(0), {}],
      ['text', { data: 'größe 日本 🚢' }, Buffer.from('größe 日本 🚢'), {}],
      [
        'a byte order mark',
        { data: '\ufefftext' },
        Buffer.from([0xef, 0xbb, 0xbf, 0x74, 0x65, 0x78, 0x74]),
        {},
      ],
      ['NUL and line breaks', { data: 'a\0\r\n\u2028\u2029' }, Buffer.from('a\0\r\n\u2028\u2029'), {}],
      ['every byte there is', { data_base64: EVERY_BYTE.toString('base64') }, EVERY_BYTE, {}],
    ])('200 and stored byte for byte: %s', async (_, members, payload, headers) => {
      const orders = await target.makeStream()

      expect(await sendAll([{ subject: orders.subject('a'), ...members }])).toMatchObject([stored(0, 1)])

      const message = at(await readAll(orders), 0)
      expect(payloadOf(message)).toEqual(payload)
      expect(message.headers).toEqual(headers)
    })

    test('200 and json stored as application/json, with all its digits', async () => {
      const orders = await target.makeStream()
      const texts = [
        '{"big":12345678901234567890,"exact":5.00,"far":1e400,"list":[1,null,true,-0],"text":"größe \u2028"}',
        '12345678901234567890123',
        '"text"',
        'null',
        'false',
      ]

      const results = await send(
        texts.map((json) => `{"subject":"${orders.subject('a')}","json":${json}}\n`).join(''),
      )

      expect(results).toMatchObject(texts.map((__, index) => stored(index)))
      const messages = await readAll(orders)
      expect(messages.map(({ data }) => data)).toEqual(texts)
      for (const { headers } of messages) expect(headers).toEqual({ 'Content-Type': ['application/json'] })
    })

    test('200 and headers stored with their case, and with their values in order', async () => {
      const orders = await target.makeStream()
      const headers = {
        'x-Trace': 'one',
        'Via-Hops': ['b', 'a', 'b'],
        Size: 'größe 日本',
        'Content-Type': 'text/plain',
      }

      expect(await sendAll([{ subject: orders.subject('a'), headers }])).toMatchObject([stored(0, 1)])

      const all = Object.entries(headers).map(([name, values]) => [name, [values].flat()])
      expect(at(await readAll(orders), 0).headers).toEqual(Object.fromEntries(all))
    })

    test('400 naming a query parameter, as a status', async () => {
      const answer = await target.bridge.send('POST /v1/messages', {
        query: { subject: 'a' },
        headers: LINES,
        body: toLine({ subject: shared.subject('a') }),
      })

      expect(answer).toMatchObject(refusal('subject'))
    })
  })
})
