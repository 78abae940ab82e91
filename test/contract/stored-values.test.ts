/** The contract of values that anybody may have stored: handed out as far as HTTP and JSON can carry them, unaltered or not at all. */
import { beforeAll, describe, expect, test } from 'vitest'
import { openEvents } from './events.ts'
import { at, problem, range, refusal } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const RAW = { headers: { Accept: 'image/png' }, raw: true }

onEveryTarget((target) => {
  let stream: TestStream
  beforeAll(async () => {
    stream = await target.makeStream()
  })
  /** Stores a message as any client of NATS could. */
  const store = async (subject: string, members: Readonly<Record<string, unknown>>) => {
    const { results } = await target.bridge.ok<{ results: { seq: number }[] }>('POST /v1/messages', {
      json: { messages: [{ subject, ...members }] },
    })
    return at(results, 0).seq
  }

  describe('a Content-Type', () => {
    test.each([
      ['beyond Latin-1', 'text/plain; title=€'],
      ['beyond ASCII', 'text/plain; title=é'],
      ['with NUL', 'text/plain\0'],
      ['with a control character', 'text/\u0001plain'],
      ['with DEL', 'text/plain; a=\u007f'],
      ['that is empty', ''],
      ['without a subtype', 'text'],
      ['with white space alone', 'a b'],
      ['in the form of two', 'text/plain, text/html'],
      ['as long as a header of NATS can be', `text/plain; a=${'x'.repeat(60_000)}`],
    ])('%s: the payload served as application/octet-stream', async (_, type) => {
      const seq = await store(stream.subject('typed'), { data: 'payload', headers: { 'Content-Type': type } })

      const answer = await target.bridge.send(`GET ${stream.path}/messages/${seq}`, RAW)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('Content-Type')).toBe('application/octet-stream')
      expect(Buffer.from(answer.bytes).toString()).toBe('payload')
      const { headers } = await target.bridge.ok<{ headers: object }>(`GET ${stream.path}/messages/${seq}`)
      expect(headers).toEqual({ 'Content-Type': [type] })
    })

    test.each(['text/plain', 'text/plain;', 'TEXT/Plain ; charset="utf-8"', 'application/vnd.a+json;v=1'])(
      'served as it stands when it is %s',
      async (type) => {
        const seq = await store(stream.subject('typed'), { data: 'x', headers: { 'Content-Type': type } })

        const { headers } = await target.bridge.send(`GET ${stream.path}/messages/${seq}`, RAW)
        expect(headers.get('Content-Type')).toBe(type)
      },
    )
  })

  describe('the attributes of an event', () => {
    const event = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-type': 't' }

    test.each([
      ['beyond Latin-1', { 'ce-name': '€' }],
      ['with NUL', { 'ce-name': 'a\0b' }],
      ['with a type beyond Latin-1', { 'Content-Type': 'text/plain; a=€' }],
      ['too long for any client', { 'ce-name': 'x'.repeat(40_000) }],
      ['too many for any client', Object.fromEntries(range(1, 900).map((n) => [`ce-a${n}`, 'x'.repeat(20)]))],
    ])('%s: the payload served, and no failure', async (_, headers) => {
      const seq = await store(stream.subject('event'), { data: 'payload', headers: { ...event, ...headers } })

      const answer = await target.bridge.send(`GET ${stream.path}/messages/${seq}`, RAW)
      expect(answer.status).toBe(200)
      expect(Buffer.from(answer.bytes).toString()).toBe('payload')
      const said = [...answer.headers].reduce((sum, [name, value]) => sum + name.length + value.length, 0)
      expect(said).toBeLessThan(16_384)
    })
  })

  describe('payload=json', () => {
    const payloads = [
      '{"id":9007199254740993,"x":1e400,"y":1.10,"z":-0.0,"n":123456789012345678901234567890.5}',
      '{"b":1,"a":2,"b":3,"1":4}',
      '[1E5, 0.1000, {"__proto__": 1, "toString": 2}]',
      '  {"a"\r\n:\n1.0 ,\n\n"b":"\\u00e9\\n"}\n',
      `${'['.repeat(5_000)}1e400${']'.repeat(5_000)}`,
      '"\u2028"',
      'null',
    ]
    /** The text of `json` in a line that ends with another member. */
    const jsonIn = (line: string) => /"json":([\s\S]*?),"(?:cursor|ack_token)":"[^"]*"/.exec(line)?.[1]
    const oneLine = (text: string) => text.replaceAll(/[\r\n]+/g, ' ')

    test.each(payloads.map((payload) => [payload.slice(0, 60), payload]))(
      'every digit kept, on one line, wherever it is read: %j',
      async (_, payload) => {
        const orders = await target.makeStream()
        await target.bridge.publish(orders.subject('a'), payload)
        const read = async (request: string, headers: Record<string, string> = {}, body?: string) => {
          const answer = await target.bridge.open(request, {
            headers,
            ...(body === undefined ? {} : { body }),
          })
          return await answer.response.text()
        }
        const consumer = await target.makeConsumer(orders)

        for (const text of [
          await read(`GET ${orders.path}/messages?payload=json`),
          await read(`GET ${orders.path}/messages?payload=json`, { Accept: 'application/x-ndjson' }),
          await read(`GET ${orders.path}/messages/1?payload=json`, { Accept: 'application/json' }),
          await read(`POST ${consumer}/pull?payload=json`, { 'Content-Type': 'application/json' }, '{}'),
        ])
          expect(jsonIn(at(text.split('\n'), 0))).toBe(oneLine(payload))
      },
    )

    test('one event, whatever line breaks the payload has', async () => {
      const orders = await target.makeStream()
      await target.bridge.publish(orders.subject('a'), '{\r\n"id":\n9007199254740993\r}')
      const events = await openEvents(target.bridge, `${orders.path}/messages?start=beginning&payload=json`)

      const [message] = await events.take<{ json: unknown }>('message', 1)
      expect(message?.json).toEqual({ id: Number('9007199254740993') })
      events.close()
    })

    test.each(['', '{', '01', 'NaN', '\ufeff{}', '[1,]', '{"a":1}{"b":2}', '"a","cursor":"x"'])(
      'no json when the payload is %j',
      async (payload) => {
        const orders = await target.makeStream()
        await target.bridge.publish(orders.subject('a'), payload)

        expect(
          at((await target.bridge.page(orders.name, { payload: 'json' })).messages, 0),
        ).not.toHaveProperty('json')
      },
    )
  })

  describe('times', () => {
    const BAD = [
      '2026-02-30T00:00:00Z',
      '2025-02-29T00:00:00Z',
      '1900-02-29T00:00:00Z',
      '2026-04-31T00:00:00Z',
      '2026-13-01T00:00:00Z',
      '2026-00-10T00:00:00Z',
      '2026-01-00T00:00:00Z',
      '2026-01-01T24:00:00Z',
      '2026-01-01T23:60:00Z',
      '2026-12-31T23:59:60Z',
      '2026-01-01T00:00:00',
      '2026-01-01T00:00Z',
      '2026-01-01',
      '2026-01-01T00:00:00+24:00',
      '2026-01-01T00:00:00+01:60',
      '2026-01-01T00:00:00+0100',
      '2026-01-01T00:00:00.Z',
      '2026-01-01 00:00:00Z',
      '1767225600',
      `2026-01-01T00:00:00.${'1'.repeat(5_000)}Z`,
    ]
    const GOOD = [
      '2024-02-29T00:00:00Z',
      '2000-02-29T23:59:59.123456789Z',
      '2026-01-01T00:00:00-23:59',
      '2026-06-30T12:00:00.5+05:30',
    ]
    /** What JetStream cannot count in nanoseconds. */
    const BEYOND = [
      '0001-01-01T00:00:00Z',
      '1600-01-01T00:00:00Z',
      '2300-01-01T00:00:00Z',
      '9999-12-31T23:59:59Z',
    ]

    const places = (consumer: string) =>
      [
        [
          'start',
          (time: string) =>
            target.bridge.send(`GET ${stream.path}/messages`, { query: { start: `time:${time}` } }),
        ],
        [
          'start',
          (time: string) =>
            target.bridge.send('POST /v1/tickets', { json: { stream: stream.name, start: `time:${time}` } }),
        ],
        [
          'opt_start_time',
          (time: string) =>
            target.bridge.send(`PUT ${consumer}`, {
              json: { deliver_policy: 'by_start_time', opt_start_time: time },
            }),
        ],
        [
          'mirror.opt_start_time',
          (time: string) =>
            target.bridge.send('POST /v1/streams', {
              json: { name: `${stream.name}-mirror`, mirror: { name: stream.name, opt_start_time: time } },
            }),
        ],
      ] as const

    test.each(BAD)('400 naming the field when a time is %s', async (time) => {
      const consumer = `${stream.path}/consumers/timed`
      const pause = [
        [
          'pause_until',
          (until: string) => target.bridge.send(`PUT ${consumer}`, { json: { pause_until: until } }),
        ],
        [
          'pause_until',
          (until: string) => target.bridge.send(`POST ${consumer}/pause`, { json: { pause_until: until } }),
        ],
      ] as const
      for (const [field, send] of [...places(consumer), ...pause]) {
        const answer = await send(time)
        expect({ field, ...answer }).toMatchObject({ field, ...problem(400, 'invalid_request') })
        expect((answer.body as { errors: { field: string }[] }).errors[0]?.field).toBe(field)
      }
      const { results } = await target.bridge.ok<{ results: { error?: object }[] }>('POST /v1/messages', {
        json: {
          messages: [
            { subject: stream.subject('a'), deliver_at: time, schedule_target: stream.subject('b') },
          ],
        },
      })
      expect(results[0]?.error).toMatchObject({ code: 'invalid_request', errors: [{ field: 'deliver_at' }] })
      const schedule = { 'Nats-Schedule': `@at ${time}`, 'Nats-Schedule-Target': stream.subject('b') }
      const scheduled = await target.bridge.send(`POST /v1/subjects/${stream.subject('a')}/messages`, {
        headers: schedule,
      })
      expect(scheduled).toMatchObject(refusal('nats-schedule'))
    })

    test.each(BEYOND)(
      '400 naming the field when a time is %s, which JetStream cannot count',
      async (time) => {
        for (const [field, send] of places(`${stream.path}/consumers/timed`)) {
          const answer = await send(time)
          expect({ field, ...answer }).toMatchObject({ field, ...problem(400, 'invalid_request') })
        }
      },
    )

    test.each(GOOD)('taken when a time is %s', async (time) => {
      const [read, ticket] = places('')
      expect((await read[1](time)).status).toBe(200)
      expect((await ticket[1](time)).status).toBe(201)
      const consumer = `${stream.path}/consumers/good-${GOOD.indexOf(time)}`
      const config = { deliver_policy: 'by_start_time', opt_start_time: time }
      expect((await target.bridge.send(`PUT ${consumer}`, { json: config })).status).toBe(201)
    })
  })
})
