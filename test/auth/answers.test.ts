/** The proof that answers which nobody takes are counted, bounded by tenant, and given back when their client is gone. */
import { afterEach, expect, test } from 'vitest'
import { range, until } from '../contract/expectations.ts'
import { openRaw, type RawConnection } from '../contract/raw.ts'
import { parseExposition } from '../support/prometheus.ts'
import { authorizationText, basic, type Guarded, onEveryHost } from './support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from './users.ts'

const MIB = 1_048_576
const USERS = { configText: authorizationText([ADMIN, ALICE, BOB]), prepare: makeStreams }
const METRICS_TOKEN = 'token-for-the-figures'
const STREAM = '/v1/streams/ORDERS'
/** As JSON it is six times as long. */
const PAYLOAD = Buffer.alloc(500_000, 1)
/** So many that no answer with all of them fits into what the kernel keeps for two sockets. */
const MESSAGES = 40

const figure = async (guarded: Guarded, name: string, labels: Record<string, string> = {}) => {
  const isNode = guarded.host.name === 'node'
  const Authorization = isNode ? `Bearer ${METRICS_TOKEN}` : basic(ALICE)
  const answer = await fetch(`${guarded.host.url}/metrics`, { headers: { Authorization } })
  return parseExposition(await answer.text()).total(name, labels)
}

const open: RawConnection[] = []
afterEach(() => {
  for (const connection of open.splice(0)) connection.reset()
})

/** Asks, and reads no more than the head of the answer. */
async function ask(
  guarded: Guarded,
  target: string,
  accept: string,
  method = 'GET',
  body = '',
): Promise<number> {
  const headers = { Authorization: basic(ALICE), Accept: accept, 'Content-Type': 'application/json' }
  const connection = await openRaw(guarded.host.url, { method, target, headers, body })
  open.push(connection)
  return (await connection.head()).status
}

onEveryHost(
  { ...USERS, env: { METRICS_TOKEN, MAX_MEMORY_BYTES: String(64 * MIB), MAX_PAGE_BYTES: String(64 * MIB) } },
  (guarded) => {
    const held = () => figure(guarded, 'sluice_held_bytes')

    test('what nobody takes is counted until its client is gone, and leaves room to other tenants', async () => {
      const alice = guarded.caller(ALICE)
      for (const _ of range(1, MESSAGES))
        expect((await alice.send('POST /v1/subjects/orders.eu/messages', { body: PAYLOAD })).status).toBe(201)
      await guarded.caller(BOB).publish('invoices.eu', 'hello')

      for (const [name, target, accept, method, body] of [
        ['pages', `${STREAM}/messages?limit=1000`, 'application/json'],
        ['lines', `${STREAM}/messages`, 'application/x-ndjson'],
        ['events in a batch', `${STREAM}/messages?limit=1000`, 'application/cloudevents-batch+json'],
        ['single messages', `${STREAM}/messages/1`, 'application/json'],
        ['raw messages', `${STREAM}/messages/1`, 'application/octet-stream'],
        ['pulls', `${STREAM}/consumers/billing/pull`, 'application/json', 'POST', '{"batch":4}'],
      ] as const) {
        const statuses: number[] = []
        // With the first refusal there is no more room.
        while (statuses.length < 40 && !statuses.includes(429))
          statuses.push(await ask(guarded, target, accept, method, body))
        expect(new Set(statuses.slice(0, -1))).toEqual(new Set([200]))
        // The kernel takes the whole of a single message.
        const isLarge = target.endsWith('?limit=1000') || target.endsWith('messages')
        if (isLarge) expect([name, statuses.at(-1)]).toEqual([name, 429])
        if (isLarge) expect(await held()).toBeGreaterThan(16 * MIB)
        expect(await held()).toBeLessThanOrEqual(32 * MIB)

        expect((await guarded.caller(BOB).page('INVOICES')).messages).toHaveLength(1)
        expect(await alice.send(`GET ${STREAM}`)).toMatchObject({ status: 200 })

        for (const connection of open.splice(0)) connection.reset()
        await until(`all of ${name} to be given back`, async () => (await held()) === 0)
      }
      expect(
        await figure(guarded, 'sluice_refused_total', { limit: 'MAX_MEMORY_BYTES_PER_TENANT' }),
      ).toBeGreaterThanOrEqual(3)
    })
  },
)

onEveryHost({ ...USERS, env: { METRICS_TOKEN } }, (guarded) => {
  test('a page whose JSON is longer than MAX_PAGE_BYTES ends before that, and the next goes on', async () => {
    const alice = guarded.caller(ALICE)
    for (const _ of range(1, 12)) await alice.send('POST /v1/subjects/orders.eu/messages', { body: PAYLOAD })
    const pages = []
    for (let cursor = ''; ; ) {
      const page = await alice.page('ORDERS', cursor === '' ? { limit: 1_000 } : { limit: 1_000, cursor })
      pages.push(page.messages.map(({ seq }) => seq))
      cursor = page.cursor
      expect(JSON.stringify(page.messages).length).toBeLessThan(8.1 * MIB)
      if (page.up_to_date) break
    }
    expect(pages.flat()).toEqual(range(1, 12))
    expect(pages.length).toBeGreaterThan(4)
    expect(await figure(guarded, 'sluice_held_bytes')).toBe(0)
  })
})
