/** The proof of how long a ticket opens its stream, and what it takes to reconnect. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Client, createClient, type Delivery, type Message } from '../contract/client.ts'
import { type EventStream, openEvents } from '../contract/events.ts'
import { at, range, seqs } from '../contract/expectations.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { type ClockedBridge, startClockedBridge } from './clocked-bridge.ts'
import { as, authorizationText, basic, createTicket, expectProblem, pathOf, type Ticket } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const STREAM = '/v1/streams/ORDERS'
const CONSUMER = `${STREAM}/consumers/billing`
const EVENTS = { Accept: 'text/event-stream' }
const MINUTE_MS = 60_000

const idsOf = (events: EventStream) =>
  events.events.filter(({ event }) => event === 'message').map(({ id = '' }) => id)

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
    const ticket = await createTicket(alice, { stream: 'ORDERS' })

    expect(times(ticket)).toEqual({ opens: now + MINUTE_MS, holds: now + VALID_MS })
  })

  test('opens for a minute, then 401 ticket_invalid: a leaked URL gets nothing', async () => {
    const ticket = await createTicket(alice, { stream: 'ORDERS', start: 'beginning' })
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
    const ticket = await createTicket(alice, {
      stream: 'ORDERS',
      subjects: ['orders.eu'],
      start: 'beginning',
    })
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
    const filtered = await createTicket(alice, { stream: 'ORDERS', subjects: ['orders.eu'] })
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
    const whole = await createTicket(alice, { stream: 'ORDERS' })
    expect(await openedAt(whole, opens, (await bob.page('INVOICES')).cursor)).toBe('cursor_invalid')
    expect(await openedAt(whole, opens, (await alice.page('ORDERS', { subject: 'orders.eu' })).cursor)).toBe(
      'cursor_mismatch',
    )
  })

  test('of a consumer opens for a minute, and reconnects with the ids of its deliveries alone', async () => {
    await alice.ok(`PUT ${STREAM}/consumers/other`, { json: {} })
    const make = async (consumer: string) => {
      const ticket = await createTicket(alice, { stream: 'ORDERS', consumer })
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
