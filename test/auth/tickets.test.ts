/** Owns the proof of what a ticket opens, for how long, and that it opens nothing else. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type Call,
  type Client,
  createClient,
  type Delivery,
  type Message,
  publishPath,
} from '../contract/client.ts'
import { type EventStream, openEvents } from '../contract/events.ts'
import { at, range, seqs } from '../contract/expectations.ts'
import { HOSTS, startHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { type ClockedBridge, startClockedBridge } from './clocked-bridge.ts'
import { as, authorizationText, basic, expectProblem, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

interface Ticket {
  readonly ticket: string
  readonly url: string
  readonly open_until: string
  readonly valid_until: string
}

const STREAM = '/v1/streams/ORDERS'
const CONSUMER = `${STREAM}/consumers/billing`
const EVENTS = { Accept: 'text/event-stream' }
const MINUTE_MS = 60_000

const create = (client: Client, json: object) => client.ok<Ticket>('POST /v1/tickets', { json })
const pathOf = ({ url }: Ticket) => new URL(url).pathname + new URL(url).search
const idsOf = (events: EventStream) =>
  events.events.filter(({ event }) => event === 'message').map(({ id = '' }) => id)

onEveryHost({ configText: authorizationText([ADMIN, ALICE, BOB]), prepare: makeStreams }, (guarded) => {
  describe('a ticket', () => {
    test('opens its stream without any other credential, with its filter, from its start', async () => {
      const alice = guarded.caller(ALICE)
      for (const n of range(1, 4)) await alice.publish(n % 2 ? 'orders.eu' : 'orders.us', `${n}`)
      const ticket = await create(alice, { stream: 'ORDERS', subjects: ['orders.us'], start: 'tail:2' })

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
        pathOf(await create(alice, { stream: 'ORDERS', consumer: 'billing' })),
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
      const { ticket } = await create(guarded.caller(ALICE), { stream: 'ORDERS' })
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
      const { ticket } = await create(alice, { stream: 'ORDERS' })

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
      const { ticket } = await create(admin, { stream: 'ORDERS' })
      const state = () =>
        Promise.all([admin.ok(`GET ${STREAM}`), admin.ok(`GET ${CONSUMER}`), admin.ok('GET /v1/streams')])
      const before = await state()

      for (const [request, call = {}] of elsewhere) {
        const answer = await guarded.bridge.send(request, { ...call, query: { ...call.query, ticket } })
        expect([400, 401], `${request} ${JSON.stringify(call)} → ${answer.status}`).toContain(answer.status)
      }

      const withoutCursor = (all: unknown) => JSON.stringify(all).replace(/"cursor":"[^"]*"/g, '')
      expect(withoutCursor(await state())).toBe(withoutCursor(before))
    })

    test("of a consumer is refused for a read by cursor, and for another consumer's messages", async () => {
      const alice = guarded.caller(ALICE)
      await alice.ok(`PUT ${STREAM}/consumers/other`, { json: {} })
      const { ticket } = await create(alice, { stream: 'ORDERS', consumer: 'billing' })

      for (const path of [`${STREAM}/messages`, `${STREAM}/consumers/other/messages`]) {
        const answer = await guarded.bridge.send(`GET ${path}`, { headers: EVENTS, query: { ticket } })
        expectProblem(answer, 401, 'ticket_invalid')
      }
    })
  })
})

describe('a ticket as time goes by', () => {
  const VALID_MS = 10 * MINUTE_MS
  let nats: TestNats
  let clocked: ClockedBridge
  let bridge: Client
  let alice: Client
  let bob: Client

  beforeAll(async () => {
    nats = await startNats({ configText: authorizationText([ADMIN, ALICE, BOB]) })
    clocked = await startClockedBridge(nats.wsUrl, { TICKET_VALID_MS: `${VALID_MS}` })
    bridge = await createClient(clocked.url)
    alice = as(bridge, basic(ALICE))
    bob = as(bridge, basic(BOB))
    await makeStreams({ caller: (user) => as(bridge, basic(user)) })
    for (const n of range(1, 6)) await alice.publish(n % 2 ? 'orders.eu' : 'orders.us', `${n}`)
  })
  beforeEach(() => clocked.setTime(undefined))
  afterAll(async () => {
    await clocked.stop()
    await nats.stop()
  })

  const openedAt = async (ticket: Ticket, time: number, lastEventId?: string) => {
    clocked.setTime(time)
    const headers = { ...EVENTS, ...(lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId }) }
    const abort = new AbortController()
    const { response } = await bridge.open(`GET ${pathOf(ticket)}`, { headers, signal: abort.signal })
    const code = response.ok ? undefined : ((await response.json()) as { code: string }).code
    abort.abort()
    return code ?? response.status
  }
  const times = (ticket: Ticket) => ({
    opens: Date.parse(ticket.open_until),
    holds: Date.parse(ticket.valid_until),
  })

  test('says until when it opens and until when it reconnects', async () => {
    const now = Date.now()
    clocked.setTime(now)
    const ticket = await create(alice, { stream: 'ORDERS' })

    expect(times(ticket)).toEqual({ opens: now + MINUTE_MS, holds: now + VALID_MS })
  })

  test('opens for a minute, then 401 ticket_invalid: a leaked URL gets nothing', async () => {
    const ticket = await create(alice, { stream: 'ORDERS', start: 'beginning' })
    const { opens, holds } = times(ticket)

    expect(await openedAt(ticket, opens - MINUTE_MS)).toBe(200)
    expect(await openedAt(ticket, opens)).toBe(200)
    for (const time of [opens + 1, holds, holds + 1]) {
      expect(await openedAt(ticket, time)).toBe('ticket_invalid')
      expect(await openedAt(ticket, time, '')).toBe('ticket_invalid')
    }
    clocked.setTime(opens + 1)
    expectProblem(await bridge.send(`GET ${pathOf(ticket)}`, { headers: EVENTS }), 401, 'ticket_invalid')
  })

  test('reconnects right after the Last-Event-ID it gave out, until it ends', async () => {
    const ticket = await create(alice, { stream: 'ORDERS', subjects: ['orders.eu'], start: 'beginning' })
    const { opens, holds } = times(ticket)
    const events = await openEvents(bridge, pathOf(ticket))
    expect(seqs(await events.take<Message>('message', 3))).toEqual([1, 3, 5])
    await events.take('caught_up', 1)
    events.close()

    for (const time of [opens, opens + 1, holds]) {
      clocked.setTime(time)
      const headers = { 'Last-Event-ID': at(idsOf(events), 0) }
      const resumed = await openEvents(bridge, pathOf(ticket), { headers })
      expect(seqs(await resumed.take<Message>('message', 2))).toEqual([3, 5])
      resumed.close()
    }
    // Not a message's alone: whatever came last.
    expect(await openedAt(ticket, holds, events.lastEventId())).toBe(200)
    expect(await openedAt(ticket, holds + 1, events.lastEventId())).toBe('ticket_invalid')
  })

  test('reconnects with no Last-Event-ID that another read gave out', async () => {
    const filtered = await create(alice, { stream: 'ORDERS', subjects: ['orders.eu'] })
    const { opens } = times(filtered)
    const strange = {
      'not one of ours': ['x', 'cursor_invalid'],
      'of a publish': [(await alice.publish('orders.eu')).cursor, 'cursor_mismatch'],
      'of a read without a filter': [(await alice.page('ORDERS')).cursor, 'cursor_mismatch'],
      'of another filter': [(await alice.page('ORDERS', { subject: 'orders.>' })).cursor, 'cursor_mismatch'],
      'of a consumer': [(await alice.ok<{ cursor: string }>(`GET ${CONSUMER}`)).cursor, 'cursor_mismatch'],
      'of another user': [
        (await as(bridge, basic(ADMIN)).page('ORDERS', { subject: 'orders.eu' })).cursor,
        'cursor_invalid',
      ],
      'of another stream and user': [(await bob.page('INVOICES')).cursor, 'cursor_invalid'],
    } as const

    for (const [origin, [id, code]] of Object.entries(strange)) {
      for (const time of [opens - MINUTE_MS, opens + 1]) {
        expect([origin, await openedAt(filtered, time, id)]).toEqual([origin, code])
      }
    }
    const whole = await create(alice, { stream: 'ORDERS' })
    expect(await openedAt(whole, opens, (await bob.page('INVOICES')).cursor)).toBe('cursor_invalid')
    expect(await openedAt(whole, opens, (await alice.page('ORDERS', { subject: 'orders.eu' })).cursor)).toBe(
      'cursor_mismatch',
    )
  })

  test('of a consumer opens for a minute, and reconnects with the ids of its deliveries alone', async () => {
    await alice.ok(`PUT ${STREAM}/consumers/other`, { json: {} })
    const make = async (consumer: string) => {
      const ticket = await create(alice, { stream: 'ORDERS', consumer })
      const events = await openEvents(bridge, pathOf(ticket))
      await events.take<Delivery>('message', 1)
      events.close()
      return { ticket, id: at(idsOf(events), 0) }
    }
    const [billing, other] = [await make('billing'), await make('other')]
    const { opens, holds } = times(billing.ticket)

    expect(await openedAt(billing.ticket, opens)).toBe(200)
    expect(await openedAt(billing.ticket, opens + 1)).toBe('ticket_invalid')
    expect(await openedAt(billing.ticket, holds, billing.id)).toBe(200)
    expect(await openedAt(billing.ticket, opens + 1, other.id)).toBe('cursor_mismatch')
    expect(await openedAt(billing.ticket, opens + 1, (await alice.page('ORDERS')).cursor)).toBe(
      'cursor_mismatch',
    )
    expect(await openedAt(billing.ticket, opens + 1, 'x')).toBe('cursor_invalid')
    expect(await openedAt(billing.ticket, holds + 1, billing.id)).toBe('ticket_invalid')
    // The id of a delivery is no position to read from.
    expectProblem(
      await alice.send(`GET ${STREAM}/messages`, { query: { cursor: billing.id } }),
      409,
      'cursor_mismatch',
    )
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
    const path = pathOf(await create(anyone, { stream: 'ORDERS' }))

    const events = await openEvents(anyone, path)
    events.close()
    expectProblem(await stranger.send(`GET ${path}`, { headers: EVENTS }), 401, 'ticket_invalid')
    for (const { stop } of [open, guarded, nats]) await stop()
  })
})
