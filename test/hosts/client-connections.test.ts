/** Connections of HTTP clients to a Node host: their headers come in time, they are kept between requests, and have a bound. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../contract/expectations.ts'
import { openRaw } from '../contract/raw.ts'
import { openLines } from '../publishing/lines-client.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const LATE_MS = 400
const TRICKLE_MS = 20

describe.runIf(HOSTS.includes('node'))('on node', () => {
  let nats: TestNats
  const ends: (() => unknown)[] = []

  beforeAll(async () => {
    nats = await startNats()
    return async () => await nats.stop()
  })
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  const start = async (env: Record<string, string> = {}): Promise<TestHost> => {
    const host = await startHost('node', { natsUrl: nats.wsUrl, env })
    ends.push(() => host.stop())
    return host
  }
  /** A connection, and all that came on it. */
  const dial = async (host: TestHost) => {
    const socket: Socket = connect(Number(new URL(host.url).port), '127.0.0.1')
    ends.push(() => socket.destroy())
    await once(socket, 'connect')
    socket.on('error', () => undefined)
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    return { socket, text: () => text, isOver: () => socket.closed }
  }
  const ask = (path: string) => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`
  const keptAlive = async (host: TestHost) => {
    const connection = await dial(host)
    connection.socket.write(ask('/livez'))
    await until('an answer', async () => connection.text().includes('{"status":"ok"}'))
    return connection
  }
  const trickle = ({ socket }: { socket: Socket }, first: string) => {
    socket.write(first)
    const timer = setInterval(() => socket.write('x'), TRICKLE_MS)
    socket.once('close', () => clearInterval(timer))
    ends.push(() => clearInterval(timer))
  }

  test('headers that come byte by byte, or not at all, end their connection, also those of a later request', async () => {
    const host = await start({ HEADERS_TIMEOUT_MS: String(LATE_MS) })
    const silent = await dial(host)
    const slow = await dial(host)
    trickle(slow, 'GET /livez HTTP/1.1\r\nX-Slow: ')
    const second = await keptAlive(host)
    trickle(second, 'GET /livez HTTP/1.1\r\nX-Slow: ')
    await until('all of them are over', async () => [silent, slow, second].every(({ isOver }) => isOver()))
    expect(slow.text()).toMatch(/^HTTP\/1.1 408 /)
  })

  test('a body may come for longer than headers may, and a connection may be idle for longer', async () => {
    const host = await start({ HEADERS_TIMEOUT_MS: String(LATE_MS) })
    await fetch(`${host.url}/v1/streams`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'SLOW', subjects: ['slow.>'] }),
    })
    const lines = await openLines(host.url)
    const idle = await keptAlive(host)
    await lines.write('{"subject":"slow.a","data":"1"}\n')
    await lines.resultsCome(1)
    const late = await dial(host)
    trickle(late, 'GET /livez HTTP/1.1\r\nX-Slow: ')
    await until('headers have had their time', async () => late.isOver())
    await lines.write('{"subject":"slow.a","data":"2"}\n')
    await lines.resultsCome(2)
    expect(lines.results.map(({ seq }) => seq)).toEqual([1, 2])
    lines.end()
    expect(idle.isOver()).toBe(false)
  })

  test('a connection is kept for longer than proxies keep theirs, and for KEEP_ALIVE_MS where that is set', async () => {
    const kept = await keptAlive(await start())
    expect(kept.text()).toMatch(/^Keep-Alive: timeout=80\r$/im)
    const ended = await keptAlive(await start({ KEEP_ALIVE_MS: '100' }))
    await until('it is ended', async () => ended.isOver())
    expect(kept.isOver()).toBe(false)
  })

  test('over MAX_CLIENT_CONNECTIONS the one that is idle for longest gives way; a busy one does not', async () => {
    const host = await start({ MAX_CLIENT_CONNECTIONS: '3', METRICS_TOKEN: 'figures-secret-0a4f' })
    // What the start of the host was seen by is let go of first.
    const [first, second, third] = [await keptAlive(host), await keptAlive(host), await keptAlive(host)]
    const fourth = await keptAlive(host)
    await until('the first is over', async () => first.isOver())
    expect([second, third, fourth].map(({ isOver }) => isOver())).toEqual([false, false, false])

    await fetch(`${host.url}/v1/streams`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Connection: 'close' },
      body: JSON.stringify({ name: 'BUSY', subjects: ['busy.>'] }),
    })
    const events = {
      method: 'GET',
      target: '/v1/streams/BUSY/messages',
      headers: { Accept: 'text/event-stream' },
    }
    const readers = [
      await openRaw(host.url, events),
      await openRaw(host.url, events),
      await openRaw(host.url, events),
    ]
    for (const reader of readers) {
      ends.push(() => reader.vanish())
      expect((await reader.head()).status).toBe(200)
    }
    const refused = await dial(host)
    await until('it is hung up', async () => refused.isOver())
    readers[0]?.vanish()
    await until(
      'there is room again',
      async () => (await fetch(`${host.url}/livez`).catch(() => undefined))?.ok,
    )
  })
})
