/** The proof that no secret, token or payload is in a log or in a failure. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type Answer, type Client, publishPath } from '../contract/client.ts'
import { openEvents } from '../contract/events.ts'
import { at, until } from '../contract/expectations.ts'
import { authorizationText, basic, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const STREAM = '/v1/streams/ORDERS'
const CONSUMER = `${STREAM}/consumers/billing`
const PAYLOAD = 'payload-secret-b52'
const HEADER = 'header-secret-c17'
const WRONG = { ...ALICE, password: 'wrong-secret-e90' }

/** Everything that a caller sends or gets which nobody else may learn. */
async function collectSecrets(alice: Client) {
  const { cursor } = await alice.publish('orders.eu', PAYLOAD, { 'NatsH-Secret': HEADER })
  const { messages } = await alice.pull(CONSUMER, { batch: 1 })
  const { ticket } = await alice.ok<{ ticket: string }>('POST /v1/tickets', { json: { stream: 'ORDERS' } })
  return { cursor, token: at(messages, 0).ack_token, ticket }
}

onEveryHost(
  {
    configText: authorizationText([ADMIN, ALICE, BOB]),
    // Short, so that the failures of a server that is away come soon.
    env: { LOG: 'on', CONNECT_TIMEOUT_MS: '300', REQUEST_TIMEOUT_MS: '300' },
    prepare: makeStreams,
  },
  (guarded) => {
    test('no password, key, token, ticket, cursor or payload in the log or in a failure', async () => {
      const [alice, bob] = [guarded.caller(ALICE), guarded.caller(BOB)]
      const { cursor, token, ticket } = await collectSecrets(alice)
      const secrets = [
        ...[ADMIN, ALICE, BOB, WRONG].flatMap((user) => [user.password, basic(user).slice('Basic '.length)]),
        ...(guarded.env.TOKEN_KEYS ?? '').split(':').slice(1),
        ...[cursor, token, ticket].map((sealed) => sealed.split('.')[2] ?? ''),
        PAYLOAD,
        HEADER,
      ]
      const failures: Answer[] = []
      const fail = async (
        statuses: number | readonly number[],
        client: Client,
        ...[request, call]: Parameters<Client['send']>
      ) => {
        const answer = await client.send(request, call)
        expect([statuses].flat(), request).toContain(answer.status)
        failures.push(answer)
      }
      /** What fails while all is well, and what fails once the server does not answer, or is gone. */
      const failAnyway = async () => {
        await fail(401, guarded.bridge, `GET ${STREAM}`)
        await fail(400, alice, `GET ${STREAM}/messages`, { query: { cursor: `${cursor}x` } })
        await fail(400, bob, `GET ${STREAM}/messages`, { query: { cursor } })
        await fail(400, alice, 'POST /v1/acks', { json: { acks: [{ token, action: PAYLOAD }] } })
        await fail(400, alice, 'POST /v1/acks', {
          body: `{"${PAYLOAD}`,
          headers: { 'Content-Type': 'application/json' },
        })
        await fail(401, guarded.bridge, `GET ${STREAM}/messages`, { query: { ticket: `${ticket}x` } })
        await fail(401, guarded.bridge, `GET ${STREAM}/messages`, { query: { ticket } })
      }
      const failWithoutNats = async () => {
        const away = [503, 504]
        const headers = { 'NatsH-Secret': HEADER }
        await fail(away, alice, `POST ${publishPath('orders.eu')}`, { body: PAYLOAD, headers })
        await fail(away, alice, `GET ${STREAM}/messages`, { query: { cursor } })
        // Where it takes long, the answer has begun, and tells the failure in its body.
        await fail([200, ...away], alice, `POST ${CONSUMER}/pull`, { json: {} })
        await fail(away, guarded.bridge, `GET ${STREAM}/messages`, {
          query: { ticket },
          headers: { Accept: 'text/event-stream' },
        })
        await alice.send('POST /v1/acks', { json: { acks: [{ token, action: 'ack' }] } })
      }

      await failAnyway()
      await fail(401, guarded.caller(WRONG), `GET ${STREAM}`)
      await fail(403, bob, `POST ${publishPath('orders.eu')}`, { body: PAYLOAD })
      const events = await openEvents(alice, `${STREAM}/messages`, { headers: { 'Last-Event-ID': cursor } })
      await events.take('caught_up', 1)

      await guarded.nats.pause()
      await failWithoutNats()
      guarded.nats.resume()
      await guarded.nats.kill()
      await failWithoutNats()
      await failAnyway()
      await guarded.nats.restart()
      await until('NATS is back', async () => (await alice.send(`GET ${STREAM}`)).status !== 503)
      events.close()

      const log = await until('the failures are logged', async () => {
        const text = readFileSync(guarded.host.logPath, 'utf8')
        return (text.match(/"code":/g) ?? []).length >= 6 && text
      })
      expect(log).toContain('"code":"jetstream_unavailable"')
      for (const secret of secrets) {
        expect(secret.length).toBeGreaterThan(10)
        expect(log).not.toContain(secret)
        for (const { bytes } of failures) expect(Buffer.from(bytes).toString('utf8')).not.toContain(secret)
      }
    })
  },
)
