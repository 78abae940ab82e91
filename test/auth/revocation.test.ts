/** The proof that NATS has the last word at any time: a credential it takes back is out, in mid-stream too. */
import { afterEach, describe, expect, test } from 'vitest'
import type { Problem } from '../contract/client.ts'
import { type EventStream, openEvents } from '../contract/events.ts'
import { at, seqs, until } from '../contract/expectations.ts'
import { changingUsers, expectProblem, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const STREAM = '/v1/streams/ORDERS'
const USERS = [ADMIN, ALICE, BOB]
const users = changingUsers(USERS)

onEveryHost({ configText: users.configText, prepare: makeStreams }, (guarded) => {
  const revoke = () =>
    users.change(
      guarded.nats,
      USERS.filter((user) => user !== ALICE),
    )
  /** Resolves once the server lets alice in. */
  const restore = async () => {
    users.change(guarded.nats, USERS)
    await until('the credential is taken again', async () => {
      const { status } = await guarded.caller(ALICE).send(`GET ${STREAM}`)
      return status === 200
    })
  }
  afterEach(restore)
  const expectRefused = async (events: EventStream, ...codes: string[]) => {
    const [failure] = await events.take<Problem>('error', 1)
    expect(codes).toContain(failure?.code)
    expect(events.text()).not.toMatch(/violation|-ERR/i)
    await events.until('the end', () => events.ended())
  }

  describe('a credential revoked in mid-stream', () => {
    test('one error event, the end, and a cursor that goes on once the credential is taken again', async () => {
      const alice = guarded.caller(ALICE)
      const events = await openEvents(alice, `${STREAM}/messages`)
      await events.take('caught_up', 1)
      await alice.publish('orders.eu', 'seen')
      await events.take('message', 1)
      const others = await openEvents(guarded.caller(BOB), '/v1/streams/INVOICES/messages')
      await others.take('caught_up', 1)

      revoke()
      await expectRefused(events, 'unauthenticated')
      expectProblem(
        await alice.send(`GET ${STREAM}/messages`, {
          headers: { Accept: 'text/event-stream', 'Last-Event-ID': events.lastEventId() },
        }),
        401,
        'unauthenticated',
      )
      const { seq } = await guarded.caller(ADMIN).publish('orders.eu', 'missed')

      await restore()
      const resumed = await openEvents(alice, `${STREAM}/messages`, {
        headers: { 'Last-Event-ID': events.lastEventId() },
      })
      expect(seqs(await resumed.take('message', 1))).toEqual([seq])
      resumed.close()
      // Nobody else has noticed.
      await guarded.caller(BOB).publish('invoices.eu', 'x')
      await others.take('message', 1)
      expect(others.events.map(({ event }) => event)).toEqual(['caught_up', 'message'])
      others.close()
    })

    test('one error event and the end for the messages of a consumer, and for a stream opened by a ticket', async () => {
      const alice = guarded.caller(ALICE)
      const makeTicket = (json: object) => alice.ok<{ url: string }>('POST /v1/tickets', { json })
      const urls = [
        (await makeTicket({ stream: 'ORDERS' })).url,
        (await makeTicket({ stream: 'ORDERS', consumer: 'billing' })).url,
      ]
      const opened = [
        await openEvents(alice, `${STREAM}/consumers/billing/messages`),
        ...(await Promise.all(
          urls.map((url) => openEvents(guarded.bridge, url.slice(guarded.bridge.url.length))),
        )),
      ]
      await at(opened, 1).take('caught_up', 1)
      // A consumer's stream says something at every heartbeat; before that it may not have asked NATS yet.
      for (const events of opened) await events.until('a heartbeat', () => events.comments() > 0)

      revoke()
      // What it was pulling ends with the connection; the next request learns why.
      for (const events of opened) await expectRefused(events, 'unauthenticated', 'jetstream_unavailable')

      for (const url of urls) {
        expectProblem(
          await guarded.bridge.send(`GET ${url.slice(guarded.bridge.url.length)}`, {
            headers: { Accept: 'text/event-stream' },
          }),
          401,
          'unauthenticated',
        )
      }
    })
  })

  test('401 unauthenticated for the next request with a revoked credential, and 200 once it is taken again', async () => {
    const alice = guarded.caller(ALICE)
    expect((await alice.send(`GET ${STREAM}`)).status).toBe(200)

    revoke()
    const refused = await until('a refusal', async () => {
      const answer = await alice.send(`GET ${STREAM}`)
      return answer.status !== 200 && answer.status !== 503 && answer
    })
    expectProblem(refused, 401, 'unauthenticated')
    await restore()
    expect((await alice.page('ORDERS')).up_to_date).toBe(true)
  })
})
