/** The proof that a resumed event stream is never answered with what makes a browser give up for ever. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { as, authorizationText, basic, createTicket, pathOf } from '../auth/support.ts'
import { ADMIN, ALICE, BOB } from '../auth/users.ts'
import { type Client, createClient, type Message, publishPath } from '../contract/client.ts'
import { type EventStream, openEvents } from '../contract/events.ts'
import { problem } from '../contract/expectations.ts'
import { HOSTS, type HostName, newTokenKey, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const EVENTS = { Accept: 'text/event-stream' }
const STREAM = '/v1/streams/ORDERS'
const CONSUMER = `${STREAM}/consumers/billing`
const RETRY = /^retry: \d+\n\n$/

/** A bridge and its NATS, each of which can go and come again where it was. */
interface Place {
  readonly nats: TestNats
  readonly alice: Client
  readonly admin: Client
  /** SIGKILL, and the same bridge again. */
  restartHost(): Promise<void>
  host(): TestHost
  stop(): Promise<void>
}

async function start(hostName: HostName, settings: Readonly<Record<string, string>> = {}): Promise<Place> {
  const nats = await startNats({ configText: authorizationText([ADMIN, ALICE, BOB]) })
  const env = {
    AUTH: 'nats',
    HEARTBEAT_MS: '300',
    TOKEN_KEYS: newTokenKey(),
    CONNECT_TIMEOUT_MS: '1000',
    REQUEST_TIMEOUT_MS: '1500',
    ...settings,
  }
  let host = await startHost(hostName, { natsUrl: nats.wsUrl, env })
  const bridge = await createClient(host.url)
  const admin = as(bridge, basic(ADMIN))
  await admin.ok('POST /v1/streams', { json: { name: 'ORDERS', subjects: ['orders.>'], storage: 'file' } })
  await admin.ok(`PUT ${CONSUMER}`, { json: { ack_wait_ms: 1_000 } })
  return {
    nats,
    admin,
    alice: as(bridge, basic(ALICE)),
    host: () => host,
    async restartHost() {
      const port = Number(new URL(host.url).port)
      await host.crash()
      host = await startHost(hostName, { natsUrl: nats.wsUrl, env, port })
    },
    async stop() {
      await host.stop()
      await nats.stop()
    },
  }
}

/** Opens events, has an id of them, and leaves. */
async function idOf(client: Client, path: string): Promise<string> {
  const events = await openEvents(client, path)
  await events.until('an id', () => events.lastEventId() !== '')
  events.close()
  return events.lastEventId()
}

const waits = (events: EventStream) => events.until('heartbeats', () => events.comments() >= 3)
const ends = (events: EventStream) =>
  events
    .until('the end', () => false)
    .catch(() => {
      if (!events.ended()) throw new Error('It goes on')
    })

describe.each(HOSTS)('a resumed event stream on %s', (hostName) => {
  let place: Place
  beforeAll(async () => {
    place = await start(hostName, { MAX_READERS_PER_TENANT: '20', MAX_RESUMING_PER_TENANT: '3' })
  }, 60_000)
  afterAll(() => place.stop())
  const open: EventStream[] = []
  afterEach(async () => {
    for (const events of open.splice(0)) events.close()
  })
  const resume = async (client: Client, path: string, id: string, query = {}) => {
    const events = await openEvents(client, path, { headers: { 'Last-Event-ID': id }, query })
    open.push(events)
    return events
  }

  test.each(['killed', 'stopped'])(
    '200 while NATS is %s and the host was restarted: heartbeats, then what was missed',
    async (how) => {
      const { admin, alice, nats } = place
      const ticket = pathOf(await createTicket(alice, { stream: 'ORDERS', subjects: ['orders.eu'] }))
      const paths = [`${STREAM}/messages?subject=orders.eu`, ticket]
      const ids = await Promise.all(paths.map((path) => idOf(alice, path)))
      const ofConsumer = await idOf(alice, `${CONSUMER}/messages`)
      const { seq } = await alice.publish('orders.eu', 'missed')

      await (how === 'killed' ? nats.kill() : nats.pause())
      await place.restartHost()
      const resumed = await Promise.all([
        ...paths.map((path, at) => resume(alice, path, ids[at] ?? '')),
        resume(alice, `${CONSUMER}/messages`, ofConsumer),
      ])
      for (const events of resumed) await waits(events)
      // What has no id of ours is refused as ever.
      for (const headers of [EVENTS, { ...EVENTS, 'Last-Event-ID': 'x' }])
        expect((await alice.send(`GET ${STREAM}/messages`, { headers })).status).not.toBe(200)

      if (how === 'killed') await nats.restart()
      else nats.resume()
      for (const events of resumed) {
        const [first] = await events.take<Message>('message', 1)
        expect(first).toMatchObject({ seq, data: 'missed' })
        expect(events.text()).toMatch(/^retry: \d+\n/)
      }
      await admin.ok(`POST ${STREAM}/purge`, { json: {} })
    },
    60_000,
  )

  test('a status where NATS is there and refuses, so that nobody comes back for ever', async () => {
    const { admin, alice } = place
    const id = await idOf(alice, `${STREAM}/messages`)
    const again = { headers: { ...EVENTS, 'Last-Event-ID': id } }
    await admin.ok(`DELETE ${STREAM}`)
    expect(await alice.send(`GET ${STREAM}/messages`, again)).toMatchObject(problem(404, 'stream_not_found'))
    const bob = as(alice, basic(BOB))
    expect((await bob.send(`GET ${STREAM}/messages`, again)).status).toBe(400)
    await admin.ok('POST /v1/streams', { json: { name: 'ORDERS', subjects: ['orders.>'], storage: 'file' } })
    await admin.ok(`PUT ${CONSUMER}`, { json: { ack_wait_ms: 1_000 } })
    expect(await alice.send(`GET ${STREAM}/messages`, again)).toMatchObject(problem(410, 'stream_recreated'))
  })

  test('a pool of its own while NATS is away, and the end where that is full', async () => {
    const { alice, nats } = place
    const id = await idOf(alice, `${STREAM}/messages`)
    await nats.kill()
    const waiting = await Promise.all([1, 2, 3].map(() => resume(alice, `${STREAM}/messages`, id)))
    for (const events of waiting) await waits(events)
    const fourth = await openEvents(alice, `${STREAM}/messages`, { headers: { 'Last-Event-ID': id } })
    await ends(fourth)
    expect(fourth.text()).toMatch(RETRY)

    // Who leaves makes room.
    waiting[0]?.close()
    await expect
      .poll(
        async () => {
          const next = await resume(alice, `${STREAM}/messages`, id)
          await next
            .until('a heartbeat or the end', () => next.comments() > 0 || next.ended())
            .catch(() => {})
          return next.comments() > 0
        },
        { timeout: 10_000 },
      )
      .toBe(true)
    await nats.restart()
    for (const events of waiting.slice(1)) await events.take('caught_up', 1)
  })

  test('a refusal after the wait is an event and the end, and a status when the reader comes back', async () => {
    const { admin, alice, nats } = place
    await admin.ok('POST /v1/streams', { json: { name: 'GONE', subjects: ['gone.>'], storage: 'memory' } })
    const id = await idOf(admin, '/v1/streams/GONE/messages')
    await nats.kill()
    const events = await resume(admin, '/v1/streams/GONE/messages', id)
    await waits(events)
    await nats.restart()
    expect(await events.take('error', 1)).toMatchObject([{ status: 404, code: 'stream_not_found' }])
    await ends(events)
    for (let n = 0; n < 2; n += 1) {
      expect(
        await admin.send('GET /v1/streams/GONE/messages', { headers: { ...EVENTS, 'Last-Event-ID': id } }),
      ).toMatchObject(problem(404, 'stream_not_found'))
    }
    expect((await alice.send(`POST ${publishPath('orders.eu')}`, { body: 'x' })).status).toBe(201)
  })
})

test.each(HOSTS)(
  'a limit that is reached on %s: 200, retry and the end, where a new reader is refused',
  async (hostName) => {
    const { alice, stop } = await start(hostName, { MAX_READERS_PER_TENANT: '2' })
    const paths = [`${STREAM}/messages`, `${CONSUMER}/messages`]
    const readers = await Promise.all(paths.map((path) => openEvents(alice, path)))
    for (const [at, events] of readers.entries()) {
      await events.until('an id', () => events.lastEventId() !== '')
      const [path, id] = [paths[at] ?? '', events.lastEventId()]
      expect(await alice.send(`GET ${path}`, { headers: EVENTS })).toMatchObject(
        problem(429, 'too_many_readers'),
      )
      for (const call of [{ headers: { 'Last-Event-ID': id } }, { query: { lastEventId: id } }]) {
        const told = await openEvents(alice, path, call)
        await ends(told)
        expect(told.text()).toMatch(RETRY)
      }
    }
    for (const events of readers) events.close()
    await stop()
  },
)
