/** The proof that a web page reads by `EventSource` in a real browser: over cuts, and only where it may. */
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startClockedBridge } from '../auth/clocked-bridge.ts'
import { as, authorizationText, basic } from '../auth/support.ts'
import { ADMIN, ALICE, BOB, makeStreams } from '../auth/users.ts'
import {
  type Client,
  type ConsumerBody,
  createClient,
  type Delivery,
  type Message,
  publishPath,
  type StreamBody,
} from '../contract/client.ts'
import { at, range, until } from '../contract/expectations.ts'
import { type Chromium, getChromium } from '../support/chromium.ts'
import { HOSTS, newTokenKey, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import {
  CLOSED,
  fetchIn,
  launch,
  listenTo,
  type Site,
  startSite,
  startWire,
  type Told,
  toldTo,
  type Wire,
  waitFor,
  waitUntilClosed,
} from './support.ts'

const STREAM = '/v1/streams/ORDERS'
const MINUTE_MS = 60_000
const AUTHORIZATION = { Authorization: basic(ALICE) }

let chromium: Chromium
let browser: Browser | undefined
let listed: Site
let unlisted: Site

beforeAll(async () => {
  chromium = await getChromium()
  if (chromium.path !== undefined) browser = await launch(chromium)
  listed = await startSite()
  unlisted = await startSite()
}, 180_000)
afterAll(async () => {
  await browser?.close()
  listed.stop()
  unlisted.stop()
})
beforeEach((ctx) => {
  if (chromium.path === undefined) ctx.skip(chromium.reason)
})

/** Pages of a test, which are closed with it. */
const pages: Page[] = []
async function openPage(address: string): Promise<Page> {
  if (!browser) throw new Error('There is no browser')
  const page = await browser.newPage()
  pages.push(page)
  await page.goto(address)
  return page
}
afterEach(async () => {
  for (const page of pages.splice(0)) await page.close()
})

const dataOf = (told: readonly Told[]) => told.map(({ data }) => (data as Message).data)
const words = (prefix: string, count: number) => range(1, count).map((n) => `${prefix} ${n}`)

/** The page asks for a ticket with its credential, and gets the URL to open. */
async function ticketUrl(page: Page, bridgeUrl: string, json: object): Promise<string> {
  const made = await fetchIn(page, {
    url: `${bridgeUrl}/v1/tickets`,
    method: 'POST',
    headers: AUTHORIZATION,
    json,
  })
  expect(made).toMatchObject({ status: 201 })
  return (made as { body: { url: string } }).body.url
}

/** From now on the page acknowledges what its `EventSource` brings, and what that has brought. */
async function acknowledgeAll(page: Page, bridgeUrl: string): Promise<void> {
  await page.evaluate(
    ({ url, headers }) => {
      const acknowledge = (data: unknown) => {
        const body = JSON.stringify({ acks: [{ token: (data as Delivery).ack_token, action: 'ack' }] })
        void fetch(url, { method: 'POST', headers, body }).catch(() => undefined)
      }
      globalThis.source.addEventListener('message', ({ data }) => acknowledge(JSON.parse(data)))
      for (const { event, data } of globalThis.told) if (event === 'message') acknowledge(data)
    },
    { url: `${bridgeUrl}/v1/acks`, headers: { ...AUTHORIZATION, 'Content-Type': 'application/json' } },
  )
}

async function publishAll(client: Client, subject: string, payloads: readonly string[]): Promise<void> {
  for (const payload of payloads) await client.publish(subject, payload)
}

describe.each(HOSTS)('EventSource on %s', (hostName) => {
  const env = () => ({
    AUTH: 'nats',
    HEARTBEAT_MS: '500',
    TOKEN_KEYS: tokenKeys,
    CORS_ORIGINS: listed.origin,
  })
  const tokenKeys = newTokenKey()
  let nats: TestNats
  let host: TestHost
  let wire: Wire
  let admin: Client

  beforeAll(async () => {
    nats = await startNats({ configText: authorizationText([ADMIN, ALICE, BOB]) })
    host = await startHost(hostName, { natsUrl: nats.wsUrl, env: env() })
    wire = await startWire(host.url)
    admin = as(await createClient(host.url), basic(ADMIN))
    await makeStreams({ caller: (user) => as(admin, basic(user)) })
  })
  afterEach(async () => {
    wire.cutAfter(undefined)
    await admin.ok(`POST ${STREAM}/purge`, { json: {} })
  })
  afterAll(async () => {
    wire.stop()
    await host.stop()
    await nats.stop()
  })
  /** SIGKILL, and the same bridge again at the same address. */
  const restartHost = async () => {
    const port = Number(new URL(host.url).port)
    await host.crash()
    host = await startHost(hostName, { natsUrl: nats.wsUrl, env: env(), port })
  }
  const lastSeq = async () => (await admin.ok<StreamBody>(`GET ${STREAM}`)).state.last_seq

  test('a page of a listed origin has each message once and in order, whatever happens to its connection', async () => {
    const page = await openPage(listed.origin)
    const expected: string[] = []
    const publish = async (...payloads: string[]) => {
      expected.push(...payloads)
      await publishAll(admin, 'orders.eu', payloads)
      await admin.publish('orders.us', 'filtered out')
    }
    const received = async () => dataOf(await waitFor(page, 'message', expected.length))

    await publish(...words('history', 5))
    await listenTo(
      page,
      await ticketUrl(page, wire.url, { stream: 'ORDERS', subjects: ['orders.eu'], start: 'beginning' }),
    )
    await waitFor(page, 'caught_up', 1)
    await publish(...words('live', 5))
    expect(await received()).toEqual(expected)

    wire.cut()
    await publish(...words('while it was cut off', 5))
    expect(await received()).toEqual(expected)

    await restartHost()
    await publish(...words('after the crash', 5))
    expect(await received()).toEqual(expected)

    // In the middle of an event, again and again.
    const before = wire.cuts()
    wire.cutAfter(7_001)
    wire.cut()
    await publish(...words('x'.repeat(1_000), 16))
    expect(await received()).toEqual(expected)
    expect(wire.cuts() - before).toBeGreaterThanOrEqual(3)

    const told = await toldTo(page)
    expect(told.filter(({ event, state }) => event === 'error' && state === CLOSED)).toEqual([])
    expect(told.filter(({ event }) => event === 'gap')).toEqual([])
    // Only the first time does it come without the id of what it had.
    const opened = wire.asked().match(/GET \S+\?ticket=/g) ?? []
    const resumed = wire.asked().match(/Last-Event-ID: c[12]\./gi) ?? []
    expect([opened.length - resumed.length, resumed.length > 5]).toEqual([1, true])
  })

  test('a reconnect begins at the id of a heartbeat where nothing matched for long', async () => {
    const page = await openPage(listed.origin)
    await listenTo(page, await ticketUrl(page, wire.url, { stream: 'ORDERS', subjects: ['orders.rare'] }))
    const [{ id: first } = { id: '' }] = await waitFor(page, 'caught_up', 1)
    const from = wire.answered().length
    await publishAll(admin, 'orders.eu', words('other', 5))
    // The heartbeat after it, too: a browser forgets what came just before its connection breaks.
    await until('a heartbeat with an id, and the next', async () =>
      /: \nid: \S+\n\n[\s\S]*: \n/.test(wire.answered().slice(from)),
    )

    const asked = wire.asked().length
    const heard = [...wire.answered().matchAll(/^id: (\S+)$/gm)].map(([, id]) => id)
    wire.cut()
    await admin.publish('orders.rare', 'found')
    const messages = await waitFor(page, 'message', 1)

    expect(dataOf(messages)).toEqual(['found'])
    const [, sent] = /Last-Event-ID: (\S+)/i.exec(wire.asked().slice(asked)) ?? []
    expect(sent).not.toBe(first)
    expect(heard).toContain(sent)
  })

  test("a page works through a consumer's messages over a cut, and acknowledges each", async () => {
    // What was on its way to a page that is cut off comes again after the ack wait.
    await admin.ok(`PUT ${STREAM}/consumers/page`, { json: { ack_wait_ms: 2_000 } })
    const page = await openPage(listed.origin)
    const expected = [...words('task', 3), ...words('later', 3)]
    await publishAll(admin, 'orders.eu', expected.slice(0, 3))
    await listenTo(page, await ticketUrl(page, wire.url, { stream: 'ORDERS', consumer: 'page' }))
    await acknowledgeAll(page, wire.url)
    await waitFor(page, 'message', 3)

    wire.cut()
    await publishAll(admin, 'orders.eu', expected.slice(3))

    await until('all is acknowledged', async () => {
      const { num_ack_pending, num_pending } = await admin.ok<ConsumerBody>(`GET ${STREAM}/consumers/page`)
      return num_ack_pending === 0 && num_pending === 0
    })
    expect(new Set(dataOf((await toldTo(page)).filter(({ event }) => event === 'message')))).toEqual(
      new Set(expected),
    )
    await admin.ok(`DELETE ${STREAM}/consumers/page`)
  })

  test('a page of a listed origin reads why it was refused', async () => {
    const page = await openPage(listed.origin)
    const ask = (headers: Record<string, string>) =>
      fetchIn(page, { url: `${wire.url}/v1/streams/INVOICES`, headers })

    expect(await ask({})).toMatchObject({ status: 401, body: { code: 'unauthenticated' } })
    expect(await ask(AUTHORIZATION)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
  })

  test('a page of an origin that is not listed gets nothing, with a good credential and a good ticket too', async () => {
    const { url } = await as(admin, basic(ALICE)).ok<{ url: string }>('POST /v1/tickets', {
      json: { stream: 'ORDERS', start: 'beginning' },
    })
    await admin.publish('orders.eu', 'secret')
    const before = await lastSeq()
    const page = await openPage(unlisted.origin)

    await listenTo(page, url)
    await waitUntilClosed(page)
    expect((await toldTo(page)).map(({ event }) => event)).toEqual(['error'])
    const publish = { url: host.url + publishPath('orders.eu'), method: 'POST' }
    for (const request of [
      { url: `${host.url}/v1/tickets`, method: 'POST', headers: AUTHORIZATION, json: { stream: 'ORDERS' } },
      { url: `${host.url}${STREAM}/messages`, headers: AUTHORIZATION },
      { url: `${host.url}/livez` },
      { url },
      { ...publish, headers: AUTHORIZATION },
      publish,
    ]) {
      expect(await fetchIn(page, request)).toEqual({ threw: 'TypeError' })
    }
    // What a page may send without asking first is refused as well, though it never learns that.
    expect(await fetchIn(page, { ...publish, mode: 'no-cors' })).toEqual({ status: 0, body: undefined })
    expect(await lastSeq()).toBe(before)
  })

  test('a page without an origin, in a sandbox of a listed one, gets nothing', async () => {
    const page = await openPage(listed.origin)
    const threw = await page.evaluate(
      (address) =>
        new Promise<unknown>((resolve) => {
          addEventListener('message', ({ data }) => resolve(data), { once: true })
          const frame = document.createElement('iframe')
          frame.sandbox.add('allow-scripts')
          frame.srcdoc = `<script>
            fetch(${JSON.stringify(address)}).then(() => 'an answer', (failure) => failure.name)
              .then((outcome) => parent.postMessage([origin, outcome], '*'))
          </script>`
          document.body.append(frame)
        }),
      `${host.url}/livez`,
    )

    expect(threw).toEqual(['null', 'TypeError'])
  })

  test("the bridge's own page need not be listed", async () => {
    const page = await openPage(`${host.url}/livez`)
    await admin.publish('orders.eu', 'seen')

    await listenTo(page, await ticketUrl(page, host.url, { stream: 'ORDERS', start: 'beginning' }))

    expect(dataOf(await waitFor(page, 'message', 1))).toEqual(['seen'])
  })
})

describe('EventSource and a ticket that leaked', () => {
  test('gets nothing after a minute, while the page that had it goes on over a cut', async () => {
    const nats = await startNats({ configText: authorizationText([ADMIN, ALICE, BOB]) })
    const bridge = await startClockedBridge(nats.wsUrl, { CORS_ORIGINS: listed.origin })
    const wire = await startWire(bridge.url)
    const client = await createClient(bridge.url)
    await makeStreams({ caller: (user) => as(client, basic(user)) })
    const alice = as(client, basic(ALICE))
    const [page, thief] = [await openPage(listed.origin), await openPage(listed.origin)]
    const url = await ticketUrl(page, wire.url, { stream: 'ORDERS' })
    await listenTo(page, url)
    await waitFor(page, 'caught_up', 1)
    await alice.publish('orders.eu', 'first')
    await waitFor(page, 'message', 1)

    bridge.setTime(Date.now() + MINUTE_MS + 1_000)
    await listenTo(thief, url)
    await waitUntilClosed(thief)
    wire.cut()
    await alice.publish('orders.eu', 'second')

    expect(dataOf(await waitFor(page, 'message', 2))).toEqual(['first', 'second'])
    expect((await toldTo(thief)).map(({ event, state }) => [event, state])).toEqual([['error', CLOSED]])
    expect(await fetchIn(thief, { url, headers: { Accept: 'text/event-stream' } })).toMatchObject({
      status: 401,
      body: { code: 'ticket_invalid' },
    })
    // And once the ticket is over, nobody.
    bridge.setTime(Date.now() + 2 * 60 * MINUTE_MS)
    wire.cut()
    await waitUntilClosed(page)
    expect(at(await toldTo(page), -1)).toMatchObject({ event: 'error', state: CLOSED })

    wire.stop()
    await bridge.stop()
    await nats.stop()
  })
})
