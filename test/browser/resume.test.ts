/** The proof that what reads by events comes back: over a restart of the bridge and NATS at once, and by polyfills. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { as, authorizationText, basic, createTicket } from '../auth/support.ts'
import { ADMIN, ALICE, BOB } from '../auth/users.ts'
import { type Client, createClient, type Message } from '../contract/client.ts'
import { range, until } from '../contract/expectations.ts'
import { HOSTS, newTokenKey, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { usePages } from './open-pages.ts'
import {
  CLOSED,
  listenTo,
  type Site,
  startSite,
  startWire,
  type Told,
  toldTo,
  type Wire,
  waitFor,
} from './support.ts'

const STREAM = '/v1/streams/ORDERS'
const AUTHORIZATION = { Authorization: basic(ALICE) }
const require = createRequire(import.meta.url)
const POLYFILL = readFileSync(require.resolve('event-source-polyfill/src/eventsource.js'), 'utf8')

/** Of `launchdarkly-eventsource`, as far as the tests use it. */
interface NodeEventSource {
  onerror: ((event: { status?: number }) => void) | null
  addEventListener(name: string, listener: (event: { data: string; lastEventId: string }) => void): void
  close(): void
}
const { EventSource: LaunchDarkly } = require('launchdarkly-eventsource') as {
  EventSource: new (url: string, options: object) => NodeEventSource
}

const openPage = usePages()
let site: Site
beforeAll(async () => {
  site = await startSite()
})
afterAll(() => site.stop())

const words = (prefix: string) => range(1, 5).map((n) => `${prefix} ${n}`)
const dataOf = (told: readonly Told[]) => told.map(({ data }) => (data as Message).data)

describe.each(HOSTS)('readers that come back, on %s', (hostName) => {
  let nats: TestNats
  let host: TestHost
  let wire: Wire
  let admin: Client
  let alice: Client
  const env = () => ({
    AUTH: 'nats',
    HEARTBEAT_MS: '300',
    TOKEN_KEYS: tokenKeys,
    CORS_ORIGINS: site.origin,
    CONNECT_TIMEOUT_MS: '1000',
    REQUEST_TIMEOUT_MS: '1500',
  })
  const tokenKeys = newTokenKey()
  beforeAll(async () => {
    nats = await startNats({ configText: authorizationText([ADMIN, ALICE, BOB]) })
    host = await startHost(hostName, { natsUrl: nats.wsUrl, env: env() })
    wire = await startWire(host.url)
    const bridge = await createClient(host.url)
    admin = as(bridge, basic(ADMIN))
    alice = as(bridge, basic(ALICE))
    await admin.ok('POST /v1/streams', { json: { name: 'ORDERS', subjects: ['orders.>'], storage: 'file' } })
    await admin.ok(`PUT ${STREAM}/consumers/page`, { json: { ack_policy: 'none' } })
  })
  afterEach(() => admin.ok(`POST ${STREAM}/purge`, { json: {} }))
  afterAll(async () => {
    wire.stop()
    await host.stop()
    await nats.stop()
  })
  const publish = async (payloads: readonly string[]) => {
    for (const payload of payloads) await admin.publish('orders.eu', payload)
  }
  const ticketOf = async (json: object) => {
    const { url } = await createTicket(alice, { stream: 'ORDERS', ...json })
    return url.replace(host.url, wire.url)
  }
  /** Both are killed; the bridge comes first, and NATS once everyone who read has come back to it. */
  const restartBoth = async (readers: number) => {
    const port = Number(new URL(host.url).port)
    await Promise.all([nats.kill(), host.crash()])
    host = await startHost(hostName, { natsUrl: nats.wsUrl, env: env(), port })
    const from = wire.answered().length
    const heard = () =>
      wire
        .answered()
        .slice(from)
        .match(/^retry: \d+$/gm)?.length ?? 0
    await until('the readers are back and wait', async () => heard() >= readers)
    expect(wire.answered().slice(from)).not.toMatch(/HTTP\/1\.1 [45]/)
    await nats.restart()
  }
  /** The bridge and NATS are asked for at the same time by all who come back. */
  const serves = () =>
    until('NATS is there again', async () => (await admin.send(`GET ${STREAM}`)).status === 200)

  test('EventSource has each message once over a restart of the bridge and NATS at once', async () => {
    const [page, worker] = [await openPage(site.origin), await openPage(site.origin)]
    await listenTo(page, await ticketOf({ start: 'beginning' }))
    await listenTo(worker, await ticketOf({ consumer: 'page' }))
    await publish(words('before'))
    for (const one of [page, worker]) await waitFor(one, 'message', 5)

    await restartBoth(2)
    await serves()
    await publish(words('after'))

    expect(dataOf(await waitFor(page, 'message', 10))).toEqual([...words('before'), ...words('after')])
    // What the killed NATS had not written of the consumer comes again.
    await worker.waitForFunction(
      (last) => globalThis.told.some(({ data }) => (data as Message | undefined)?.data === last),
      'after 5',
      { polling: 20 },
    )
    const fresh = dataOf((await toldTo(worker)).filter(({ event }) => event === 'message'))
    expect(fresh.filter((word) => word?.startsWith('after'))).toEqual(words('after'))
    for (const one of [page, worker]) {
      const closed = (await toldTo(one)).filter(({ event, state }) => event === 'error' && state === CLOSED)
      expect(closed).toEqual([])
    }
  })

  /** As `listenTo`, by the polyfill. */
  const listenByPolyfill = async (page: Page, url: string, headers: object) => {
    await page.addScriptTag({ content: POLYFILL })
    await page.evaluate(
      ([address, sent]) => {
        globalThis.told = []
        const { EventSourcePolyfill } = globalThis as unknown as {
          EventSourcePolyfill: new (url: string, options: object) => EventSource
        }
        const source = new EventSourcePolyfill(address, { headers: sent })
        globalThis.source = source
        for (const event of ['open', 'message', 'caught_up', 'error'])
          source.addEventListener(event, (given) => {
            const { data, lastEventId = '' } = given as MessageEvent<string | undefined>
            const parsed = data === undefined ? undefined : JSON.parse(data)
            globalThis.told.push({ event, id: lastEventId, state: source.readyState, data: parsed })
          })
      },
      [url, headers] as const,
    )
  }

  test('event-source-polyfill goes on by lastEventId in the URL, with a credential and with a ticket', async () => {
    const pages = [await openPage(site.origin), await openPage(site.origin)] as const
    await listenByPolyfill(pages[0], `${wire.url}${STREAM}/messages?subject=orders.eu`, AUTHORIZATION)
    await listenByPolyfill(pages[1], await ticketOf({ subjects: ['orders.eu'] }), {})
    for (const page of pages) await waitFor(page, 'caught_up', 1)
    await publish(words('before'))
    for (const page of pages) await waitFor(page, 'message', 5)
    const from = wire.asked().length

    wire.cut()
    await publish(words('cut'))
    for (const page of pages) await waitFor(page, 'message', 10)
    await restartBoth(2)
    await serves()
    await publish(words('after'))

    for (const page of pages) {
      expect(dataOf(await waitFor(page, 'message', 15))).toEqual([
        ...words('before'),
        ...words('cut'),
        ...words('after'),
      ])
    }
    expect(wire.asked().slice(from)).toMatch(/GET \S+[?&]lastEventId=c/)
  })

  test('launchdarkly-eventsource goes on by its header', async () => {
    const told: (string | undefined)[] = []
    let isThere = false
    const source = new LaunchDarkly(`${wire.url}${STREAM}/messages`, {
      headers: AUTHORIZATION,
      initialRetryDelayMillis: 100,
    })
    source.onerror = () => undefined
    source.addEventListener('caught_up', () => {
      isThere = true
    })
    source.addEventListener('message', ({ data }) => told.push((JSON.parse(data) as Message).data))
    await until('it has caught up', async () => isThere)
    await publish(words('before'))
    await until('the first messages', async () => told.length >= 5)

    wire.cut()
    await publish(words('cut'))
    await until('what came meanwhile', async () => told.length >= 10)
    await restartBoth(1)
    await serves()
    await publish(words('after'))
    await until('what came after the restart', async () => told.length >= 15)

    source.close()
    expect(told).toEqual([...words('before'), ...words('cut'), ...words('after')])
  })
})
