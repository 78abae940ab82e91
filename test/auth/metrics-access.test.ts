/** Who may read a host's figures: where they are those of all callers, who knows the token, else the caller. */
import { describe, expect, test } from 'vitest'
import { createClient } from '../contract/client.ts'
import { openEvents } from '../contract/events.ts'
import { until } from '../contract/expectations.ts'
import { HOSTS, startHost } from '../support/host.ts'
import { startNats } from '../support/nats.ts'
import { type Exposition, parseExposition } from '../support/prometheus.ts'
import { as, authorizationText, expectProblem, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const TOKEN = 'figures-secret-0a4f'
const configText = authorizationText([ADMIN, ALICE, BOB])

const read = async (client: Awaited<ReturnType<typeof createClient>>, shard = 0): Promise<Exposition> => {
  const { status, bytes } = await client.send('GET /metrics', { query: { shard } })
  expect(status).toBe(200)
  return parseExposition(Buffer.from(bytes).toString())
}

describe('with AUTH=nats and a METRICS_TOKEN', () => {
  onEveryHost(
    {
      configText,
      env: { METRICS_TOKEN: TOKEN },
      prepare: makeStreams,
      hosts: HOSTS.filter((host) => host === 'node'),
    },
    (guarded) => {
      test('200 for the token, with the figures of all callers', async () => {
        await guarded.caller(ALICE).publish('orders.eu')
        await guarded.caller(BOB).publish('invoices.eu')

        const figures = await read(as(guarded.bridge, `Bearer ${TOKEN}`))
        expect(figures.total('sluice_publishes_total')).toBe(2)
        expect(figures.total('sluice_sessions')).toBe(3)
        expect(figures.total('process_resident_memory_bytes')).toBeGreaterThan(1e6)
      })

      test.each([undefined, `Bearer ${TOKEN}x`, 'Bearer ', `Basic ${TOKEN}`, TOKEN])(
        '401 unauthenticated for %s',
        async (authorization) => {
          const client = authorization === undefined ? guarded.bridge : as(guarded.bridge, authorization)
          expectProblem(await client.send('GET /metrics'), 401, 'unauthenticated')
        },
      )

      test('401 unauthenticated for a caller', async () => {
        expectProblem(await guarded.caller(ADMIN).send('GET /metrics'), 401, 'unauthenticated')
      })
    },
  )
})

describe('with AUTH=nats and no METRICS_TOKEN', () => {
  onEveryHost({ configText, prepare: makeStreams, env: { READER_SHARDS: '3' } }, (guarded) => {
    const isNode = () => guarded.hostName === 'node'

    test('401 unauthenticated without a credential', async () => {
      expectProblem(await guarded.bridge.send('GET /metrics'), 401, 'unauthenticated')
    })

    test('on Node nobody, on Workers each caller its own figures', async () => {
      await guarded.caller(ALICE).publish('orders.eu')
      if (isNode()) {
        expectProblem(await guarded.caller(ALICE).send('GET /metrics'), 401, 'unauthenticated')
        return
      }
      expect((await read(guarded.caller(ALICE))).total('sluice_publishes_total')).toBe(1)
      expect((await read(guarded.caller(BOB))).total('sluice_publishes_total')).toBe(0)
    })

    test('on Workers the readers shared by READER_SHARDS, each with figures of its own', async () => {
      if (isNode()) return
      const alice = guarded.caller(ALICE)
      const open = async () =>
        (await Promise.all([0, 1, 2].map((shard) => read(alice, shard)))).map((figures) =>
          figures.total('sluice_event_streams'),
        )
      const readers = []
      // By chance all of them are at one of three once in 3^29 times.
      for (let reader = 0; reader < 30; reader += 1)
        readers.push(await openEvents(alice, '/v1/streams/ORDERS/messages'))

      const held = await open()
      expect(held.reduce((sum, one) => sum + one, 0)).toBe(30)
      expect(held.filter((one) => one > 0).length).toBeGreaterThan(1)
      for (const reader of readers) reader.close()
      await until('all to be gone', async () => (await open()).every((one) => one === 0))
    })
  })
})

describe.each(HOSTS)('with AUTH=none and a METRICS_TOKEN, on %s', (hostName) => {
  test('401 unauthenticated without the token, 200 with it', async () => {
    const nats = await startNats()
    const host = await startHost(hostName, { natsUrl: nats.wsUrl, env: { METRICS_TOKEN: TOKEN } })
    try {
      const client = await createClient(host.url)
      expectProblem(await client.send('GET /metrics'), 401, 'unauthenticated')
      expect((await read(as(client, `Bearer ${TOKEN}`))).total('sluice_build_info')).toBe(1)
      expect((await client.send('GET /v1/streams')).status).toBe(200)
    } finally {
      await host.stop()
      await nats.stop()
    }
  })
})
