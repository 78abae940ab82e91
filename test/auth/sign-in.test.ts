/** The order of signing in: nothing of a request is looked at, read or kept before NATS has accepted who sends it. */
import { describe, expect, test } from 'vitest'
import { openEvents } from '../contract/events.ts'
import { range, until } from '../contract/expectations.ts'
import { openRaw } from '../contract/raw.ts'
import { startHost } from '../support/host.ts'
import { parseExposition } from '../support/prometheus.ts'
import { as, authorizationText, basic, expectProblem, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const WRONG = { ...ALICE, password: 'wrong' }
const MANY = 300
const MOST = 3
const FIGURES = 'figures-secret-91d2'

const configText = authorizationText([ADMIN, ALICE, BOB])

/** Requests that are refused for their form when somebody sends them who may. */
const MALFORMED = [
  ['no JSON', 'POST', '/v1/acks', { 'Content-Type': 'application/json' }, '{', 400],
  ['another type', 'POST', '/v1/streams', { 'Content-Type': 'text/plain' }, '{}', 415],
  ['too much', 'POST', '/v1/acks', { 'Content-Type': 'application/json' }, ' '.repeat(2_000_000), 413],
  ['an unknown field', 'POST', '/v1/streams', { 'Content-Type': 'application/json' }, '{"x":1}', 400],
  ['a bad parameter', 'GET', '/v1/streams?limit=x', {}, undefined, 400],
  ['a wildcard', 'POST', '/v1/subjects/orders.*/messages', {}, 'x', 400],
  ['a bad batch', 'POST', '/v1/messages', { 'Content-Type': 'application/json' }, '{', 400],
  ['no such path', 'GET', '/v1/nothing', {}, undefined, 404],
  ['no such method', 'PUT', '/v1/acks', { 'Content-Type': 'application/json' }, '{}', 405],
] as const

onEveryHost({ configText, prepare: makeStreams }, (guarded) => {
  test.each(MALFORMED)(
    '401 before anything else is looked at: %s',
    async (_, method, path, headers, body, status) => {
      const send = (authorization: string) =>
        fetch(guarded.host.url + path, {
          method,
          headers: { ...headers, Authorization: authorization },
          ...(body === undefined ? {} : { body }),
        })
      const refused = await send(basic(WRONG))
      expect([refused.status, await refused.json()]).toMatchObject([401, { code: 'unauthenticated' }])
      const heard = await send(basic(ALICE))
      expect(heard.status).toBe(status)
      await heard.body?.cancel()
    },
  )

  test.each([
    ['/v1/subjects/orders.a/messages', 'text/plain'],
    ['/v1/messages', 'application/json'],
    ['/v1/messages', 'application/x-ndjson'],
    ['/v1/acks', 'application/json'],
  ])('401 to POST %s of %s while its body is still to come', async (target, type) => {
    const connection = await openRaw(guarded.host.url, {
      method: 'POST',
      target,
      headers: { Authorization: basic(WRONG), 'Content-Type': type, 'Content-Length': '1000' },
      body: 'x',
    })
    expect((await connection.head()).status).toBe(401)
    connection.reset()
  })
})

describe('places of a Node host', () => {
  onEveryHost(
    {
      configText,
      env: { MAX_CONNECTIONS: `${MOST}`, METRICS_TOKEN: FIGURES },
      hosts: ['node'],
      // What a reader follows is there again when NATS is.
      prepare: (guarded) => makeStreams(guarded, 'file'),
    },
    (guarded) => {
      const figures = async () => {
        const { bytes } = await as(guarded.bridge, `Bearer ${FIGURES}`).send('GET /metrics')
        return parseExposition(Buffer.from(bytes).toString())
      }

      test(`${MANY} wrong credentials at once take nothing from one that is right, and leave nothing`, async () => {
        const wrong = range(1, MANY).map((n) =>
          guarded.caller({ ...BOB, password: `wrong-${n}` }).send('GET /v1/streams/INVOICES'),
        )
        for (const _ of range(1, 10))
          expect((await guarded.caller(ALICE).send('GET /v1/streams/ORDERS')).status).toBe(200)
        for (const answer of await Promise.all(wrong)) expectProblem(answer, 401, 'unauthenticated')
        await until('no session but two of users, and that of nobody', async () => {
          const left = await figures()
          return left.total('sluice_sessions') <= 2 && left.total('sluice_nats_connections') <= 2
        })
      })

      test('made-up credentials do not displace who waits for NATS to come back', async () => {
        const alice = guarded.caller(ALICE)
        const events = await openEvents(alice, '/v1/streams/ORDERS/messages?start=new')
        await guarded.nats.stop()
        for (const n of range(1, 2 * MOST))
          expectProblem(
            await guarded.caller({ ...BOB, password: `made-up-${n}` }).send('GET /v1/streams/INVOICES'),
            503,
            'jetstream_unavailable',
          )
        await guarded.nats.restart()
        const connections = async () => {
          const answer = await fetch(`${guarded.nats.monitorUrl}/connz?auth=true`)
          const { connections: all } = (await answer.json()) as {
            connections: { authorized_user?: string }[]
          }
          return all.filter(({ authorized_user }) => authorized_user === ALICE.name).length
        }
        await until('alice is back', async () => (await alice.send('GET /v1/streams/ORDERS')).status === 200)
        await until('one connection of alice', async () => (await connections()) === 1)
        expect(events.ended()).toBe(false)
        events.close()
      })

      test('503 host_full over MAX_SIGN_INS, and a place again once NATS has answered', async () => {
        const host = await startHost('node', {
          natsUrl: guarded.nats.wsUrl,
          env: { ...guarded.env, MAX_SIGN_INS: '1' },
        })
        try {
          const ask = async (authorization: string) => {
            const answer = await fetch(`${host.url}/v1/streams/ORDERS`, {
              headers: { Authorization: authorization },
            })
            await answer.body?.cancel()
            return answer.status
          }
          expect(await ask(basic(ALICE))).toBe(200)
          await guarded.nats.pause()
          try {
            const first = ask(basic(BOB))
            expect(await ask(basic(ADMIN))).toBe(503)
            guarded.nats.resume()
            expect([403, 200]).toContain(await first)
          } finally {
            guarded.nats.resume()
          }
          expect(await ask(basic(ADMIN))).toBe(200)
        } finally {
          await host.stop()
        }
      })
    },
  )
})
