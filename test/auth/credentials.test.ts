/** The proof of AUTH=nats: who is let in, what NATS lets each do, and that a refusal says no more than that. */

import { describe, expect, test } from 'vitest'
import { type Client, type Problem, publishPath, type StreamBody } from '../contract/client.ts'
import { openEvents } from '../contract/events.ts'
import { at, range, seqs } from '../contract/expectations.ts'
import { pacedNow } from '../support/pace.ts'
import {
  as,
  authorizationText,
  basic,
  expectProblem,
  type Guarded,
  type NatsUser,
  onEveryHost,
  usersText,
} from './support.ts'
import { ADMIN, ALICE, BOB, makeStream, makeStreams } from './users.ts'

/** A refusal must not wait for a time-out: the shortest in force is four seconds. */
const QUICKLY_MS = 4_000

const base64 = (text: string) => Buffer.from(text).toString('base64')

/** Whether it takes a read to show what the credential may. */
const ask = (client: Client) => client.send('GET /v1/streams/ORDERS')

interface Operation {
  readonly security?: readonly unknown[]
}

/** A request for every operation of the published contract that wants a credential. */
async function guardedOperations({ bridge }: Guarded): Promise<string[]> {
  const { paths } = await bridge.ok<{ paths: Record<string, Record<string, Operation>> }>('GET /openapi.json')
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, { security }]) => security === undefined || security.length > 0)
      .map(
        ([method]) => `${method.toUpperCase()} ${path.replace('{seq}', '1').replace(/\{\w+\}/g, 'ORDERS')}`,
      ),
  )
}

/** Users who may publish anything, and hear no replies. */
const [WITHOUT_INBOX, OTHER_INBOX]: readonly [NatsUser, NatsUser] = [
  {
    name: 'without-inbox',
    password: 'without-inbox-secret-1b7',
    publish: ['>'],
    subscribe: ['elsewhere.>'],
  },
  {
    name: 'other-inbox',
    password: 'other-inbox-secret-9c2',
    publish: ['>'],
    subscribe: ['_INBOX.foo.>'],
  },
]

onEveryHost(
  { configText: authorizationText([ADMIN, ALICE, BOB, WITHOUT_INBOX, OTHER_INBOX]), prepare: makeStreams },
  (guarded) => {
    describe('who is let in', () => {
      test('401 unauthenticated for every operation of the contract without a credential', async () => {
        const operations = await guardedOperations(guarded)
        expect(operations.length).toBeGreaterThan(20)

        for (const operation of operations) {
          expectProblem(await guarded.bridge.send(operation), 401, 'unauthenticated')
        }
      })

      test.each(['/livez', '/readyz', '/openapi.json', '/docs'])(
        '200 for %s without a credential',
        async (path) => {
          expect((await fetch(guarded.bridge.url + path)).status).toBe(200)
        },
      )

      test.each([
        ['an unknown user', basic({ name: 'nobody', password: 'x' })],
        ['a wrong password', basic({ ...ALICE, password: 'x' })],
        ['an empty password', basic({ ...ALICE, password: '' })],
        ['a token where there are users', 'Bearer alice-secret-2d9'],
      ])('401 unauthenticated for %s, quickly', async (_, authorization) => {
        const began = pacedNow()
        const answer = await ask(as(guarded.bridge, authorization))

        expectProblem(answer, 401, 'unauthenticated')
        expect(pacedNow() - began).toBeLessThan(QUICKLY_MS)
      })

      test.each([
        ['another scheme', 'Digest username="alice"'],
        ['a scheme alone', 'Basic'],
        ['no scheme', base64('alice:alice-secret-2d9')],
        ['no colon', `Basic ${base64('alice')}`],
        ['no user', `Basic ${base64(':alice-secret-2d9')}`],
        ['no base64', 'Basic %%%'],
        ['two credentials', `${basic(ALICE)}, ${basic(ADMIN)}`],
        ['an endless one', `Bearer ${'x'.repeat(5_000)}`],
      ])('401 unauthenticated for a malformed Authorization: %s', async (_, authorization) => {
        expectProblem(await ask(as(guarded.bridge, authorization)), 401, 'unauthenticated')
      })

      test('401 unauthenticated for a wrong password while the right one is connected, and the other way round', async () => {
        const right = guarded.caller(ALICE)
        const wrong = guarded.caller({ ...ALICE, password: 'x' })

        for (const _ of range(1, 3)) {
          expect((await ask(right)).status).toBe(200)
          expectProblem(await ask(wrong), 401, 'unauthenticated')
        }
      })

      test.each(['access_token', 'token', 'authorization', 'user'])(
        'a refusal of a credential in the URL as %s',
        async (name) => {
          const query = { [name]: ADMIN.password }
          expectProblem(await guarded.bridge.send('GET /v1/streams', { query }), 401, 'unauthenticated')
          expectProblem(
            await guarded.caller(ADMIN).send('GET /v1/streams', { query }),
            400,
            'invalid_request',
          )
        },
      )
    })

    describe('a user with a stream of its own', () => {
      test('publishes, reads, makes a consumer, pulls and acks', async () => {
        const alice = guarded.caller(ALICE)
        const published = await alice.publish('orders.eu', 'mine')

        const { messages } = await alice.page('ORDERS', { start: `seq:${published.seq}`, limit: 1 })
        expect(at(messages, 0)).toMatchObject({ subject: 'orders.eu', data: 'mine' })
        const consumer = '/v1/streams/ORDERS/consumers/worker'
        await alice.ok(`PUT ${consumer}`, { json: { cursor: at(messages, 0).cursor } })
        await alice.publish('orders.us', 'next')
        const pulled = await alice.pull(consumer, { batch: 10, wait_ms: 5_000 })
        expect(pulled.messages.map(({ data }) => data)).toEqual(['next'])
        expect(await alice.settle({ token: at(pulled.messages, 0).ack_token, action: 'ack' })).toEqual([
          { status: 'ok' },
        ])
        await alice.ok(`DELETE ${consumer}`)
      })

      test.each([
        ['POST /v1/streams', { json: { name: 'MORE', subjects: ['more.>'] } }],
        ['GET /v1/streams', {}],
        ['DELETE /v1/streams/ORDERS', {}],
        ['POST /v1/streams/ORDERS/purge', { json: {} }],
        ['DELETE /v1/streams/ORDERS/messages/1', {}],
      ])('403 forbidden for %s, which it may not', async (request, call) => {
        expectProblem(await guarded.caller(ALICE).send(request, call), 403, 'forbidden')
      })
    })

    describe('a user of another stream', () => {
      const stream = '/v1/streams/ORDERS'
      const consumer = `${stream}/consumers/billing`
      const refused: [request: string, call: Parameters<Client['send']>[1]][] = [
        [`POST ${publishPath('orders.eu')}`, { body: 'not mine' }],
        [`POST ${publishPath('orders.eu')}`, { body: 'not mine', headers: { 'Idempotency-Key': 'k' } }],
        [`POST ${publishPath('orders.eu')}`, { body: 'not mine', headers: { 'If-Match': '"1"' } }],
        [`GET ${stream}/messages`, {}],
        [`GET ${stream}/messages`, { query: { wait_ms: 5_000, start: 'new' } }],
        [`GET ${stream}/messages`, { headers: { Accept: 'application/x-ndjson' } }],
        [`GET ${stream}/messages`, { headers: { Accept: 'text/event-stream' } }],
        [`GET ${stream}/messages/1`, {}],
        [`GET ${stream}/messages/last`, {}],
        [`DELETE ${stream}/messages/1`, {}],
        [`GET ${stream}`, {}],
        [`PUT ${stream}`, { json: { subjects: ['orders.>', 'invoices.>'] } }],
        [`DELETE ${stream}`, {}],
        [`POST ${stream}/purge`, { json: {} }],
        [`GET ${stream}/subjects`, {}],
        [`GET ${stream}/consumers`, {}],
        [`PUT ${stream}/consumers/mine`, { json: {} }],
        [`GET ${consumer}`, {}],
        [`DELETE ${consumer}`, {}],
        [`POST ${consumer}/pause`, { json: { pause_until: '2030-01-01T00:00:00Z' } }],
        [`POST ${consumer}/resume`, {}],
        [`POST ${consumer}/reset`, { json: {} }],
        [`POST ${consumer}/pull`, { json: { wait_ms: 5_000 } }],
        [`GET ${consumer}/messages`, { headers: { Accept: 'text/event-stream' } }],
        ['POST /v1/tickets', { json: { stream: 'ORDERS' } }],
        ['POST /v1/tickets', { json: { stream: 'ORDERS', consumer: 'billing' } }],
      ]

      test('403 forbidden, quickly and without effect, for all there is to do with a stream', async () => {
        const bob = guarded.caller(BOB)
        const before = await guarded.caller(ADMIN).ok<StreamBody>(`GET ${stream}`)

        for (const [request, call] of refused) {
          const began = pacedNow()
          expectProblem(await bob.send(request, call), 403, 'forbidden')
          expect([request, pacedNow() - began < QUICKLY_MS]).toEqual([request, true])
        }

        expect(await guarded.caller(ADMIN).ok(`GET ${stream}`)).toEqual(before)
      })

      test('goes on with its own after each refusal', async () => {
        const bob = guarded.caller(BOB)
        for (const n of range(1, 5)) {
          expectProblem(await bob.send(`GET ${stream}/messages`), 403, 'forbidden')
          await bob.publish('invoices.eu', `${n}`)
        }

        expect((await bob.page('INVOICES')).messages.map(({ data }) => data)).toEqual(range(1, 5).map(String))
      })
    })

    test.each([WITHOUT_INBOX, OTHER_INBOX])(
      '403 forbidden that names the inbox, and nothing is done, for $name',
      async (user) => {
        const [caller, admin] = [guarded.caller(user), guarded.caller(ADMIN)]
        await makeStream(admin, 'KEPT', 'kept.>')
        await admin.publish('kept.a')
        for (const [request, call] of [
          [`POST ${publishPath('kept.a')}`, { body: 'x' }],
          [`POST ${publishPath('kept.a')}`, { body: 'x', headers: { 'Idempotency-Key': 'k' } }],
          ['POST /v1/messages', { json: { messages: [{ subject: 'kept.a' }] } }],
          ['POST /v1/messages', { json: { messages: [{ subject: 'kept.a' }], atomic: true } }],
          ['POST /v1/streams', { json: { name: 'NEW', subjects: ['new.>'] } }],
          ['PUT /v1/streams/KEPT/consumers/new', { json: {} }],
          ['POST /v1/streams/KEPT/purge', { json: {} }],
          ['DELETE /v1/streams/KEPT/messages/1', {}],
          ['DELETE /v1/streams/KEPT', {}],
        ] as const) {
          const answer = await caller.send<Problem>(request, call)
          expectProblem(answer, 403, 'forbidden')
          expect(answer.body).toMatchObject({
            side_effects: 'none',
            detail: expect.stringContaining('"_INBOX.>"'),
          })
        }
        expect((await admin.page('KEPT')).messages.map(({ seq }) => seq)).toEqual([1])
        expect(await admin.ok('GET /v1/streams/KEPT/consumers')).toMatchObject({ consumers: [] })
        expect((await admin.send('GET /v1/streams/NEW')).status).toBe(404)
        await admin.ok('DELETE /v1/streams/KEPT')
      },
    )

    test('403 forbidden, and no wait for an answer that cannot come, for a user who may not receive replies', async () => {
      const caller = guarded.caller(WITHOUT_INBOX)
      for (const [request, call] of [
        [`POST ${publishPath('orders.eu')}`, { body: 'x' }],
        ['GET /v1/streams/ORDERS/messages', {}],
        ['GET /v1/streams/ORDERS/messages', { headers: { Accept: 'text/event-stream' } }],
        ['POST /v1/streams/ORDERS/consumers/billing/pull', { json: { wait_ms: 5_000 } }],
        ['GET /v1/streams', {}],
      ] as const) {
        const began = pacedNow()
        expectProblem(await caller.send(request, call), 403, 'forbidden')
        expect([request, pacedNow() - began < QUICKLY_MS]).toEqual([request, true])
      }
    })
  },
)

const TOKEN = 'shared-token-5e0'

onEveryHost({ configText: `authorization { token: ${JSON.stringify(TOKEN)} }` }, (guarded) => {
  test('Bearer is a NATS token: 200 with the right one, 401 with any other credential', async () => {
    const caller = as(guarded.bridge, `Bearer ${TOKEN}`)
    await makeStream(caller, 'ORDERS', 'orders.>')
    await caller.publish('orders.eu', 'x')

    expect(seqs((await caller.page('ORDERS')).messages)).toEqual([1])
    expect((await ask(as(guarded.bridge, `bearer  ${TOKEN}`))).status).toBe(200)
    for (const other of [
      'Bearer x',
      `Bearer ${TOKEN}x`,
      basic({ name: 'x', password: TOKEN }),
      basic(ALICE),
    ]) {
      expectProblem(await ask(as(guarded.bridge, other)), 401, 'unauthenticated')
    }
  })
})

const EAST: NatsUser = { name: 'east', password: 'east-secret-77a' }
const WEST: NatsUser = { name: 'west', password: 'west-secret-0c4' }
const accountsText = `accounts {
  EAST { jetstream: enabled, ${usersText([EAST])} }
  WEST { jetstream: enabled, ${usersText([WEST])} }
}`

onEveryHost({ configText: accountsText }, (guarded) => {
  test('users of two accounts see a stream of the same name each for itself', async () => {
    const [east, west] = [guarded.caller(EAST), guarded.caller(WEST)]
    for (const client of [east, west]) await makeStream(client, 'ORDERS', 'orders.>')
    const { cursor } = await east.publish('orders.a', 'of the east')
    await west.publish('orders.a', 'of the west')

    expect((await east.page('ORDERS')).messages.map(({ data }) => data)).toEqual(['of the east'])
    expect((await west.page('ORDERS')).messages.map(({ data }) => data)).toEqual(['of the west'])
    expectProblem(
      await west.send('GET /v1/streams/ORDERS/messages', { query: { cursor } }),
      400,
      'cursor_invalid',
    )
    await east.ok('DELETE /v1/streams/ORDERS')
    expect((await west.page('ORDERS')).messages).toHaveLength(1)
  })
})

const MOST = 2

onEveryHost(
  {
    configText: authorizationText([ADMIN, ALICE, BOB]),
    env: { MAX_CONNECTIONS: `${MOST}` },
    hosts: ['node'],
    prepare: makeStreams,
  },
  (guarded) => {
    test('a refused credential takes no place from others; 429 when all places are in use', async () => {
      for (const n of range(1, 3 * MOST)) {
        expectProblem(await ask(guarded.caller({ ...BOB, password: `${n}` })), 401, 'unauthenticated')
      }
      const readers = await Promise.all(
        [ADMIN, ALICE].map((user) => openEvents(guarded.caller(user), '/v1/streams/ORDERS/messages')),
      )

      expectProblem(await ask(guarded.caller(BOB)), 429, 'too_many_requests')
      expect((await ask(guarded.caller(ADMIN))).status).toBe(200)
      for (const reader of readers) reader.close()
    })
  },
)
