/** The proof of what pages of other origins may do: those listed all that a client may, the others nothing. */
import { describe, expect, test } from 'vitest'
import { type Client, publishPath, type StreamBody } from '../contract/client.ts'
import { openEvents } from '../contract/events.ts'
import { authorizationText, basic, expectProblem, type Guarded, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStream, makeStreams } from './users.ts'

const LISTED = ['https://app.example.com', 'http://localhost:3000']
const NOT_LISTED = [
  'https://not-listed.example.net',
  'null',
  'http://app.example.com',
  'https://app.example.com:444',
  'https://app.example.com.example.net',
  'https://example.com',
  'https://www.app.example.com',
  'https://app.example.com/',
  'https://APP.example.com',
  'http://localhost',
  'file://',
  '*',
]
const ALL_CORS = /^access-control-/

const list = (headers: Headers, name: string) =>
  (headers.get(name) ?? '')
    .split(',')
    .map((one) => one.trim().toLowerCase())
    .filter((one) => one !== '')
const corsOf = (headers: Headers) => [...headers.keys()].filter((name) => ALL_CORS.test(name))

const EXPOSED = ['etag', 'link', 'location', 'retry-after', 'x-request-id']

/** What makes an answer readable to the page that asked. */
function expectReadable({ headers }: { headers: Headers }, origin: string): void {
  expect(headers.get('Access-Control-Allow-Origin')).toBe(origin)
  expect(list(headers, 'Vary')).toContain('origin')
  expect(list(headers, 'Access-Control-Expose-Headers').sort()).toEqual(EXPOSED)
  // Credentials go in a header that the page sets: a browser is never to add its own.
  expect(headers.get('Access-Control-Allow-Credentials')).toBeNull()
}

function expectUnreadable({ headers }: { headers: Headers }): void {
  expect(corsOf(headers)).toEqual([])
  expect(list(headers, 'Vary')).toContain('origin')
}

const preflight = (url: string, origin: string, method: string, headers = '') =>
  fetch(url, {
    method: 'OPTIONS',
    headers: {
      Origin: origin,
      'Access-Control-Request-Method': method,
      ...(headers ? { 'Access-Control-Request-Headers': headers } : {}),
    },
  })

const lastSeq = async (client: Client) =>
  (await client.ok<StreamBody>('GET /v1/streams/ORDERS')).state.last_seq

onEveryHost(
  {
    configText: authorizationText([ADMIN, ALICE, BOB]),
    env: { CORS_ORIGINS: LISTED.join(', ') },
    prepare: makeStreams,
  },
  (guarded) => {
    describe.each(LISTED)('a page of the listed origin %s', (origin) => {
      test('204 to a preflight of any path, without a credential, to be remembered', async () => {
        for (const path of [
          publishPath('orders.eu'),
          '/v1/tickets',
          '/v1/streams/ORDERS/messages',
          '/v1/acks',
        ]) {
          const answer = await preflight(guarded.bridge.url + path, origin, 'POST', 'authorization')

          expect(answer.status).toBe(204)
          expectReadable(answer, origin)
          expect(Number(answer.headers.get('Access-Control-Max-Age'))).toBeGreaterThanOrEqual(600)
          expect(list(answer.headers, 'Access-Control-Allow-Methods')).toEqual(
            expect.arrayContaining(['get', 'post', 'put', 'delete']),
          )
        }
      })

      test('may send any header that a page can send, since libraries add their own, and no others', async () => {
        const asked = (...names: string[]) =>
          preflight(guarded.bridge.url + publishPath('orders.eu'), origin, 'POST', names.join(', '))
        const allowedOf = async (...names: string[]) =>
          list((await asked(...names)).headers, 'Access-Control-Allow-Headers')
        const always = [
          'authorization',
          'baggage',
          'cache-control',
          'content-type',
          'idempotency-key',
          'if-match',
          'if-none-match',
          'last-event-id',
          'traceparent',
        ]
        const ofLibraries = [
          'pragma',
          'x-requested-with',
          'sentry-trace',
          'x-datadog-trace-id',
          'x-datadog-sampling-priority',
          'b3',
          'x-b3-traceid',
          'newrelic',
          'uber-trace-id',
          'request-id',
          'elastic-apm-traceparent',
        ]
        const families = ['natsh-order-id', 'nats-ttl', 'nats-expected-last-sequence', 'ce-type']
        const strange = [
          'cookie',
          'host',
          'x-forwarded-for',
          'forwarded',
          'proxy-authorization',
          'sec-fetch-site',
        ]

        expect(await allowedOf()).toEqual(expect.arrayContaining(always))
        const allowed = await allowedOf(...families, ...ofLibraries, ...strange, 'natsh-a b', 'a\u00e4', '')
        expect(allowed).toEqual(expect.arrayContaining([...always, ...families, ...ofLibraries]))
        for (const name of [...strange, 'natsh-a b', 'a\u00e4', '']) expect(allowed).not.toContain(name)
        // However many are asked for.
        const many = Array.from({ length: 400 }, (_, n) => `x-${n}`)
        expect((await allowedOf(...many)).length).toBeLessThan(100)
      })

      test('reads what a page of CloudEvents says in headers', async () => {
        const { headers } = await guarded.caller(ALICE).send('GET /v1/streams/ORDERS/messages', {
          headers: { Origin: origin, Accept: 'application/cloudevents-batch+json' },
        })
        expect(list(headers, 'Access-Control-Expose-Headers')).toEqual(
          expect.arrayContaining([...EXPOSED, 'sluice-cursor', 'sluice-up-to-date']),
        )
      })

      test('reads every answer: good ones, streams, and problems of each kind', async () => {
        const alice = guarded.caller(ALICE)
        const headers = { Origin: origin }
        const stream = '/v1/streams/ORDERS'
        await alice.publish('orders.eu', 'x')
        const one = await alice.send(`GET ${stream}/messages/1`, { headers })
        const asked: [status: number, client: Client, ...Parameters<Client['send']>][] = [
          [201, alice, `POST ${publishPath('orders.eu')}`, { headers, body: 'x' }],
          [200, alice, `GET ${stream}/messages`, { headers }],
          [200, alice, `GET ${stream}/messages`, { headers: { ...headers, Accept: 'application/x-ndjson' } }],
          [
            304,
            alice,
            `GET ${stream}/messages/1`,
            { headers: { ...headers, 'If-None-Match': one.headers.get('ETag') ?? '' } },
          ],
          [201, alice, 'POST /v1/tickets', { headers, json: { stream: 'ORDERS' } }],
          [200, guarded.bridge, 'GET /livez', { headers }],
          [200, guarded.bridge, 'GET /openapi.json', { headers }],
          [400, alice, `GET ${stream}/messages`, { headers, query: { unknown: 'x' } }],
          [400, alice, `GET ${stream}/messages`, { headers, query: { cursor: 'x' } }],
          [401, guarded.bridge, `GET ${stream}/messages`, { headers }],
          [401, guarded.caller({ ...ALICE, password: 'x' }), `GET ${stream}/messages`, { headers }],
          [403, guarded.caller(BOB), `GET ${stream}/messages`, { headers }],
          [404, alice, `GET ${stream}/messages/999`, { headers }],
          [404, alice, 'GET /nothing', { headers }],
          [405, alice, `PATCH ${stream}`, { headers }],
          [406, alice, `GET ${stream}/messages`, { headers: { ...headers, Accept: 'image/png' } }],
          [
            412,
            alice,
            `POST ${publishPath('orders.eu')}`,
            { headers: { ...headers, 'If-Match': '"999"' }, body: 'x' },
          ],
          [413, alice, `POST ${publishPath('orders.eu')}`, { headers, body: new Uint8Array(2_000_000) }],
          [
            415,
            alice,
            'POST /v1/acks',
            { headers: { ...headers, 'Content-Type': 'text/plain' }, body: '{}' },
          ],
        ]

        for (const [status, client, request, call] of asked) {
          const answer = await client.send(request, call)
          expect([request, answer.status]).toEqual([request, status])
          expectReadable(answer, origin)
        }
        const events = await openEvents(alice, `${stream}/messages`, { headers })
        expectReadable(events, origin)
        events.close()
      })
    })

    describe.each(NOT_LISTED)('a page of the origin %s, which is not listed', (origin) => {
      test('403 forbidden, unreadable, to a preflight and to a request, before anything is done', async () => {
        const alice = guarded.caller(ALICE)
        const before = await lastSeq(guarded.caller(ADMIN))
        const headers = { Origin: origin }

        const asked = await preflight(
          guarded.bridge.url + publishPath('orders.eu'),
          origin,
          'POST',
          'authorization',
        )
        expect(asked.status).toBe(403)
        expectUnreadable(asked)
        for (const [request, call] of [
          [`POST ${publishPath('orders.eu')}`, { headers, body: 'x' }],
          ['POST /v1/tickets', { headers, json: { stream: 'ORDERS' } }],
          ['GET /v1/streams/ORDERS/messages', { headers }],
          ['GET /v1/streams/ORDERS/messages', { headers: { ...headers, Accept: 'text/event-stream' } }],
          ['GET /nothing', { headers }],
        ] as const) {
          const answer = await alice.send(request, call)
          expectProblem(answer, 403, 'forbidden')
          expectUnreadable(answer)
          // Whoever looks at it in the browser's tools sees what to set, and what was compared.
          const { detail } = answer.body as { detail: string }
          for (const named of [origin, 'CORS_ORIGINS', new URL(guarded.bridge.url).host, 'PUBLIC_ORIGIN'])
            expect(detail).toContain(named)
        }

        expect(await lastSeq(guarded.caller(ADMIN))).toBe(before)
      })
    })

    test("the bridge's own pages need not be listed", async () => {
      const alice = guarded.caller(ALICE)
      const { url } = guarded.bridge
      const before = await lastSeq(guarded.caller(ADMIN))

      // Behind a proxy that ends TLS the page is of an https origin of the same host.
      for (const origin of [url, url.replace('http:', 'https:')]) {
        const answer = await alice.send(`POST ${publishPath('orders.eu')}`, {
          headers: { Origin: origin },
          body: 'x',
        })
        expect(answer.status).toBe(201)
        expectUnreadable(answer)
      }
      expect(await lastSeq(guarded.caller(ADMIN))).toBe(before + 2)
    })

    test('a client that is no browser is not asked where it comes from', async () => {
      const answer = await guarded.caller(ALICE).send('GET /v1/streams/ORDERS/messages')

      expect(answer.status).toBe(200)
      expectUnreadable(answer)
    })
  },
)

const simplePublish = ({ bridge }: Guarded, origin: string) =>
  fetch(bridge.url + publishPath('orders.eu'), {
    method: 'POST',
    headers: { Origin: origin, 'Content-Type': 'text/plain', Authorization: basic(ALICE) },
    body: 'by somebody else',
  })

onEveryHost({ configText: '', env: { AUTH: 'none' } }, (guarded) => {
  test('where no origin is listed none may call, not even what a browser sends without asking first', async () => {
    await makeStream(guarded.bridge, 'ORDERS', 'orders.>')

    for (const origin of [...LISTED, ...NOT_LISTED, 'http://127.0.0.1', 'http://localhost']) {
      const answer = await simplePublish(guarded, origin)
      expect([origin, answer.status]).toEqual([origin, 403])
      expectUnreadable(answer)
    }
    expect(await lastSeq(guarded.bridge)).toBe(0)
  })
})
