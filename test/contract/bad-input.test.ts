/** What no input may do, whatever it is: every refusal is a problem, none is a failure of the bridge. */
import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import https from 'node:https'
import { finished } from 'node:stream/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { CREDENTIAL, publishPath } from './client.ts'
import { inParallel, problem, refusal } from './expectations.ts'
import { openRaw } from './raw.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const JSON_TYPE = { 'Content-Type': 'application/json' }
/** Beyond any bound that a JSON body may reasonably have. */
const HUGE_BYTES = 40 * 1_048_576
const DEPTH = 200_000

onEveryTarget((target) => {
  let stream: TestStream
  let consumer: string
  beforeAll(async () => {
    stream = await target.makeStream()
    consumer = await target.makeConsumer(stream)
  })

  /** Every operation that takes JSON. */
  const jsonRequests = () => [
    'POST /v1/streams',
    `PUT ${stream.path}`,
    `POST ${stream.path}/purge`,
    `PUT ${stream.path}/consumers/other`,
    `POST ${consumer}/pause`,
    `POST ${consumer}/reset`,
    `POST ${consumer}/pull`,
    'POST /v1/acks',
    'POST /v1/tickets',
  ]
  const sendAll = (body: string | Uint8Array, headers: Record<string, string> = JSON_TYPE) =>
    inParallel(jsonRequests(), 3, async (request) => ({
      request,
      ...(await target.bridge.send(request, { body, headers })),
    }))

  describe('JSON bodies', () => {
    test.each(['{', '', 'x', '{"a":1}}', "{'a':1}", '{"a":NaN}', '\ufeff{', '{"a":1,}'])(
      '400 when the body is %j',
      async (body) => {
        for (const { request, status } of await sendAll(body)) {
          // An empty body is one that some operations need not have; 501: an older server has no reset.
          if (body !== '') expect({ request, status }).toEqual({ request, status: 400 })
          else expect({ request, ok: status < 500 || status === 501 }).toEqual({ request, ok: true })
        }
      },
    )

    test.each(['[]', 'null', 'true', '1', '"text"', '[{}]'])(
      '400 invalid_request when the body is %s',
      async (body) => {
        for (const { request, status, body: answer } of await sendAll(body)) {
          expect({ request, status, answer }).toMatchObject({
            request,
            status: 400,
            answer: { code: 'invalid_request' },
          })
        }
      },
    )

    test('400 when the body is not UTF-8', async () => {
      for (const { request, status } of await sendAll(
        Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
      )) {
        expect({ request, status }).toEqual({ request, status: 400 })
      }
    })

    test.each([
      ['arrays', `${'['.repeat(DEPTH)}${']'.repeat(DEPTH)}`],
      ['objects', `${'{"a":'.repeat(DEPTH / 2)}1${'}'.repeat(DEPTH / 2)}`],
      ['arrays without an end', '['.repeat(DEPTH)],
    ])('a refusal, and no failure of the bridge, when %s are nested deeply', async (_, body) => {
      for (const { request, status } of await sendAll(body)) {
        expect({ request, refused: [400, 413].includes(status) }).toEqual({ request, refused: true })
      }
    })

    test('400 naming a field called __proto__ or constructor', async () => {
      for (const name of ['__proto__', 'constructor']) {
        for (const { request, status } of await sendAll(`{"${name}":{"polluted":true}}`)) {
          expect({ request, name, status }).toEqual({ request, name, status: 400 })
        }
      }
    })

    test('415 unsupported_media_type when the body has another type or none', async () => {
      for (const type of [
        'text/plain',
        'application/x-www-form-urlencoded',
        'multipart/form-data',
        'application/xml',
      ]) {
        for (const { request, ...answer } of await sendAll('{}', { 'Content-Type': type })) {
          expect({ request, ...answer }).toMatchObject({ request, ...problem(415, 'unsupported_media_type') })
        }
      }
      for (const { request, ...answer } of await sendAll('{}', {})) {
        expect({ request, ...answer }).toMatchObject({ request, ...problem(415, 'unsupported_media_type') })
      }
    })

    const TYPES = [
      'application/json; charset=utf-8',
      'Application/JSON',
      'application/json;',
      'application/json ; charset=utf-8',
      'application/json;charset="utf-8"',
      'application/json; a="b;c"; d=e;',
      ' application/json\t',
      'application/json; charset',
    ]

    test.each(TYPES)('JSON taken wherever it is, as %j', async (type) => {
      for (const { request, status, body } of await sendAll('{"nobody":1}', { 'Content-Type': type }))
        expect({ request, status, body }).toMatchObject({ request, ...refusal('nobody') })
      const batch = await target.bridge.send<{ results: object[] }>('POST /v1/messages', {
        body: JSON.stringify({ messages: [{ subject: stream.subject('typed'), data: 'x' }] }),
        headers: { 'Content-Type': type },
      })
      expect(batch.status).toBe(200)
    })

    test.each([
      ['application/x-ndjson', 200],
      ['application/cloudevents+json', 201],
      ['application/cloudevents-batch+json', 200],
    ])('%s taken with a semicolon at its end, and white space', async (type, status) => {
      const event = {
        specversion: '1.0',
        id: type,
        source: '/s',
        type: 't',
        subject: stream.subject('typed'),
      }
      const body = type.includes('ndjson')
        ? { subject: event.subject }
        : type.includes('batch')
          ? [event]
          : event
      for (const spelled of [`${type};`, `${type} ; charset=utf-8`, type.toUpperCase()]) {
        const answer = await target.bridge.send('POST /v1/messages', {
          body: JSON.stringify(body),
          headers: { 'Content-Type': spelled },
        })
        expect(answer.status).toBeOneOf([status, 200])
      }
    })

    test('JSON taken with a charset and in any case', async () => {
      for (const type of ['application/json; charset=utf-8', 'Application/JSON']) {
        const answer = await target.bridge.send(`POST ${consumer}/pull`, {
          body: '{}',
          headers: { 'Content-Type': type },
        })
        expect(answer.status).toBe(200)
      }
    })

    test('413 payload_too_large when the body is far too large, announced or not', async () => {
      const request = { method: 'POST', target: '/v1/acks' }
      const announced = await openRaw(target.bridge.url, {
        ...request,
        headers: { ...JSON_TYPE, 'Content-Length': String(HUGE_BYTES) },
      })
      expect((await announced.head()).status).toBe(413)
      announced.vanish()

      const answer = await target.bridge.send('POST /v1/acks', {
        body: `{"acks":["${'x'.repeat(4_194_304)}"]}`,
        headers: JSON_TYPE,
      })
      expect(answer).toMatchObject(problem(413, 'payload_too_large', { side_effects: 'none' }))
    })
  })

  describe('requests as no client should send them', () => {
    const library = () => (target.bridge.url.startsWith('https:') ? https : http)
    /** One request on a connection that is kept; `fetch` would open another one without a word. */
    const exchange = async (agent: http.Agent, method: string, path: string, body?: Buffer) => {
      const headers = {
        ...CREDENTIAL,
        ...(body ? { ...JSON_TYPE, 'Content-Length': String(body.length) } : {}),
      }
      const sent = library().request(target.bridge.url + path, { method, agent, headers })
      sent.end(body)
      const [response] = (await once(sent, 'response')) as [IncomingMessage]
      await finished(response.resume())
      return response.statusCode
    }
    const status = async (line: {
      method: string
      target: string
      headers?: Record<string, string>
      body?: string
    }) => {
      const connection = await openRaw(target.bridge.url, line)
      try {
        return (await connection.head()).status
      } finally {
        connection.vanish()
      }
    }

    test.each([
      '/v1/streams/%',
      '/v1/streams/%zz',
      '/v1/streams/%ff',
      '/v1/streams/%c0%af',
      '/v1/streams/%00',
      '/v1/streams/..%2f..%2fetc',
    ])('a refusal for the path %s', async (path) => {
      expect(await status({ method: 'GET', target: path })).toBeOneOf([400, 404])
    })

    test('a refusal, or an answer, but no failure for a query that is not well escaped', async () => {
      for (const query of [
        'limit=%',
        'subject=%ff',
        'subject=%zz',
        '%=1',
        'cursor=%00',
        'cursor=%ff',
        '&&&',
        '=',
      ]) {
        const answered = await status({ method: 'GET', target: `${stream.path}/messages?${query}` })
        expect({ query, failed: answered >= 500 }).toEqual({ query, failed: false })
      }
    })

    test.each(['s1*', '*s1', 's>', 'a*b', '**', '>>', '*>'])(
      'a refusal that names the filter with %s, which JetStream takes for a literal token',
      async (token) => {
        const filter = `${stream.subject(token)}.x`
        const query = { subject: filter }
        const answers = await Promise.all([
          target.bridge.send(`GET ${stream.path}/messages`, { query }),
          target.bridge.send(`GET ${stream.path}/messages/last`, { query }),
          target.bridge.send(`GET ${stream.path}/subjects`, { query }),
        ])
        for (const answer of answers) expect(answer).toMatchObject(refusal('subject(.0)?'))
        const json = { filter_subjects: [filter] }
        expect(await target.bridge.send(`PUT ${stream.path}/consumers/half`, { json })).toMatchObject(
          refusal('filter_subjects.0'),
        )
        expect(await target.bridge.send(`POST ${stream.path}/purge`, { json: { filter } })).toMatchObject(
          refusal('filter'),
        )
        const made = { name: 'HALF', subjects: [filter], storage: 'memory' }
        expect(await target.bridge.send('POST /v1/streams', { json: made })).toMatchObject(
          refusal('subjects.0'),
        )
      },
    )

    test('a refusal, or an answer, but no failure for a request with thousands of headers', async () => {
      const headers = Object.fromEntries(Array.from({ length: 4_096 }, (_, n) => [`X-Filler-${n}`, 'x']))

      expect(await status({ method: 'GET', target: '/livez', headers }).catch(() => 431)).toBeLessThan(500)
    })

    test('a publish refused as a whole when its body ends too early', async () => {
      const connection = await openRaw(target.bridge.url, {
        method: 'POST',
        target: publishPath(stream.subject('broken')),
        headers: { 'Content-Length': '1000' },
        body: 'only this',
      })
      connection.vanish()

      const answer = await target.bridge.send(`GET ${stream.path}/messages/last`, {
        query: { subject: stream.subject('broken') },
        headers: { Accept: 'application/json' },
      })
      expect(answer).toMatchObject(problem(404, 'message_not_found'))
    })

    test('the next request answered on the same connection after a body that was refused', async () => {
      const agent = new (library().Agent)({ keepAlive: true, maxSockets: 1 })
      const refused = await exchange(agent, 'POST', '/v1/acks', Buffer.alloc(1_200_000, 'x'))
      expect(refused).toBeOneOf([400, 413])

      // A server that closes the connection late does so within this.
      const until = performance.now() + 1_000
      while (performance.now() < until) expect(await exchange(agent, 'GET', '/livez')).toBe(200)
      agent.destroy()
    })

    test('400 naming a parameter that is there twice and must not be', async () => {
      const answer = await target.bridge.send(`GET ${stream.path}/messages?limit=1&limit=2`)

      expect(answer).toMatchObject(refusal('limit'))
    })

    test('the bridge alive after all of it', async () => {
      expect((await target.bridge.send('GET /readyz')).status).toBe(200)
      await target.bridge.publish(stream.subject('after'))
    })
  })
})
