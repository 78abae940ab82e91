/** The proof of what a ticket opens, and that it opens nothing else. */
import { describe, expect, test } from 'vitest'
import { type Call, createClient, type Delivery, type Message, publishPath } from '../contract/client.ts'
import { openEvents } from '../contract/events.ts'
import { at, range } from '../contract/expectations.ts'
import { HOSTS, startHost } from '../support/host.ts'
import { startNats } from '../support/nats.ts'
import {
  as,
  authorizationText,
  createTicket,
  expectProblem,
  onEveryHost,
  pathOf,
  type Ticket,
} from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const STREAM = '/v1/streams/ORDERS'
const CONSUMER = `${STREAM}/consumers/billing`
const EVENTS = { Accept: 'text/event-stream' }

onEveryHost({ configText: authorizationText([ADMIN, ALICE, BOB]), prepare: makeStreams }, (guarded) => {
  describe('a ticket', () => {
    test('opens its stream without any other credential, with its filter, from its start', async () => {
      const alice = guarded.caller(ALICE)
      for (const n of range(1, 4)) await alice.publish(n % 2 ? 'orders.eu' : 'orders.us', `${n}`)
      const ticket = await createTicket(alice, { stream: 'ORDERS', subjects: ['orders.us'], start: 'tail:2' })

      expect(ticket.url.startsWith(`${guarded.bridge.url}${STREAM}/messages?ticket=`)).toBe(true)
      const events = await openEvents(guarded.bridge, pathOf(ticket))
      const messages = await events.take<Message>('message', 2)
      expect(messages.map(({ data }) => data)).toEqual(['2', '4'])
      await alice.publish('orders.eu', 'filtered out')
      await alice.publish('orders.us', 'live')
      expect(at(await events.take<Message>('message', 3), 2).data).toBe('live')
      events.close()
    })

    test("opens a consumer's messages, which its page acknowledges with its credential", async () => {
      const alice = guarded.caller(ALICE)
      await alice.publish('orders.eu', 'to be acked')
      const events = await openEvents(
        guarded.bridge,
        pathOf(await createTicket(alice, { stream: 'ORDERS', consumer: 'billing' })),
      )

      const [delivery] = await events.take<Delivery>('message', 1)
      const token = delivery?.ack_token ?? ''
      expectProblem(
        await guarded.bridge.send('POST /v1/acks', { json: { acks: [{ token, action: 'ack' }] } }),
        401,
        'unauthenticated',
      )
      expect(await alice.settle({ token, action: 'ack' })).toEqual([{ status: 'ok' }])
      events.close()
    })

    test('has an https URL behind a proxy that ends TLS', async () => {
      const alice = guarded.caller(ALICE)
      const made = await alice.ok<Ticket>('POST /v1/tickets', {
        json: { stream: 'ORDERS' },
        headers: { 'X-Forwarded-Proto': 'https' },
      })

      expect(made.url.startsWith(`${guarded.bridge.url.replace('http:', 'https:')}${STREAM}`)).toBe(true)
    })

    test('400 naming subjects where they are too long to go into a URL', async () => {
      const subjects = range(1, 32).map((n) => `orders.${n}.${'x'.repeat(1_000)}`)
      const answer = await guarded
        .caller(ALICE)
        .send('POST /v1/tickets', { json: { stream: 'ORDERS', subjects } })

      expectProblem(answer, 400, 'invalid_request')
      expect(answer.body).toMatchObject({ errors: [{ field: 'subjects' }] })
    })

    test('cannot be made without a credential, by a ticket, or for what its maker may not read', async () => {
      const { ticket } = await createTicket(guarded.caller(ALICE), { stream: 'ORDERS' })
      const json = { stream: 'ORDERS' }

      expectProblem(await guarded.bridge.send('POST /v1/tickets', { json }), 401, 'unauthenticated')
      expectProblem(
        await guarded.bridge.send('POST /v1/tickets', { json, query: { ticket } }),
        401,
        'unauthenticated',
      )
      expectProblem(await guarded.caller(BOB).send('POST /v1/tickets', { json }), 403, 'forbidden')
    })

    test('is of no use as another credential or token', async () => {
      const alice = guarded.caller(ALICE)
      const { ticket } = await createTicket(alice, { stream: 'ORDERS' })

      for (const authorization of [`Bearer ${ticket}`, `Basic ${ticket}`, `Ticket ${ticket}`]) {
        expectProblem(await as(guarded.bridge, authorization).send(`GET ${STREAM}`), 401, 'unauthenticated')
      }
      for (const [call, request] of [
        [{ query: { cursor: ticket } }, `GET ${STREAM}/messages`],
        [{ headers: { ...EVENTS, 'Last-Event-ID': ticket } }, `GET ${STREAM}/messages`],
        [{ json: { stream: 'ORDERS', cursor: ticket } }, 'POST /v1/tickets'],
      ] as const) {
        expectProblem(await alice.send(request, call), 400, 'cursor_invalid')
      }
      expect(await alice.settle({ token: ticket, action: 'ack' })).toEqual([
        { error: expect.objectContaining({ code: 'ack_token_invalid' }) },
      ])
    })

    const elsewhere: [request: string, call?: Call][] = [
      [`GET ${STREAM}/messages`],
      [`GET ${STREAM}/messages`, { headers: { Accept: 'application/json' } }],
      [`GET ${STREAM}/messages`, { headers: { Accept: 'application/x-ndjson' } }],
      [`GET ${STREAM}/messages`, { headers: EVENTS, query: { subject: 'orders.>' } }],
      [`GET ${STREAM}/messages`, { headers: EVENTS, query: { start: 'beginning' } }],
      [`GET ${STREAM}/messages`, { headers: EVENTS, query: { cursor: 'x' } }],
      [`GET ${STREAM}/messages`, { headers: EVENTS, query: { on_gap: 'error' } }],
      [`GET ${STREAM}/messages`, { headers: EVENTS, query: { limit: '1' } }],
      ['GET /v1/streams/INVOICES/messages', { headers: EVENTS }],
      [`GET ${CONSUMER}/messages`, { headers: EVENTS }],
      [`GET ${STREAM}/messages/1`],
      [`GET ${STREAM}/messages/last`],
      [`DELETE ${STREAM}/messages/1`],
      [`GET ${STREAM}`],
      [`PUT ${STREAM}`, { json: { subjects: ['orders.>', 'more.>'] } }],
      [`DELETE ${STREAM}`],
      [`POST ${STREAM}/purge`, { json: {} }],
      [`GET ${STREAM}/subjects`],
      [`GET ${STREAM}/consumers`],
      [`GET ${CONSUMER}`],
      [`PUT ${CONSUMER}`, { json: {} }],
      [`DELETE ${CONSUMER}`],
      [`POST ${CONSUMER}/pull`, { json: {} }],
      [`POST ${CONSUMER}/reset`, { json: {} }],
      ['GET /v1/streams'],
      ['GET /v1/capabilities'],
      ['POST /v1/streams', { json: { name: 'MORE', subjects: ['more.>'] } }],
      ['POST /v1/acks', { json: { acks: [{ token: 'x', action: 'ack' }] } }],
      [`POST ${publishPath('orders.eu')}`, { body: 'by a ticket' }],
    ]

    test('is refused everywhere else, and without effect', async () => {
      const admin = guarded.caller(ADMIN)
      // The most powerful user there is: what is refused here is refused to the ticket, not to its user.
      const { ticket } = await createTicket(admin, { stream: 'ORDERS' })
      const state = () =>
        Promise.all([admin.ok(`GET ${STREAM}`), admin.ok(`GET ${CONSUMER}`), admin.ok('GET /v1/streams')])
      const before = await state()

      for (const [request, call = {}] of elsewhere) {
        const answer = await guarded.bridge.send(request, { ...call, query: { ...call.query, ticket } })
        expect([400, 401], `${request} ${JSON.stringify(call)} → ${answer.status}`).toContain(answer.status)
      }

      // The pull of an earlier test's reader may end only now.
      const passing = /"cursor":"[^"]*"|"num_waiting":\d+/g
      const lasting = (all: unknown) => JSON.stringify(all).replace(passing, '')
      expect(lasting(await state())).toBe(lasting(before))
    })

    test("of a consumer is refused for a read by cursor, and for another consumer's messages", async () => {
      const alice = guarded.caller(ALICE)
      await alice.ok(`PUT ${STREAM}/consumers/other`, { json: {} })
      const { ticket } = await createTicket(alice, { stream: 'ORDERS', consumer: 'billing' })

      for (const path of [`${STREAM}/messages`, `${STREAM}/consumers/other/messages`]) {
        const answer = await guarded.bridge.send(`GET ${path}`, { headers: EVENTS, query: { ticket } })
        expectProblem(answer, 401, 'ticket_invalid')
      }
    })
  })
})

describe.each(HOSTS)('on %s', (hostName) => {
  test('401 ticket_invalid with AUTH=nats for a ticket that was made with AUTH=none and the same keys', async () => {
    const nats = await startNats({ configText: '' })
    const open = await startHost(hostName, {
      natsUrl: nats.wsUrl,
      env: { TOKEN_KEYS: `k1:${'k'.repeat(43)}` },
    })
    const guarded = await startHost(hostName, {
      natsUrl: nats.wsUrl,
      env: { AUTH: 'nats', TOKEN_KEYS: `k1:${'k'.repeat(43)}` },
    })
    const [anyone, stranger] = [await createClient(open.url), await createClient(guarded.url)]
    await anyone.ok('POST /v1/streams', {
      json: { name: 'ORDERS', subjects: ['orders.>'], storage: 'memory' },
    })
    const path = pathOf(await createTicket(anyone, { stream: 'ORDERS' }))

    const events = await openEvents(anyone, path)
    events.close()
    expectProblem(await stranger.send(`GET ${path}`, { headers: EVENTS }), 401, 'ticket_invalid')
    for (const { stop } of [open, guarded, nats]) await stop()
  })
})
