/** The proof of the browser's rules in a real browser: its cache, its requests for other sites, and names led astray. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { as, authorizationText, basic } from '../auth/support.ts'
import { ADMIN, ALICE, BOB, makeStream, makeStreams } from '../auth/users.ts'
import {
  type Client,
  type ConsumerBody,
  createClient,
  type Message,
  publishPath,
  type StreamBody,
} from '../contract/client.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { usePages } from './open-pages.ts'
import {
  fetchIn,
  listenTo,
  type Site,
  startProxy,
  startSite,
  startWire,
  type Wire,
  waitFor,
} from './support.ts'

const CONSUMER = '/v1/streams/ORDERS/consumers/billing'
/** A name that its owner leads to this machine. */
const LED_HERE = 'led-here.example'
const openPage = usePages([`--host-resolver-rules=MAP ${LED_HERE} 127.0.0.1`])

let listed: Site
let stranger: Site
beforeAll(async () => {
  listed = await startSite()
  stranger = await startSite()
})
afterAll(() => {
  listed.stop()
  stranger.stop()
})

/** Another site than that of the bridge, and another origin of the same site. */
const strangers = () => [stranger.origin.replace('127.0.0.1', 'localhost'), stranger.origin]

describe.each(HOSTS)('callers with credentials on %s', (hostName) => {
  let nats: TestNats
  let host: TestHost
  let wire: Wire
  let admin: Client
  beforeAll(async () => {
    nats = await startNats({ configText: authorizationText([ADMIN, ALICE, BOB]) })
    host = await startHost(hostName, {
      natsUrl: nats.wsUrl,
      env: { AUTH: 'nats', CORS_ORIGINS: listed.origin },
    })
    wire = await startWire(host.url)
    admin = as(await createClient(host.url), basic(ADMIN))
    await makeStreams({ caller: (user) => as(admin, basic(user)) })
    await admin.publish('orders.eu', 'for alice', { 'Content-Type': 'text/plain' })
  })
  afterAll(async () => {
    wire.stop()
    await host.stop()
    await nats.stop()
  })

  test('the cache hands no answer to another credential, nor to none', async () => {
    const page = await openPage(listed.origin)
    const url = `${wire.url}/v1/streams/ORDERS/messages/1`
    const ask = (headers: Record<string, string>) => fetchIn(page, { url, headers })
    const first = await ask({ Authorization: basic(ALICE) })
    expect(first).toMatchObject({ status: 200, body: { data: 'for alice' } })
    const asked = () => wire.asked().match(/GET \/v1\/streams\/ORDERS\/messages\/1 /g)?.length
    // Her own is still there for her, without a question.
    const before = asked()
    expect(await ask({ Authorization: basic(ALICE) })).toEqual(first)
    expect(asked()).toBe(before)

    expect(await ask({ Authorization: basic(BOB) })).toMatchObject({ status: 403 })
    expect(await ask({ Authorization: basic({ ...ALICE, password: 'x' }) })).toMatchObject({ status: 401 })
    expect(await ask({})).toMatchObject({ status: 401 })
    const other = await ask({ Authorization: basic(ADMIN) })
    expect(other).toMatchObject({ status: 200, body: { data: 'for alice' } })
    // A cursor is good for its caller alone.
    const cursorOf = (answer: unknown) => (answer as { body: Message }).body.cursor
    expect(cursorOf(other)).not.toBe(cursorOf(first))
    expect(await ask({ Authorization: basic(BOB) })).toMatchObject({ status: 403 })
  })

  test('a page sends the headers that its libraries add', async () => {
    const page = await openPage(listed.origin)
    for (const name of [
      'Cache-Control',
      'Pragma',
      'baggage',
      'sentry-trace',
      'x-datadog-trace-id',
      'b3',
      'X-Requested-With',
      'traceparent',
    ]) {
      const headers = { Authorization: basic(ALICE), [name]: 'x' }
      for (const request of [
        { url: `${host.url}/v1/streams/ORDERS`, headers },
        { url: host.url + publishPath('orders.eu'), method: 'POST', headers, json: {} },
      ]) {
        expect([name, await fetchIn(page, request)]).toMatchObject([
          name,
          { status: request.method ? 201 : 200 },
        ])
      }
    }
  })
})

describe.each(HOSTS)('a bridge of anyone on this machine, on %s', (hostName) => {
  let nats: TestNats
  let host: TestHost
  let bridge: Client
  beforeAll(async () => {
    nats = await startNats()
    host = await startHost(hostName, {
      natsUrl: nats.wsUrl,
      env: { LOOPBACK_ONLY: 'true', HEARTBEAT_MS: '300' },
    })
    bridge = await createClient(host.url)
    await makeStream(bridge, 'ORDERS', 'orders.>')
    await bridge.ok(`PUT ${CONSUMER}`, { json: {} })
    await bridge.publish('orders.eu', 'task')
  })
  afterAll(async () => {
    await host.stop()
    await nats.stop()
  })
  const expectUntouched = async () => {
    const { state } = await bridge.ok<StreamBody>('GET /v1/streams/ORDERS')
    const { num_pending, delivered, num_ack_pending } = await bridge.ok<ConsumerBody>(`GET ${CONSUMER}`)
    expect([state.last_seq, num_pending, num_ack_pending, delivered.consumer_seq]).toEqual([1, 1, 0, 0])
  }

  test('no picture, frame, form, link or request of another page takes work or changes anything', async () => {
    for (const origin of strangers()) {
      const page = await openPage(origin)
      const target = {
        events: `${host.url}${CONSUMER}/messages`,
        publish: host.url + publishPath('orders.eu'),
      }
      const heard = await page.evaluate(async ({ events, publish }) => {
        const until = (element: HTMLElement) =>
          new Promise<string>((resolve) => {
            for (const name of ['load', 'error'])
              element.addEventListener(name, () => resolve(name), { once: true })
          })
        const said: string[] = []
        const image = new Image()
        const seen = until(image)
        image.src = events
        said.push(await seen)
        const submit = async (method: string, action: string, enctype: string) => {
          const frame = document.createElement('iframe')
          frame.name = `frame-${said.length}`
          document.body.append(frame)
          const form = document.createElement('form')
          Object.assign(form, { method, action, enctype, target: frame.name })
          form.innerHTML = '<input name="payload" value="json">'
          document.body.append(form)
          const answered = until(frame)
          form.submit()
          said.push(await answered)
        }
        await submit('get', events, '')
        await submit('post', publish, 'text/plain')
        await submit('post', events.replace('/messages', '/pull'), 'text/plain')
        for (const init of [{}, { method: 'POST', body: 'x' }]) {
          const url = init.method ? publish : events
          await fetch(url, { ...init, mode: 'no-cors' }).catch(() => undefined)
        }
        const source = new EventSource(events)
        said.push(
          await new Promise((resolve) => {
            source.onerror = () => resolve(`events ${source.readyState}`)
          }),
        )
        return said
      }, target)
      expect(heard[0]).toBe('error')
      expect(heard.at(-1)).toBe('events 2')
      // A link that is followed, too.
      await page.evaluate((url) => {
        const link = document.createElement('a')
        link.href = url
        document.body.append(link)
        link.click()
      }, target.events)
      await page.waitForURL(target.events)
      expect(await page.textContent('body')).toContain('Sec-Fetch-Site')
      await expectUntouched()
    }
  })

  test('a page by a name that was led to this machine gets nothing, though it is of one origin with the bridge', async () => {
    const page = await openPage(`${host.url.replace('127.0.0.1', LED_HERE)}/docs`)
    expect(await page.textContent('body')).toContain('LOOPBACK_ONLY')
    const origin = await page.evaluate(() => location.origin)
    for (const request of [
      { url: `${origin}/v1/streams` },
      { url: `${origin}/livez` },
      { url: origin + publishPath('orders.eu'), method: 'POST', json: {} },
      { url: `${origin}${CONSUMER}/pull`, method: 'POST', json: {} },
      { url: `${origin}${CONSUMER}/messages`, headers: { Accept: 'text/event-stream' } },
    ]) {
      expect(await fetchIn(page, request)).toMatchObject({ status: 403, body: { code: 'forbidden' } })
    }
    await expectUntouched()
  })

  test('what somebody stored never runs as a page of the bridge', async () => {
    const own = await startHost(hostName, { natsUrl: nats.wsUrl })
    const script = "parent.postMessage('ran', '*'); opener?.postMessage('ran', '*')"
    const stored = await createClient(own.url)
    await makeStream(stored, 'STORED', 'stored.>')
    const page = await openPage(`${own.url}/livez`)
    for (const [type, body] of [
      ['text/html', `<script>${script}</script>`],
      ['image/svg+xml', `<svg xmlns="http://www.w3.org/2000/svg"><script>${script}</script></svg>`],
      [
        'application/xhtml+xml',
        `<html xmlns="http://www.w3.org/1999/xhtml"><script>${script}</script></html>`,
      ],
      ['text/plain', `<script>${script}</script>`],
    ] as const) {
      const { seq } = await stored.publish('stored.a', body, { 'Content-Type': type })
      const ran = await page.evaluate(async (url) => {
        let heard = false
        addEventListener('message', () => {
          heard = true
        })
        const frame = document.createElement('iframe')
        frame.src = url
        document.body.append(frame)
        // A frame that becomes a download tells of nothing: what comes after it in the same host is waited for instead.
        await fetch(url, { headers: { Accept: 'text/html' }, cache: 'reload' })
        const next = document.createElement('iframe')
        next.src = '/livez'
        const loaded = new Promise((resolve) => next.addEventListener('load', resolve, { once: true }))
        document.body.append(next)
        await loaded
        return heard
      }, `${own.url}/v1/streams/STORED/messages/${seq}`)
      expect([type, ran]).toEqual([type, false])
    }
    await stored.ok('DELETE /v1/streams/STORED')
    await own.stop()
  })
})

describe.each(HOSTS)(
  'a page and the bridge on one origin behind a proxy that rewrites Host, on %s',
  (hostName) => {
    test('the page works once PUBLIC_ORIGIN and PUBLIC_PATH say so, and is told to before', async () => {
      const nats = await startNats()
      let host = await startHost(hostName, { natsUrl: nats.wsUrl })
      const proxy = await startProxy(() => host.url, '/nats')
      const client = await createClient(host.url)
      await makeStream(client, 'ORDERS', 'orders.>')
      const publish = { url: `${proxy.origin}/nats${publishPath('orders.eu')}`, method: 'POST', json: {} }
      const page = await openPage(`${proxy.origin}/app`)

      const refused = await fetchIn(page, publish)
      expect(refused).toMatchObject({
        status: 403,
        body: { detail: expect.stringContaining('PUBLIC_ORIGIN') },
      })
      for (const compared of [proxy.origin, new URL(host.url).host])
        expect(refused).toMatchObject({ body: { detail: expect.stringContaining(compared) } })
      await host.stop()

      const env = {
        PUBLIC_ORIGIN: proxy.origin,
        PUBLIC_PATH: '/nats',
        LOOPBACK_ONLY: 'true',
        HEARTBEAT_MS: '300',
      }
      host = await startHost(hostName, { natsUrl: nats.wsUrl, env })
      for (let n = 0; n < 2; n += 1) expect(await fetchIn(page, publish)).toMatchObject({ status: 201 })
      const followed = await page.evaluate(async (origin) => {
        const first = await fetch(`${origin}/nats/v1/streams/ORDERS/messages?limit=1`)
        const [, next = ''] = /<([^>]+)>/.exec(first.headers.get('Link') ?? '') ?? []
        const second = await fetch(next)
        return { next, second: (await second.json()).messages.length }
      }, proxy.origin)
      expect(followed).toEqual({ next: expect.stringMatching(/^\/nats\/v1\//), second: 1 })

      const ticket = await fetchIn(page, {
        url: `${proxy.origin}/nats/v1/tickets`,
        method: 'POST',
        json: { stream: 'ORDERS', start: 'beginning' },
      })
      const { url } = (ticket as { body: { url: string } }).body
      expect(url).toMatch(new RegExp(`^${proxy.origin}/nats/v1/`))
      await listenTo(page, url)
      expect(await waitFor(page, 'message', 2)).toHaveLength(2)

      proxy.stop()
      await host.stop()
      await nats.stop()
    })
  },
)
