/** The proof of examples/outbox: what a shop writes is in the stream once, although its relay is killed again and again. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { HOSTS, startHost } from '../support/host.ts'
import { PYTHON, randomFrom, SEED, type Site, startSite, waitUntil } from './site.ts'

const DEFAULT_WINDOW_MS = 120_000
/** The shortest that there is, so that a relay can come back after it. */
const SHORTEST_WINDOW_MS = 100
/** Of the relay, where keys are known for so long; with every SHOP_KILL-th the shop is killed too. */
const KILLS = [
  { kills: 40, windowMs: DEFAULT_WINDOW_MS },
  { kills: 10, windowMs: SHORTEST_WINDOW_MS },
]
const SHOP_KILL = 5
const LATEST_KILL_MS = 30
const CUSTOMERS = 40
const BATCH = 20

/** An event, where the outbox or the stream has it. */
type Event = { seq: number; id: string; subject: string; data: string }
type Stream = { state: { messages: number } }

describe.skipIf(PYTHON.isMissing).each(HOSTS)(
  `examples/outbox on %s, seed ${SEED}${PYTHON.why}`,
  { timeout: 40_000 },
  (hostName) => {
    const random = randomFrom(`${SEED} ${hostName}`)
    let site: Site

    beforeAll(async () => {
      site = await startSite('outbox', hostName)
    })

    afterAll(async () => {
      await site?.end()
    })

    /** Where it is there already, it is made again. */
    const makeStream = async (windowMs = DEFAULT_WINDOW_MS): Promise<void> => {
      await fetch(`${site.host.url}/v1/streams/SHOP`, { method: 'DELETE' })
      const config = { name: 'SHOP', subjects: ['shop.>'], duplicate_window_ms: windowMs }
      await site.call('POST', '/v1/streams', config)
    }

    const storedCount = async (): Promise<number> => {
      const stream = (await (await fetch(`${site.host.url}/v1/streams/SHOP`)).json()) as Stream
      return stream.state.messages
    }

    const storedEvents = async (): Promise<Event[]> =>
      (await site.messagesOf('SHOP')).map(({ seq, subject, data, headers }) => {
        const [id = ''] = headers['Nats-Msg-Id'] ?? []
        return { seq, id, subject, data }
      })

    const startShop = (database: string, ...args: string[]) =>
      site.start('shop.py', '--db', database, '--customers', `${CUSTOMERS}`, ...args)

    const startRelay = (database: string, ...args: string[]) =>
      site.start('relay.py', '--db', database, '--batch', `${BATCH}`, ...args)

    /** Takes orders of one customer and ships what there is; answers what the relay says. */
    const ship = async (database: string, orders: number, { code = 0 } = {}): Promise<string> => {
      await site.finish(await startShop(database, '--orders', `${orders}`, '--customers', '1'))
      return await site.finish(await startRelay(database), code)
    }

    const change = (database: string, sql: string): void => {
      const db = new DatabaseSync(join(site.folder, database))
      db.exec(sql)
      db.close()
    }

    const shippedIn = (database: string): number =>
      site.select<{ count: number }>(database, 'SELECT count(seq) AS count FROM outbox')[0]?.count ?? 0

    /** The events as the outbox has them, which are the orders: none without its event, no event without its order. */
    const writtenEvents = (database: string): (Event & { position: number })[] => {
      const orders = site.select<object>(
        database,
        'SELECT number AS "order", customer, item, quantity FROM orders',
      )
      const events = site.select<Event & { position: number }>(
        database,
        'SELECT * FROM outbox ORDER BY position',
      )
      expect(events.map(({ data }) => JSON.parse(data))).toEqual(orders)
      return events
    }

    /** The stream has what the outbox has, each event once, those of a subject in their order. */
    const expectShipped = async (database: string): Promise<void> => {
      const written = writtenEvents(database)
      const inStream = written.toSorted((a, b) => a.seq - b.seq)
      expect(await storedEvents()).toEqual(inStream.map(({ position: _, ...event }) => event))
      for (const [subject, events] of Map.groupBy(inStream, ({ subject }) => subject))
        expect(events, subject).toEqual(events.toSorted((a, b) => a.position - b.position))
    }

    test.each(KILLS)(
      'relay.py stores each event once although it is killed $kills times, where keys are known for $windowMs ms',
      async ({ kills, windowMs }) => {
        const database = `shop-${windowMs}.db`
        const openShop = () => startShop(database, '--orders', '1000000', '--pause-ms', '2')
        await makeStream(windowMs)
        let shop = await openShop()
        let inDoubt = 0
        for (let kill = 1; kill <= kills; kill += 1) {
          const before = await storedCount()
          const relay = await startRelay(database, '--follow')
          const hasBegun = async () => (await storedCount()) > before
          await site.killLater(relay, hasBegun, random() * LATEST_KILL_MS)
          if ((await storedCount()) > shippedIn(database)) inDoubt += 1
          // The next one comes when nothing knows the keys any more.
          if (windowMs < DEFAULT_WINDOW_MS) await delay(windowMs)
          if (kill % SHOP_KILL > 0) continue
          await shop.crash()
          shop = await openShop()
        }
        await shop.crash()
        await site.finish(await startRelay(database))
        await expectShipped(database)
        expect(inDoubt, 'kills between sending and noting').toBeGreaterThan(0)
      },
    )

    test('relay.py goes on by itself where the bridge and NATS were killed', async () => {
      await makeStream()
      const shop = await startShop('outage.db', '--orders', '300', '--pause-ms', '1')
      const relay = await startRelay('outage.db', '--follow')
      await waitUntil(async () => (await storedCount()) > 0)
      await Promise.all([site.host.crash(), site.nats.restart()])
      await site.finish(shop)
      const port = Number(new URL(site.host.url).port)
      site.host = await startHost(hostName, { natsUrl: site.nats.wsUrl, port })
      await waitUntil(() => shippedIn('outage.db') === 300)
      await relay.crash()
      await expectShipped('outage.db')
    })

    test('relay.py goes on where the stream has dropped what it had', async () => {
      await makeStream()
      await ship('purged.db', 3)
      await site.call('POST', '/v1/streams/SHOP/purge', {})
      expect(await ship('purged.db', 1)).toContain(
        'the stream does not have message 3 of shop.orders.customer-0',
      )
      expect(await storedEvents()).toEqual([expect.objectContaining({ seq: 4 })])
    })

    test('relay.py stops where another producer has a subject of its', async () => {
      await makeStream()
      await ship('foreign.db', 1)
      await site.call('POST', '/v1/subjects/shop.orders.customer-0/messages', {})
      const output = await ship('foreign.db', 1, { code: 1 })
      expect(output).toContain('message 2 of shop.orders.customer-0 is not of this outbox')
      expect(await storedCount()).toBe(2)
    })

    test('relay.py stops at an event that is refused for good, and says which', async () => {
      await makeStream()
      await ship('refused.db', 1)
      change('refused.db', "INSERT INTO outbox (id, subject, data) VALUES ('a', 'no.such.stream', '')")
      const output = await ship('refused.db', 1, { code: 1 })
      expect(output).toContain(
        'subject_not_found: event 2 of the outbox: No stream listens on "no.such.stream".',
      )
      expect(await storedCount()).toBe(2)
    })

    test('a second relay.py of an outbox does not start', async () => {
      await makeStream()
      await startShop('locked.db', '--orders', '1')
      await startRelay('locked.db', '--follow')
      await waitUntil(async () => (await storedCount()) > 0)
      expect(await site.finish(await startRelay('locked.db'), 1)).toContain('another relay ships locked.db')
    })
  },
)
