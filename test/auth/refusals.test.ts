/** The proof that NATS's refusal is heard also where nats.ws does not tell of it: at once, and not by a time-out. */
import { expect, test } from 'vitest'
import { publishPath } from '../contract/client.ts'
import { pacedNow } from '../support/pace.ts'
import { authorizationText, expectProblem, type NatsUser, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const QUICKLY_MS = 4_000

const WITHOUT_NEXT: NatsUser = {
  ...ALICE,
  name: 'without-next',
  publish: (ALICE.publish ?? []).filter((subject) => !subject.startsWith('$JS.API.CONSUMER.MSG.NEXT.')),
}

onEveryHost(
  { configText: authorizationText([ADMIN, ALICE, BOB, WITHOUT_NEXT]), prepare: makeStreams },
  (guarded) => {
    test.each(['orders.a"b', 'orders.a\\b', 'orders."', 'orders.\\"\\', 'orders.ü"ß'])(
      '403 forbidden for a publish to %s, which the server quotes otherwise than it was sent',
      async (subject) => {
        const bob = guarded.caller(BOB)
        for (const headers of [{}, { 'Idempotency-Key': 'k' }] as Record<string, string>[]) {
          const began = pacedNow()
          expectProblem(
            await bob.send(`POST ${publishPath(subject)}`, { headers, body: 'x' }),
            403,
            'forbidden',
          )
          expect(pacedNow() - began).toBeLessThan(QUICKLY_MS)
        }
        expect((await guarded.caller(ALICE).publish(subject, 'x')).stream).toBe('ORDERS')
      },
    )

    test.each([
      'GET /v1/streams/a"b',
      'GET /v1/streams/a"b/messages',
      'POST /v1/streams/a"b/consumers/c"d/pull',
    ])('403 forbidden for %s', async (request) => {
      const began = pacedNow()
      const json = request.startsWith('POST') ? { json: { wait_ms: 5_000 } } : {}
      expectProblem(await guarded.caller(BOB).send(request.replaceAll('"', '%22'), json), 403, 'forbidden')
      expect(pacedNow() - began).toBeLessThan(QUICKLY_MS)
    })

    test('403 forbidden, before any event, to a live reader who may not ask for messages', async () => {
      const answer = await guarded
        .caller(WITHOUT_NEXT)
        .send('GET /v1/streams/ORDERS/messages', { headers: { Accept: 'text/event-stream' } })
      expectProblem(answer, 403, 'forbidden')
    })
  },
)
