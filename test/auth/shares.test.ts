/** The proof that one tenant never has all of a host, and that what makes no progress ends. */
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { publishPath } from '../contract/client.ts'
import { problem, range, until } from '../contract/expectations.ts'
import { parseExposition } from '../support/prometheus.ts'
import { authorizationText, basic, type Guarded, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const KIB = 1_024
const USERS = { configText: authorizationText([ADMIN, ALICE, BOB]), prepare: makeStreams }
const SILENCE_MS = 60_000
const isNode = (guarded: Guarded) => guarded.host.name === 'node'

const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
})

/** Alice begins a request with a body of which no more than `part` comes. Answers what she hears. */
function stall(guarded: Guarded, path: string, type: string, part: Buffer): Promise<string> {
  const { host, hostname, port } = new URL(guarded.host.url)
  const socket = connect(Number(port), hostname)
  sockets.push(socket)
  socket.on('error', () => {})
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${basic(ALICE)}\r\n` +
      `Content-Type: ${type}\r\nContent-Length: ${part.length + 1_000}\r\n\r\n`,
  )
  socket.write(part)
  const heard: Buffer[] = []
  socket.on('data', (chunk) => heard.push(chunk))
  return new Promise((resolve) => {
    socket.on('data', () => {
      const text = Buffer.concat(heard).toString()
      if (/\r\n\r\n[\s\S]*\}/.test(text)) resolve(text)
    })
    socket.on('close', () => resolve(Buffer.concat(heard).toString()))
  })
}

/** What a host shows: on Node of everybody, on Workers of alice's Durable Object and its isolate. */
const figure = async (guarded: Guarded, name: string, labels: Record<string, string> = {}) => {
  const answer = await fetch(`${guarded.host.url}/metrics`, {
    headers: {
      Authorization: isNode(guarded) ? `Bearer ${METRICS_TOKEN}` : basic(ALICE),
    },
  })
  return parseExposition(await answer.text()).total(name, labels)
}
const METRICS_TOKEN = 'token-for-the-figures'
const batch = { messages: [{ subject: 'invoices.eu', data: 'x' }] }

onEveryHost(
  { ...USERS, env: { MAX_PUBLISHERS: '8', METRICS_TOKEN, BODY_SILENCE_MS: String(SILENCE_MS) } },
  (guarded) => {
    test('batches of one tenant whose bodies do not come leave slots to another', async () => {
      for (const _ of range(1, 8)) void stall(guarded, '/v1/messages', 'application/json', Buffer.from('{'))
      const most = isNode(guarded) ? 4 : 8
      await until(
        'alice to have her share',
        async () => (await figure(guarded, 'sluice_publishing_requests')) === most,
      )

      const own = await guarded.caller(ALICE).send('POST /v1/messages', { json: batch })
      expect(own).toMatchObject(
        isNode(guarded) ? problem(429, 'too_many_requests') : problem(503, 'host_full'),
      )
      expect(await guarded.caller(BOB).send('POST /v1/messages', { json: batch })).toMatchObject({
        status: 200,
      })
    })
  },
)

onEveryHost(
  {
    ...USERS,
    env: { MAX_MEMORY_BYTES: String(2_048 * KIB), METRICS_TOKEN, BODY_SILENCE_MS: String(SILENCE_MS) },
  },
  (guarded) => {
    test('stalled uploads of one tenant leave memory to another, on Workers too, where both share an isolate', async () => {
      const part = Buffer.alloc(100 * KIB)
      const heard = range(1, 20).map(() => stall(guarded, publishPath('orders.eu'), 'text/plain', part))
      const refused = await Promise.race(heard)
      expect(refused).toMatch(/ 429 [\s\S]*"code":"too_many_requests"/)
      await until(
        'alice to have her share',
        async () => (await figure(guarded, 'sluice_held_bytes')) >= 900 * KIB,
      )
      expect(await figure(guarded, 'sluice_held_bytes')).toBeLessThanOrEqual(1_024 * KIB)

      expect((await guarded.caller(BOB).publish('invoices.eu', 'hello')).seq).toBeGreaterThan(0)
      const large = await guarded
        .caller(BOB)
        .send(`POST ${publishPath('invoices.eu')}`, { body: Buffer.alloc(300 * KIB) })
      expect(large.status).toBe(201)

      const limits = await guarded.caller(BOB).ok<{ limits: object }>('GET /v1/capabilities')
      expect(limits.limits).toMatchObject({
        max_memory_bytes: 2_048 * KIB,
        max_memory_bytes_per_tenant: 1_024 * KIB,
      })
    })
  },
)

onEveryHost({ ...USERS, env: { MAX_MEMORY_BYTES: String(4_096 * KIB), METRICS_TOKEN } }, (guarded) => {
  test('lines of one tenant that do not end leave memory to another, and are counted until they are gone', async () => {
    const part = Buffer.from(`{"subject":"orders.eu","data":"${'x'.repeat(900 * KIB)}`)
    const begin = () => stall(guarded, '/v1/messages', 'application/x-ndjson', part)
    const held = () => figure(guarded, 'sluice_held_bytes')
    for (const _ of range(1, 2)) void begin()
    await until('alice to have two of them', async () => (await held()) > 1_800 * KIB)
    expect(await begin()).toMatch(/"code":"too_many_requests"[\s\S]*"next_index":0/)
    expect(await held()).toBeLessThanOrEqual(2_048 * KIB)

    const body = Buffer.alloc(600 * KIB)
    expect((await guarded.caller(BOB).send(`POST ${publishPath('invoices.eu')}`, { body })).status).toBe(201)

    for (const socket of sockets) socket.destroy()
    await until('all to be given back', async () => (await held()) === 0)
  })
})

onEveryHost({ ...USERS, env: { METRICS_TOKEN, BODY_SILENCE_MS: '300' } }, (guarded) => {
  test('the end of lines whose rest does not come, where much of one is kept', async () => {
    const part = Buffer.from(`{"subject":"orders.eu","data":"${'x'.repeat(900 * KIB)}`)
    const heard = await stall(guarded, '/v1/messages', 'application/x-ndjson', part)
    expect(heard).toMatch(/"code":"body_timeout"[\s\S]*"next_index":0/)
  })

  describe('408 body_timeout', () => {
    test.each([
      ['a batch, small', '/v1/messages', 'application/json', Buffer.from('{')],
      ['a batch, large', '/v1/messages', 'application/json', Buffer.alloc(100 * KIB, ' ')],
      ['an event', '/v1/messages', 'application/cloudevents+json', Buffer.from('{')],
      ['acks', '/v1/acks', 'application/json', Buffer.from('{')],
      ['acks, large', '/v1/acks', 'application/json', Buffer.alloc(100 * KIB, ' ')],
      ['a stream', '/v1/streams', 'application/json', Buffer.from('{')],
      ['a ticket', '/v1/tickets', 'application/json', Buffer.from('{')],
      ['a pull', '/v1/streams/ORDERS/consumers/billing/pull', 'application/json', Buffer.from('{')],
      ['a publish, small', publishPath('orders.eu'), 'text/plain', Buffer.from('{')],
      ['a publish, large', publishPath('orders.eu'), 'text/plain', Buffer.alloc(100 * KIB)],
    ])('for %s, whose rest does not come; slots and bytes are given back', async (_, path, type, part) => {
      expect(await stall(guarded, path, type, part)).toMatch(/ 408 [\s\S]*"code":"body_timeout"/)
      expect(await figure(guarded, 'sluice_publishing_requests')).toBe(0)
      expect(await figure(guarded, 'sluice_held_bytes')).toBe(0)
    })
  })
})
