/** The proof that a request means the same however it is spelled, on every host. */
import { request } from 'node:http'
import { describe, expect, test } from 'vitest'
import { readSettings } from '../../src/settings.ts'
import { newTokenKey } from '../support/host.ts'
import { as, authorizationText, basic, expectProblem, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const LISTED = 'https://app.example.com'

/** The status of a request whose path is sent as it is written, which `fetch` would tidy. */
const statusOf = (url: string, method: string, path: string, headers: Record<string, string>) =>
  new Promise<number | undefined>((resolve, reject) => {
    const sent = request(url, { method, path, headers }, (answer) => {
      answer.resume()
      resolve(answer.statusCode)
    })
    sent.on('error', reject)
    sent.end()
  })

onEveryHost(
  {
    configText: authorizationText([ADMIN, ALICE, BOB]),
    // As an operator may write what a browser sends as https://app.example.com.
    env: { CORS_ORIGINS: 'https://APP.example.com:443' },
    prepare: makeStreams,
  },
  (guarded) => {
    test.each(['/v1/streams', '/v%31/streams', '/v1/str%65ams'])(
      '200 for %s with a credential, 401 without',
      async (path) => {
        const { url } = guarded.bridge

        expect(await statusOf(url, 'GET', path, { Authorization: basic(ADMIN) })).toBe(200)
        expect(await statusOf(url, 'GET', path, {})).toBe(401)
      },
    )

    test('405 for OPTIONS that is no preflight, 401 without a credential', async () => {
      const { url } = guarded.bridge

      expect(await statusOf(url, 'OPTIONS', '/v1/streams', { Authorization: basic(ADMIN) })).toBe(405)
      expect(await statusOf(url, 'OPTIONS', '/v1/streams', {})).toBe(401)
    })

    test('a listed origin is one however it is written in the settings', async () => {
      const answer = await as(guarded.bridge, basic(ALICE)).send('GET /v1/streams/ORDERS', {
        headers: { Origin: LISTED },
      })

      expect(answer.status).toBe(200)
      expect(answer.headers.get('Access-Control-Allow-Origin')).toBe(LISTED)
    })

    test.each(['/livez', '/readyz', '/openapi.json', '/docs'])(
      '403 forbidden for %s and a page of another origin',
      async (path) => {
        const headers = { Origin: 'https://not-listed.example.net' }
        expectProblem(await guarded.bridge.send(`GET ${path}`, { headers }), 403, 'forbidden')
      },
    )
  },
)

describe('settings', () => {
  const good = { AUTH: 'nats', TOKEN_KEYS: newTokenKey(), NATS_URL: 'wss://nats.example.com' }

  test.each([
    'https://a.example.com?x',
    'https://a.example.com#x',
    'https://user@a.example.com',
    'https://a:b',
  ])('refuse %s as an origin', (origin) => {
    expect(() => readSettings({ ...good, CORS_ORIGINS: origin })).toThrow('Bad settings. CORS_ORIGINS: ')
  })

  test('refuse a user in the address of NATS, which would be ignored', () => {
    const NATS_URL = 'wss://user:password@nats.example.com/path'

    expect(() => readSettings({ ...good, NATS_URL })).toThrow(/^Bad settings\. NATS_URL: (?!.*password)/)
    expect(readSettings({ ...good, NATS_URL: 'wss://nats.example.com/path' }).NATS_URL).toEqual([
      'wss://nats.example.com/path',
    ])
  })
})
