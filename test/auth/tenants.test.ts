/** The proof that tokens are a tenant's own: another's open nothing, and its own open on every instance. */
import { afterEach, describe, expect, test } from 'vitest'
import { type Client, type ConsumerBody, createClient } from '../contract/client.ts'
import { openEvents } from '../contract/events.ts'
import { at, seqs } from '../contract/expectations.ts'
import { HOSTS, newTokenKey, startHost, type TestHost } from '../support/host.ts'
import {
  as,
  authorizationText,
  basic,
  expectProblem,
  type Guarded,
  type NatsUser,
  onEveryHost,
} from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const STREAM = '/v1/streams/ORDERS'
const CONSUMER = `${STREAM}/consumers/billing`

/** May do with alice's stream all that she may, and is another tenant all the same. */
const CAROL: NatsUser = { ...ALICE, name: 'carol', password: 'carol-secret-9a4' }

onEveryHost(
  { configText: authorizationText([ADMIN, ALICE, BOB, CAROL]), prepare: makeStreams },
  (guarded) => {
    const others = [
      ['a user of another stream', BOB],
      ['a user of the same stream', CAROL],
      ['the administrator', ADMIN],
    ] as const

    describe.each(others)("alice's tokens with %s", (_, user) => {
      test('400 cursor_invalid for a cursor, wherever one is taken', async () => {
        const { cursor } = await guarded.caller(ALICE).publish('orders.eu', 'x')
        const other = guarded.caller(user)

        for (const [request, call] of [
          [`GET ${STREAM}/messages`, { query: { cursor } }],
          [`GET ${STREAM}/messages`, { query: { cursor }, headers: { Accept: 'application/x-ndjson' } }],
          [`GET ${STREAM}/messages`, { query: { cursor }, headers: { Accept: 'text/event-stream' } }],
          [`GET ${STREAM}/messages`, { headers: { Accept: 'text/event-stream', 'Last-Event-ID': cursor } }],
          ['GET /v1/streams/INVOICES/messages', { query: { cursor } }],
          ['POST /v1/tickets', { json: { stream: 'ORDERS', cursor } }],
        ] as const) {
          expectProblem(await other.send(request, call), 400, 'cursor_invalid')
        }
      })

      test('ack_token_invalid for an ack token, and the message stays unacknowledged', async () => {
        const alice = guarded.caller(ALICE)
        await alice.publish('orders.eu', 'to be acked by alice alone')
        const { messages } = await alice.pull(CONSUMER, { batch: 1, wait_ms: 5_000 })
        const token = at(messages, 0).ack_token
        const before = await alice.ok<ConsumerBody>(`GET ${CONSUMER}`)

        for (const action of ['ack', 'nak', 'progress', 'term'] as const) {
          expect(await guarded.caller(user).settle({ token, action })).toEqual([
            { error: expect.objectContaining({ code: 'ack_token_invalid', status: 400 }) },
          ])
        }

        const after = await alice.ok<ConsumerBody>(`GET ${CONSUMER}`)
        expect([after.num_ack_pending, after.num_redelivered]).toEqual([
          before.num_ack_pending,
          before.num_redelivered,
        ])
        expect(await alice.settle({ token, action: 'ack' })).toEqual([{ status: 'ok' }])
      })
    })

    test("one's own tokens are settled although another's are among them", async () => {
      const [alice, carol] = [guarded.caller(ALICE), guarded.caller(CAROL)]
      await alice.publish('orders.eu', '1')
      await alice.publish('orders.eu', '2')
      const [first, second] = [
        await alice.pull(CONSUMER, { batch: 1 }),
        await carol.pull(CONSUMER, { batch: 1 }),
      ]
      const acks = [first, second].map(({ messages }) => ({
        token: at(messages, 0).ack_token,
        action: 'ack' as const,
      }))

      expect(await alice.settle(...acks)).toEqual([
        { status: 'ok' },
        { error: expect.objectContaining({ code: 'ack_token_invalid' }) },
      ])
      expect(await carol.settle(...acks)).toEqual([
        { error: expect.objectContaining({ code: 'ack_token_invalid' }) },
        { status: 'ok' },
      ])
    })

    test("a key of alice's is another key of carol's, and neither header tells who they are", async () => {
      const headers = { 'Idempotency-Key': 'the same' }
      const published = [ALICE, CAROL, ALICE].map((user) => guarded.caller(user))
      const answers = []
      for (const client of published) answers.push(await client.publish('orders.eu', 'keyed', headers))

      expect(answers.map(({ duplicate }) => duplicate)).toEqual([false, false, true])
      const first = at(answers, 0).seq
      const { messages } = await guarded.caller(ADMIN).page('ORDERS', { start: `seq:${first}` })
      const ids = messages.slice(0, 2).map((message) => at(message.headers['Nats-Msg-Id'] ?? [], 0))
      expect(ids).toEqual(Array(2).fill(expect.stringMatching(/^~[\w-]{16}~the same$/)))
      expect(new Set(ids).size).toBe(2)
    })

    test('a key that looks like the id of another is a key like any other', async () => {
      await guarded.caller(ALICE).publish('orders.eu', 'mine', { 'Idempotency-Key': 'k' })
      const { messages } = await guarded.caller(ALICE).page('ORDERS', { start: 'last' })
      const id = at(at(messages, 0).headers['Nats-Msg-Id'] ?? [], 0)

      const answer = await guarded.caller(CAROL).publish('orders.eu', 'forged', { 'Idempotency-Key': id })

      expect(answer.duplicate).toBe(false)
    })

    describe('another instance', () => {
      const started: TestHost[] = []
      afterEach(async () => {
        for (const host of started.splice(0)) await host.stop()
      })
      /** Where both hosts run, the other of the two. */
      const startOther = async (
        env: Readonly<Record<string, string>>,
      ): Promise<(user: NatsUser) => Client> => {
        const name = HOSTS.find((host) => host !== guarded.hostName) ?? guarded.hostName
        const host = await startHost(name, { natsUrl: guarded.nats.wsUrl, env: { ...guarded.env, ...env } })
        started.push(host)
        const bridge = await createClient(host.url)
        return (user) => as(bridge, basic(user))
      }
      /** One of each kind of token, of alice. */
      const collect = async ({ caller }: Pick<Guarded, 'caller'>) => {
        const alice = caller(ALICE)
        const { cursor } = await alice.publish('orders.eu', 'before')
        await alice.publish('orders.eu', 'after')
        const { messages } = await alice.pull(CONSUMER, { batch: 1 })
        const { url } = await alice.ok<{ url: string }>('POST /v1/tickets', {
          json: { stream: 'ORDERS', cursor },
        })
        return { cursor, token: at(messages, 0).ack_token, path: url.slice(guarded.bridge.url.length) }
      }
      const expectAllTaken = async (
        client: Client,
        { cursor, token, path }: Awaited<ReturnType<typeof collect>>,
      ) => {
        const { messages } = await client.page('ORDERS', { cursor })
        expect(messages[0]).toMatchObject({ data: 'after' })
        expect(await client.settle({ token, action: 'ack' })).toEqual([{ status: 'ok' }])
        const events = await openEvents(client, path)
        expect(seqs(await events.take('message', 1))).toEqual([at(messages, 0).seq])
        events.close()
      }

      test('takes the tokens of the first where both have the same keys, of the same user alone', async () => {
        const other = await startOther({})
        const tokens = await collect(guarded)

        expectProblem(
          await other(CAROL).send(`GET ${STREAM}/messages`, { query: { cursor: tokens.cursor } }),
          400,
          'cursor_invalid',
        )
        await expectAllTaken(other(ALICE), tokens)
        // And back: what the other instance seals opens here.
        const { cursor } = await other(ALICE).publish('orders.eu', 'there')
        expect((await guarded.caller(ALICE).page('ORDERS', { cursor })).messages).toEqual([])
      })

      test('takes tokens of the old key while a new one seals, and gives out tokens of the new', async () => {
        const rotated = await startOther({ TOKEN_KEYS: `${newTokenKey('k2')},${guarded.env.TOKEN_KEYS}` })
        const tokens = await collect(guarded)

        await expectAllTaken(rotated(ALICE), tokens)
        const { cursor } = await rotated(ALICE).page('ORDERS')
        expect([tokens.cursor.split('.')[1], cursor.split('.')[1]]).toEqual(['test', 'k2'])
      })

      test('knows an idempotency key while a new key of tokens seals', async () => {
        const headers = { 'Idempotency-Key': 'through a rotation' }
        const rotated = await startOther({ TOKEN_KEYS: `${newTokenKey('k3')},${guarded.env.TOKEN_KEYS}` })

        const { seq } = await guarded.caller(ALICE).publish('orders.eu', 'once', headers)
        expect(await rotated(ALICE).publish('orders.eu', 'once', headers)).toMatchObject({
          seq,
          duplicate: true,
        })
      })

      test('refuses tokens of a key that is no more', async () => {
        const rotated = await startOther({ TOKEN_KEYS: newTokenKey('k2') })
        const { cursor, token, path } = await collect(guarded)
        const alice = rotated(ALICE)

        expectProblem(
          await alice.send(`GET ${STREAM}/messages`, { query: { cursor } }),
          400,
          'cursor_invalid',
        )
        expect(await alice.settle({ token, action: 'ack' })).toEqual([
          { error: expect.objectContaining({ code: 'ack_token_invalid' }) },
        ])
        expectProblem(
          await alice.send(`GET ${path}`, { headers: { Accept: 'text/event-stream' } }),
          401,
          'ticket_invalid',
        )
      })

      test('refuses tokens of another key with the same id', async () => {
        const rotated = await startOther({ TOKEN_KEYS: newTokenKey('test') })
        const { cursor } = await collect(guarded)

        expectProblem(
          await rotated(ALICE).send(`GET ${STREAM}/messages`, { query: { cursor } }),
          400,
          'cursor_invalid',
        )
      })
    })
  },
)

onEveryHost({ configText: '', env: { AUTH: 'none' } }, (guarded) => {
  test('AUTH=none ignores Authorization: whoever asks is the same', async () => {
    const strange = ['Basic %%%', 'Digest x', basic(ALICE), 'Bearer x']
    const callers = [guarded.bridge, ...strange.map((authorization) => as(guarded.bridge, authorization))]
    await guarded.bridge.ok('POST /v1/streams', { json: { name: 'ORDERS', subjects: ['orders.>'] } })

    const { cursor } = await guarded.caller(ALICE).publish('orders.eu', 'first')
    await guarded.bridge.publish('orders.eu', 'second')
    for (const caller of callers) {
      expect((await caller.page('ORDERS', { cursor })).messages.map(({ data }) => data)).toEqual(['second'])
    }
  })
})
