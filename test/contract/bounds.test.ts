/** The contract of bounds: what has too many parts, or too long ones, is refused by name, and no refusal is as long as what it refuses. */
import { gzipSync } from 'node:zlib'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Answer, Problem } from './client.ts'
import { publishPath } from './client.ts'
import { at, problem, range, refusal } from './expectations.ts'
import { openRaw } from './raw.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const JSON_TYPE = { 'Content-Type': 'application/json' }
const LINES_TYPE = { 'Content-Type': 'application/x-ndjson' }
const EVENT_TYPE = { 'Content-Type': 'application/cloudevents+json' }
const EVENTS_TYPE = { 'Content-Type': 'application/cloudevents-batch+json' }

/** Far more parts than anything may have, in few bytes of a megabyte. */
const MANY = 300_000
const manyTexts = (count = MANY) => `[${'"",'.repeat(count - 1)}""]`
const manyNames = (count: number, value = '""') => `{${range(1, count).map((n) => `"h${n}":${value}`)}}`

/** What a problem may name and how long it may be, whatever was sent. */
const MOST_ERRORS = 20
const MOST_BYTES = 32_768

function expectShort({ body, bytes }: Answer<Problem>) {
  expect(body.errors?.length ?? 0).toBeLessThanOrEqual(MOST_ERRORS)
  expect(bytes.length).toBeLessThanOrEqual(MOST_BYTES)
}

onEveryTarget((target) => {
  let stream: TestStream
  let consumer: string
  beforeAll(async () => {
    stream = await target.makeStream()
    consumer = await target.makeConsumer(stream)
  })

  const send = (request: string, body: string | Uint8Array, headers: Record<string, string> = JSON_TYPE) =>
    target.bridge.send<Problem>(request, { body, headers })
  const results = async (body: string | Uint8Array, headers: Record<string, string> = JSON_TYPE) =>
    (await target.bridge.ok<{ results: { error?: Problem }[] }>('POST /v1/messages', { body, headers }))
      .results
  const lines = async (...texts: string[]) => {
    const answer = await target.bridge.send('POST /v1/messages', {
      body: texts.join('\n'),
      headers: LINES_TYPE,
    })
    return Buffer.from(answer.bytes)
      .toString()
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { seq?: number; error?: Problem })
  }
  const outgoing = (members: string) => `{"subject":"${stream.subject('a')}",${members}}`
  const event = (members: string) =>
    `{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"${stream.subject('a')}",${members}}`

  describe('lists', () => {
    test.each([
      ['subjects', () => ['POST /v1/streams', `{"name":"S","subjects":${manyTexts()}}`]],
      ['subjects', () => [`PUT ${stream.path}`, `{"subjects":${manyTexts()}}`]],
      ['sources', () => ['POST /v1/streams', `{"name":"S","sources":${manyTexts()}}`]],
      [
        'mirror.subject_transforms',
        () => ['POST /v1/streams', `{"name":"S","mirror":{"name":"T","subject_transforms":${manyTexts()}}}`],
      ],
      ['placement.tags', () => ['POST /v1/streams', `{"name":"S","placement":{"tags":${manyTexts()}}}`]],
      ['filter_subjects', () => [`PUT ${stream.path}/consumers/c`, `{"filter_subjects":${manyTexts()}}`]],
      ['backoff_ms', () => [`PUT ${stream.path}/consumers/c`, `{"backoff_ms":${manyTexts()}}`]],
      ['subjects', () => ['POST /v1/tickets', `{"stream":"${stream.name}","subjects":${manyTexts()}}`]],
      ['acks', () => ['POST /v1/acks', `{"acks":${manyTexts()}}`]],
    ])('400 for %s with far too many members, and fewer that are still too many', async (field, make) => {
      const [request = '', body = ''] = make()
      const all = await send(request, body)
      expect(all).toMatchObject(problem(400, 'invalid_request', { side_effects: 'none' }))
      expectShort(all)

      const fewer = await send(request, body.replace(manyTexts(), manyTexts(20_000)))
      expect(fewer).toMatchObject(refusal(field))
      expect(fewer.body.errors).toHaveLength(1)
      expectShort(fewer)
    })

    test('400 that names 20 members of many that are wrong, and says how many there are besides', async () => {
      const wrong = await send('POST /v1/streams', `{"name":"S","subjects":${manyTexts(1_000)}}`)
      expect(wrong).toMatchObject(refusal('subjects.0'))
      expect(wrong.body.errors).toHaveLength(MOST_ERRORS)
      expect(wrong.body.detail).toContain('980 more')

      const unknown = await send('POST /v1/streams', `{"name":"S","a":1,${manyNames(20_000).slice(1)}`)
      expect(unknown).toMatchObject(refusal('a'))
      expect(unknown.body.errors).toHaveLength(MOST_ERRORS)
      expect(unknown.body.detail).toContain('19981 more')
    })

    test('400 naming metadata with too many members, or with a name that no record keeps', async () => {
      for (const request of ['POST /v1/streams', `PUT ${stream.path}/consumers/c`]) {
        const name = request.startsWith('POST') ? '"name":"S",' : ''
        const many = await send(request, `{${name}"metadata":${manyNames(50_000)}}`)
        expect(many).toMatchObject(refusal('metadata'))
        expectShort(many)
        const lost = await send(request, `{${name}"metadata":{"__proto__":"x"}}`)
        expect(lost).toMatchObject(refusal('metadata.__proto__'))
      }
    })

    test('metadata with the names that every object has', async () => {
      const metadata = { constructor: 'a', toString: 'b', hasOwnProperty: 'c', valueOf: 'd' }
      const made = await target.makeStream({ metadata })
      const path = await target.makeConsumer(made, { metadata })

      expect(await target.bridge.ok(`GET ${made.path}`)).toMatchObject({ config: { metadata } })
      expect(await target.bridge.ok(`GET ${path}`)).toMatchObject({ config: { metadata } })
    })

    test('a short refusal of a name, or of a value, that is very long', async () => {
      const long = 'x'.repeat(500_000)
      for (const answer of [
        await send('POST /v1/streams', `{"${long}":1}`),
        await send('POST /v1/streams', `{"name":"${long}"}`),
        await send(`PUT ${stream.path}/consumers/c`, `{"description":"${long}"}`),
        await send('POST /v1/tickets', `{"stream":"S","start":"${long}"}`),
        await send('POST /v1/acks', `{"acks":[{"token":"${long}","action":"ack"}]}`),
      ]) {
        expect(answer.status).toBeOneOf([200, 400])
        expectShort(answer)
      }
    })
  })

  describe('headers of a message', () => {
    test('said in the capabilities', () => {
      expect(target.limits).toMatchObject({ max_headers: 1_000, max_header_bytes: 65_536 })
      expect(target.limits).toMatchObject({ max_json_values: 100_000, max_json_depth: 1_000 })
    })

    const tooMany = () => outgoing(`"headers":${manyNames(20_000)}`)
    const tooLong = () => outgoing(`"headers":{"a":"${'x'.repeat(40_000)}","b":"${'é'.repeat(20_000)}"}`)
    const tooManyValues = () => outgoing(`"headers":{"A":[${'0,'.repeat(50_000)}0]}`)

    test('400 for too many, too many values, or too long ones, in a batch, in an atomic one, and in lines', async () => {
      for (const message of [tooMany(), tooLong(), tooManyValues()]) {
        const [alone] = await results(`{"messages":[${message}]}`)
        expect(alone?.error?.errors?.[0]?.field).toMatch(/^headers/)
        expect(JSON.stringify(alone).length).toBeLessThan(MOST_BYTES)

        const [line, after] = await lines(message, outgoing('"data":"after"'))
        expect(line?.error).toMatchObject({ code: 'invalid_request' })
        expect(line?.error?.errors?.[0]?.field).toMatch(/^headers/)
        expect(after?.seq).toBeGreaterThan(0)

        if (!target.supports.atomic_batches) continue
        const atomic = await send('POST /v1/messages', `{"atomic":true,"messages":[${message}]}`)
        expect(atomic).toMatchObject(problem(400, 'invalid_request', { side_effects: 'none' }))
        expectShort(atomic)
      }
    })

    test('400 for a CloudEvent with too many attributes, or too long ones', async () => {
      for (const members of [
        manyNames(20_000).slice(1, -1),
        `"a":"${'x'.repeat(70_000)}"`,
        `"a":"${'x'.repeat(40_000)}","b":"${'x'.repeat(40_000)}"`,
        `"a":"${'é'.repeat(40_000)}"`,
      ]) {
        const single = await send('POST /v1/messages', event(members), EVENT_TYPE)
        expect(single).toMatchObject(problem(400, 'invalid_request', { side_effects: 'none' }))
        expectShort(single)
        const [inBatch] = await results(`[${event(members)}]`, EVENTS_TYPE)
        expect(inBatch?.error).toMatchObject({ code: 'invalid_request', status: 400 })
      }
    })

    test('as many as a message may have', async () => {
      const orders = await target.makeStream()
      const headers = Object.fromEntries(range(1, 1_000).map((n) => [`H${n}`, [`v${n}`]]))
      await target.bridge.ok('POST /v1/messages', {
        json: { messages: [{ subject: orders.subject('a'), data: 'x', headers }] },
      })

      expect(at((await target.bridge.page(orders.name)).messages, 0).headers).toEqual(headers)
    })

    test('the names that every object has, as headers like any other', async () => {
      const orders = await target.makeStream()
      const headers = {
        constructor: ['a'],
        toString: ['b', 'c'],
        hasOwnProperty: ['d'],
        valueOf: ['e'],
        isPrototypeOf: ['f'],
        __defineGetter__: ['g'],
      }
      const message = { subject: orders.subject('a'), data: 'x', headers }
      const { results: stored } = await target.bridge.ok<{ results: object[] }>('POST /v1/messages', {
        json: { messages: [message] },
      })
      expect(stored).toEqual([expect.objectContaining({ seq: 1 })])
      await target.bridge.publish(orders.subject('b'), 'x', {
        'NatsH-constructor': 'h',
        'NatsH-tostring': 'i',
      })

      const [first, second] = (await target.bridge.page(orders.name)).messages
      expect(first?.headers).toEqual(headers)
      expect(second?.headers).toMatchObject({ Constructor: ['h'], Tostring: ['i'] })
    })
  })

  describe('JSON values', () => {
    const numbers = (count: number) => `[${'1e1,'.repeat(count - 1)}1e1]`

    test('400 for more than there may be in a batch, a line or an event, however small they came', async () => {
      const orders = await target.makeStream()
      const subject = orders.subject('a')
      const gzip = (text: string) => gzipSync(text)
      const encoded = { 'Content-Encoding': 'gzip' }
      const batch = `{"messages":[{"subject":"${subject}","json":${numbers(1_000_000)}}]}`
      expect(await send('POST /v1/messages', gzip(batch), { ...JSON_TYPE, ...encoded })).toMatchObject(
        refusal('body'),
      )

      const single = event(`"data":${numbers(1_000_000)}`)
      expect(await send('POST /v1/messages', gzip(single), { ...EVENT_TYPE, ...encoded })).toMatchObject(
        refusal('body'),
      )
      expect(
        await send('POST /v1/messages', gzip(`[${single}]`), { ...EVENTS_TYPE, ...encoded }),
      ).toMatchObject(refusal('body'))

      const [line, after] = await lines(
        `{"subject":"${subject}","json":${numbers(200_000)}}`,
        `{"subject":"${subject}","json":${numbers(1_000)}}`,
      )
      expect(line?.error).toMatchObject(refusal('line').body)
      expect(after).toMatchObject({ seq: 1 })
      expect(at((await target.bridge.page(orders.name)).messages, 0).data).toBe(numbers(1_000))
    })

    test('400 for what is nested too deeply, wherever JSON is taken', async () => {
      const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
      const exact = `${'['.repeat(50_000)}1e400${']'.repeat(50_000)}`
      for (const value of [deep, exact]) {
        const [line] = await lines(outgoing(`"json":${value}`))
        expect(line?.error).toMatchObject(refusal('line').body)
        const batch = await send('POST /v1/messages', `{"messages":[${outgoing(`"json":${value}`)}]}`)
        expect(batch).toMatchObject(refusal('body'))
        expect(await send('POST /v1/messages', event(`"data":${value}`), EVENT_TYPE)).toMatchObject(
          refusal('body'),
        )
        expect(await send('POST /v1/acks', value)).toMatchObject(refusal('body'))
      }
      const fine = `${'['.repeat(500)}1e400${']'.repeat(500)}`
      const orders = await target.makeStream()
      const [stored] = await lines(`{"subject":"${orders.subject('a')}","json":${fine}}`)
      expect(stored).toMatchObject({ seq: 1 })
    })
  })

  describe('a template of a NATS subject', () => {
    test('400 naming subject where it would make far too long a one', async () => {
      const query = { subject: '{type}'.repeat(500) }
      const long = JSON.stringify({ specversion: '1.0', id: '1', source: '/s', type: 'x'.repeat(60_000) })
      const single = await target.bridge.send<Problem>('POST /v1/messages', {
        query,
        body: long,
        headers: EVENT_TYPE,
      })
      expect(single).toMatchObject(refusal('subject'))
      expectShort(single)
      const { results: inBatch } = await target.bridge.ok<{ results: { error?: Problem }[] }>(
        'POST /v1/messages',
        {
          query,
          body: `[${range(1, 100).map(() => long)}]`,
          headers: EVENTS_TYPE,
        },
      )
      expect(inBatch.map(({ error }) => error?.errors?.[0]?.field)).toEqual(
        range(1, 100).map(() => 'subject'),
      )
    })

    test('400 naming the template where it is too long itself', async () => {
      const headers = { ...EVENT_TYPE, 'Nats-Subject': 'x'.repeat(5_000) }
      expect(await send('POST /v1/messages', event('"a":"b"'), headers)).toMatchObject(
        problem(400, 'invalid_request'),
      )
    })
  })

  describe('queries and headers of a request', () => {
    test('400 naming subject where it is repeated far too often', async () => {
      const many = await target.bridge.send<Problem>(
        `GET ${stream.path}/messages?${'subject=&'.repeat(1_500)}subject=`,
      )
      expect(many).toMatchObject(refusal('subject'))
      expect(many.body.errors).toHaveLength(1)

      const unknown = await target.bridge.send<Problem>(
        `GET ${stream.path}/messages?${range(1, 2_000)
          .map((n) => `q${n}`)
          .join('&')}`,
      )
      expect(unknown).toMatchObject(problem(400, 'invalid_request'))
      expectShort(unknown)
    })

    test('a refusal of a URL that is far too long', async () => {
      const connection = await openRaw(target.bridge.url, {
        method: 'GET',
        target: `${stream.path}/messages?${'&a'.repeat(20_000)}`,
      })
      // Node's own server answers 431.
      expect((await connection.head()).status).toBeOneOf([400, 414, 431])
      connection.vanish()
    })

    test.each([
      ['Accept', Array(800).fill('text/x;q=0.1').join(',')],
      ['If-None-Match', Array(1_000).fill('W/"1-2"').join(',')],
      ['X-Request-Id', 'x'.repeat(10_000)],
      ['Last-Event-ID', 'x'.repeat(10_000)],
      ['traceparent', 'x'.repeat(10_000)],
      ['Access-Control-Request-Headers', Array(1_000).fill('natsh-a').join(',')],
    ])('an answer, or a refusal, but no failure for a very long %s', async (name, value) => {
      for (const [method, path] of [
        ['GET', `${stream.path}/messages`],
        ['GET', `${stream.path}/messages/last`],
        ['GET', `${consumer}/messages`],
        ['POST', publishPath(stream.subject('long'))],
        ['OPTIONS', '/v1/acks'],
      ] as const) {
        const connection = await openRaw(target.bridge.url, {
          method,
          target: path,
          headers: { [name]: value },
        })
        expect((await connection.head()).status).toBeLessThan(500)
        connection.vanish()
      }
    })
  })

  test('nothing stored of what was refused', async () => {
    const refused = await target.makeStream()
    await send(
      'POST /v1/messages',
      `{"messages":[{"subject":"${refused.subject('a')}","headers":${manyNames(5_000)}}]}`,
    )
    expect((await target.bridge.page(refused.name)).messages).toEqual([])
  })
})
