/** Owns the contract of publishes in lines: a result a line, in order, while more lines are on their way. */
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { setTimeout as delay } from 'node:timers/promises'
import { createGzip } from 'node:zlib'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseExposition } from '../support/prometheus.ts'
import { CREDENTIAL, type Message, type Problem } from './client.ts'
import type { Received } from './contract.ts'
import { at, payloadOf, range, refusal, seqs, until } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

interface Result {
  readonly index?: number
  readonly stream?: string
  readonly seq?: number
  readonly duplicate?: boolean
  readonly duplicate_window_ms?: number
  readonly error?: Problem
}

const LINES = { 'Content-Type': 'application/x-ndjson' }
const MANY = 5_000
/** A write that waits so long is one that the bridge does not take. */
const STALLED_MS = 1_000
/** More than all that lies between a client and a bridge can hold. */
const MOST_UNREAD_BYTES = 128 * 1_048_576

const EVERY_BYTE = Buffer.from(range(0, 255))

const toLine = (message: unknown) => `${JSON.stringify(message)}\n`
const stored = (index: number, seq: unknown = expect.any(Number)) => ({ index, seq, duplicate: false })
const failed = (index: number, status: number, code: string, members: object = {}) => ({
  index,
  error: { status, code, side_effects: 'none', ...members },
})
/** The line with this index is refused, and this member of it named. */
const refused = (index: number, field: string) => ({ index, error: refusal(field).body })

/** A request under way. Whoever opens it ends it, or leaves. */
interface Conversation {
  say(text: string | Buffer): void
  /** Whether what was said is taken, or comes to be in time. */
  room(withinMs: number): Promise<boolean>
  /** The next result; undefined at the end of the answer. Nothing of the answer is read before it is called. */
  next(): Promise<Result | undefined>
  end(): void
  /** Leaves without a word; with a reset, as a client that was killed. */
  vanish(withReset: boolean): void
}

type Check = (received: Received, result: unknown) => void

function converse(url: string, headers: Readonly<Record<string, string>>, check: Check): Conversation {
  const { request: open } = url.startsWith('https:') ? https : http
  const path = '/v1/messages'
  const request = open(url + path, { method: 'POST', headers: { ...CREDENTIAL, ...headers }, agent: false })
  request.flushHeaders()
  const answered = once(request, 'response') as Promise<[IncomingMessage]>
  answered.catch(() => {})
  request.on('error', () => {})

  const read = async function* (): AsyncGenerator<Result, undefined> {
    const [response] = await answered
    const headers = new Headers(
      Object.entries(response.headers).map(([name, value]): [string, string] => [name, `${value}`]),
    )
    const received = { method: 'POST', path, status: response.statusCode ?? 0, headers }
    let rest = ''
    for await (const chunk of response.setEncoding('utf8')) {
      const lines = `${rest}${chunk}`.split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        const result = JSON.parse(line)
        check(received, result)
        yield result
      }
    }
    expect(rest).toBe('')
    return undefined
  }
  const results = read()
  return {
    say: (text) => void request.write(text),
    room: async (withinMs) =>
      !request.writableNeedDrain ||
      (await Promise.race([once(request, 'drain').then(() => true), delay(withinMs, false)])),
    next: async () => (await results.next()).value,
    end: () => request.end(),
    vanish: (withReset) => (withReset ? request.socket?.resetAndDestroy() : request.destroy()),
  }
}

onEveryTarget((target) => {
  const check = (received: Received, result: unknown) => {
    target.bridge.contract.check(received)
    target.bridge.contract.checkPart(received, result)
  }
  const begin = (headers = {}) => converse(target.bridge.url, { ...LINES, ...headers }, check)
  /** The results of a whole body. */
  const send = async (body: string | Uint8Array): Promise<Result[]> => {
    const { response, received } = await target.bridge.open('POST /v1/messages', { headers: LINES, body })
    expect(response.status).toBe(200)
    expect(response.headers.get('Content-Type')).toBe('application/x-ndjson')
    target.bridge.contract.check(received)
    const lines = (await response.text()).split('\n')
    expect(lines.pop()).toBe('')
    const results = lines.map((line) => JSON.parse(line))
    for (const result of results) target.bridge.contract.checkPart(received, result)
    return results
  }
  const sendAll = (messages: readonly unknown[]) => send(messages.map(toLine).join(''))
  const readAll = async ({ path }: TestStream): Promise<Message[]> => {
    const { response } = await target.bridge.open(`GET ${path}/messages`, {
      headers: { Accept: 'application/x-ndjson' },
    })
    const lines = (await response.text()).trimEnd().split('\n').slice(0, -1)
    return lines.map((line) => JSON.parse(line))
  }
  const countOf = async (stream: TestStream) => (await readAll(stream)).length
  /** Resolves once no request that publishes many messages is under way, as far as the bridge says so. */
  const allOver = async () => {
    await target.bridge.ok('GET /v1/capabilities')
    if (!target.isOwn) return
    await until('the request to be over', async () => {
      const { bytes } = await target.bridge.send('GET /metrics')
      return parseExposition(Buffer.from(bytes).toString()).total('sluice_publishing_requests') === 0
    })
  }

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

    describe('clients that do not do their part', () => {
      test.each([
        ['leaves', false],
        ['is killed', true],
      ])('nothing stored of a line that has not ended when its client %s', async (_, withReset) => {
        const orders = await target.makeStream()
        const line = (data: string) => toLine({ subject: orders.subject('a'), data })
        const conversation = begin()
        // The last one is whole JSON, but for the end of the line.
        conversation.say(line('0') + line('1') + line('half').trimEnd())
        for (const index of [0, 1]) expect(await conversation.next()).toMatchObject(stored(index))

        conversation.vanish(withReset)
        await allOver()

        expect((await readAll(orders)).map(({ data }) => data)).toEqual(['0', '1'])
      })

      test('the first lines stored and no later one without them when its client is killed', async () => {
        const orders = await target.makeStream()
        const conversation = begin()
        const lines = range(0, MANY).map((n) => toLine({ subject: orders.subject('a'), data: `${n}` }))
        conversation.say(lines.join(''))
        expect(await conversation.next()).toMatchObject(stored(0, 1))

        conversation.vanish(true)
        await allOver()

        const payloads = (await readAll(orders)).map(({ data }) => data)
        expect(payloads.length).toBeGreaterThan(0)
        expect(payloads).toEqual(range(0, payloads.length - 1).map((n) => `${n}`))
      })

      test('no more lines taken than results are, and none missing once they are read', async () => {
        const orders = await target.makeStream()
        const message = toLine({ subject: orders.subject('a') })
        // The refusal names it, so results outgrow lines, and fill all that lies between.
        const refusedLine = toLine({ subject: 'a', ['x'.repeat(20_000)]: 1 })
        const conversation = begin()
        let pairs = 0
        do {
          conversation.say(message + refusedLine)
          pairs += 1
          expect(pairs * refusedLine.length).toBeLessThan(MOST_UNREAD_BYTES)
        } while (await conversation.room(STALLED_MS))
        expect(await countOf(orders)).toBeLessThan(pairs)

        conversation.end()
        for (const pair of range(0, pairs - 1)) {
          expect(await conversation.next()).toMatchObject(stored(2 * pair, pair + 1))
          expect(await conversation.next()).toMatchObject({ index: 2 * pair + 1, error: { status: 400 } })
        }
        expect(await conversation.next()).toBe(undefined)
        expect(await countOf(orders)).toBe(pairs)
      })
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
