/** The proof of where the bridge may be called, and where its links lead, on this machine and behind a proxy. */
import { request as ask } from 'node:http'
import { beforeAll, describe, expect, test } from 'vitest'
import { publishPath } from '../contract/client.ts'
import { createTicket, onEveryHost, type Ticket } from './support.ts'
import { makeStream } from './users.ts'

interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly body: { readonly detail?: string; readonly code?: string; readonly url?: string }
}

/** As a proxy or a browser asks: with a `Host` that is not the bridge's address. */
function askAs(
  url: string,
  host: string,
  call: { method?: string; path?: string; headers?: Record<string, string>; body?: string } = {},
) {
  const { hostname, port } = new URL(url)
  const { method = 'GET', path = '/v1/streams', headers = {}, body = '' } = call
  const length = body === '' ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }
  return new Promise<Answered>((resolve, reject) => {
    const sent = ask(
      { hostname, port, method, path, headers: { ...headers, ...length, Host: host } },
      async (answer) => {
        const text = Buffer.concat(await answer.toArray()).toString()
        const isJson = /json/.test(answer.headers['content-type'] ?? '') && text !== ''
        resolve({
          status: answer.statusCode ?? 0,
          headers: new Headers(answer.headers as Record<string, string>),
          body: isJson ? JSON.parse(text) : {},
        })
      },
    )
    sent.on('error', reject)
    sent.end(body)
  })
}

onEveryHost(
  { configText: '', env: { AUTH: 'none', LOOPBACK_ONLY: 'true', PUBLIC_ORIGIN: 'https://bus.example.com' } },
  (guarded) => {
    const port = () => new URL(guarded.bridge.url).port

    describe('on the loopback alone', () => {
      test.each([
        '127.0.0.1',
        '127.0.0.1:1',
        '127.8.9.10',
        '[::1]',
        '[::1]:8787',
        'localhost',
        'LOCALHOST:1',
        'a.b.localhost',
        'localhost.',
        'bus.example.com',
      ])('it answers as Host %s', async (host) => {
        expect((await askAs(guarded.bridge.url, host)).status).toBe(200)
      })

      test.each([
        'evil.example',
        '127.0.0.1.evil.example',
        'localhost.evil.example',
        'mylocalhost',
        '10.0.0.1',
        '0.0.0.0',
        '[::2]',
        '1127.0.0.1',
        'bus.example.com.evil.example',
      ])('403 forbidden as Host %s, which a page may have led here, whatever is asked for', async (host) => {
        const named = `${host}:${port()}`
        for (const call of [
          {},
          { path: '/livez' },
          { path: '/docs' },
          { method: 'POST', path: publishPath('work.a'), headers: { Origin: `http://${named}` }, body: 'x' },
          {
            method: 'OPTIONS',
            headers: { Origin: `http://${named}`, 'Access-Control-Request-Method': 'POST' },
          },
        ]) {
          const { status, headers, body } = await askAs(guarded.bridge.url, named, call)
          expect([status, body.code]).toEqual([403, 'forbidden'])
          expect(headers.get('Access-Control-Allow-Origin')).toBeNull()
          for (const word of [host, 'LOOPBACK_ONLY', 'PUBLIC_ORIGIN']) expect(body.detail).toContain(word)
        }
      })
    })
  },
)

onEveryHost({ configText: '', env: { AUTH: 'none' } }, (guarded) => {
  const publish = (host: string, origin: string) =>
    askAs(guarded.bridge.url, host, {
      method: 'POST',
      path: publishPath('work.a'),
      headers: { Origin: origin, 'Sec-Fetch-Site': 'same-origin' },
      body: 'x',
    })
  beforeAll(() => makeStream(guarded.bridge, 'WORK', 'work.>'))

  test('behind a proxy that rewrites Host a page of its own origin is told what was compared and what to set', async () => {
    const { status, body } = await publish('127.0.0.1:8787', 'https://bus.example.com')

    expect(status).toBe(403)
    for (const word of ['https://bus.example.com', '127.0.0.1:8787', 'PUBLIC_ORIGIN', 'CORS_ORIGINS'])
      expect(body.detail).toContain(word)
  })

  test('an origin is shown as it came, however long, and no more of it than a line', async () => {
    const { status, body } = await publish('127.0.0.1', `https://${'a'.repeat(4_000)}.example`)

    expect(status).toBe(403)
    expect(body.detail?.length).toBeLessThan(1_000)
  })
})

const PUBLIC = 'https://bus.example.com'
const SECOND = 'http://intranet.example:8080'
onEveryHost(
  {
    configText: '',
    env: {
      AUTH: 'none',
      LOOPBACK_ONLY: 'true',
      PUBLIC_ORIGIN: `${PUBLIC}, ${SECOND}`,
      PUBLIC_PATH: '/nats/',
    },
  },
  (guarded) => {
    beforeAll(() => makeStream(guarded.bridge, 'WORK', 'work.>'))

    test.each([PUBLIC, SECOND])(
      'a page and the bridge are on one origin behind a proxy: %s',
      async (origin) => {
        for (const site of ['same-origin', 'cross-site']) {
          const { status, headers } = await askAs(guarded.bridge.url, '127.0.0.1:8787', {
            method: 'POST',
            path: publishPath('work.a'),
            headers: { Origin: origin, 'Sec-Fetch-Site': site },
            body: 'x',
          })
          expect(status).toBe(201)
          expect(headers.get('Location')).toMatch(/^\/nats\/v1\/streams\/WORK\/messages\/\d+$/)
        }
      },
    )

    test('whatever leads somewhere leads through the path of the proxy', async () => {
      const { bridge } = guarded
      const made = await bridge.send('POST /v1/streams', {
        json: { name: 'OTHER', subjects: ['other.>'], storage: 'memory' },
      })
      expect(made.headers.get('Location')).toBe('/nats/v1/streams/OTHER')
      const page = await bridge.send('GET /v1/streams/WORK/messages?limit=1')
      expect(page.headers.get('Link')).toMatch(
        /^<\/nats\/v1\/streams\/WORK\/messages\?limit=1&cursor=[^>]+>; rel="next"$/,
      )
      const refused = await bridge.send('GET /v1/streams/NOTHING')
      expect(refused.body).toMatchObject({ type: '/nats/docs#stream_not_found' })
      const { results } = await bridge.ok<{ results: { error: { type: string } }[] }>('POST /v1/acks', {
        json: { acks: [{ token: 'x', action: 'ack' }] },
      })
      expect(results[0]?.error.type).toBe('/nats/docs#ack_token_invalid')
      const contract = await bridge.ok<{ servers: { url: string }[] }>('GET /openapi.json')
      expect(contract.servers.map(({ url }) => url)).toEqual(['/nats/'])
      const docs = await (await fetch(`${bridge.url}/docs`)).text()
      for (const [, link = ''] of docs.matchAll(/href="([^"]*)"/g)) expect(link).toMatch(/^(#|\/nats\/)/)
      const first = await fetch(`${bridge.url}/`, { redirect: 'manual' })
      expect(first.headers.get('Location')).toBe('/nats/docs')
    })

    test("a ticket's URL is of the page that asked for it, else of the first origin", async () => {
      const urlFor = async (headers: Record<string, string>) =>
        new URL(
          (await guarded.bridge.ok<Ticket>('POST /v1/tickets', { json: { stream: 'WORK' }, headers })).url,
        )
      for (const [headers, origin] of [
        [{ Origin: SECOND }, SECOND],
        [{ Origin: PUBLIC }, PUBLIC],
        [{}, PUBLIC],
      ] as const) {
        const url = await urlFor(headers)
        expect([url.origin, url.pathname]).toEqual([origin, '/nats/v1/streams/WORK/messages'])
      }
      expect((await createTicket(guarded.bridge, { stream: 'WORK' })).url).toMatch(/^https:/)
    })
  },
)
