/** The proof that a page which waits for a consumer's messages is not lost by what happens while there are none. */
import { expect, test } from 'vitest'
import { createClient, type Delivery } from '../contract/client.ts'
import { openEvents } from '../contract/events.ts'
import { startNats } from '../support/nats.ts'
import { startClockedBridge } from './clocked-bridge.ts'
import { as, authorizationText, basic, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

interface Ticket {
  readonly url: string
  readonly open_until: string
}

const pathOf = ({ url }: Ticket) => new URL(url).pathname + new URL(url).search

test('a ticket of a consumer reconnects after its first minute although no message has come', async () => {
  const nats = await startNats({ configText: authorizationText([ADMIN, ALICE, BOB]) })
  const clocked = await startClockedBridge(nats.wsUrl)
  const bridge = await createClient(clocked.url)
  await makeStreams({ caller: (user) => as(bridge, basic(user)) })
  const alice = as(bridge, basic(ALICE))
  const ticket = await alice.ok<Ticket>('POST /v1/tickets', {
    json: { stream: 'ORDERS', consumer: 'billing' },
  })
  const events = await openEvents(bridge, pathOf(ticket))
  await events.until('an id', () => events.lastEventId() !== '')
  events.close()

  clocked.setTime(Date.parse(ticket.open_until) + 1)
  const resumed = await openEvents(bridge, pathOf(ticket), {
    headers: { 'Last-Event-ID': events.lastEventId() },
  })
  await alice.publish('orders.eu', 'at last')
  const [delivery] = await resumed.take<Delivery>('message', 1)
  expect(delivery?.data).toBe('at last')
  resumed.close()
  await clocked.stop()
  await nats.stop()
})

onEveryHost({ configText: authorizationText([ADMIN, ALICE, BOB]), prepare: makeStreams }, (guarded) => {
  test("a page that receives a consumer's messages stays while NATS is away, and goes on when it is back", async () => {
    const admin = guarded.caller(ADMIN)
    await admin.ok('POST /v1/streams', {
      json: { name: 'KEPT', subjects: ['kept.>'], storage: 'file' },
    })
    await admin.ok('PUT /v1/streams/KEPT/consumers/worker', { json: {} })
    const events = await openEvents(admin, '/v1/streams/KEPT/consumers/worker/messages')
    await admin.publish('kept.a', 'before')
    await events.take('message', 1)

    await guarded.nats.restart()
    await events.until('a message after the restart', () => {
      void admin.publish('kept.a', 'after', { 'Idempotency-Key': 'after' }).catch(() => undefined)
      return events.events.filter(({ event }) => event === 'message').length >= 2
    })
    expect(events.events.map(({ event }) => event)).not.toContain('error')
    events.close()
  })
})
