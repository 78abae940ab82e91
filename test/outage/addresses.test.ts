/** Addresses at which nobody answers do not use up the time of those at which somebody does. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, open } from '../adapters/support.ts'
import { until } from '../contract/expectations.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { pacedNow } from '../support/pace.ts'

const CONNECT_TIMEOUT_MS = 1_200
/** What a busy machine takes besides. */
const SLACK_MS = 1_800
const HANDSHAKE = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

interface Silent {
  readonly wsUrl: string
  readonly sockets: ReadonlySet<Socket>
  close(): void
}

async function listen(server: Server): Promise<Silent> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
  return { wsUrl: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets, close }
}

/** Takes connections, and what comes on them, and says nothing. */
const startMute = () => listen(createServer((socket) => socket.resume()))

/** Opens WebSockets, and says nothing on them. */
async function startWithoutInfo(): Promise<Silent> {
  const server = createHttpServer()
  server.on('upgrade', ({ headers }, socket) => {
    const accept = createHash('sha1').update(`${headers['sec-websocket-key']}${HANDSHAKE}`).digest('base64')
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
    // A close frame is answered by the end.
    socket.on('data', () => socket.end())
  })
  return await listen(server)
}

describe('addresses of NATS', () => {
  let nats: TestNats
  let mute: Silent
  let withoutInfo: Silent
  const settings = { CONNECT_TIMEOUT_MS: String(CONNECT_TIMEOUT_MS) }

  beforeAll(async () => {
    nats = await startNats()
    mute = await startMute()
    withoutInfo = await startWithoutInfo()
  })
  afterAll(async () => {
    mute.close()
    withoutInfo.close()
    await nats.stop()
  })

  const kinds = [
    ['that takes connections and says nothing', () => mute],
    ['that opens WebSockets and says nothing', () => withoutInfo],
  ] as const

  it.each(kinds)('jetstream_unavailable within the time to connect at one %s', async (_, kind) => {
    const { jetstream, close } = open(kind().wsUrl, settings)
    const [askedAt, pacedAt] = [performance.now(), pacedNow()]

    expect(await codeOf(jetstream.ping())).toBe('jetstream_unavailable')

    expect(performance.now() - askedAt).toBeGreaterThan(CONNECT_TIMEOUT_MS - 50)
    expect(pacedNow() - pacedAt).toBeLessThan(CONNECT_TIMEOUT_MS + SLACK_MS)
    await close()
    await until('nothing is left open', async () => kind().sockets.size === 0)
  })

  it('one that answers is found among others within the time to connect, and they are left', async () => {
    const urls = [mute.wsUrl, withoutInfo.wsUrl, mute.wsUrl, nats.wsUrl].join(',')
    for (let round = 1; round <= 3; round += 1) {
      const { jetstream, close } = open(urls, settings)
      const askedAt = pacedNow()

      await jetstream.ping()

      expect(pacedNow() - askedAt).toBeLessThan(CONNECT_TIMEOUT_MS + SLACK_MS)
      await until('the others are left', async () => mute.sockets.size + withoutInfo.sockets.size === 0)
      await close()
    }
  })

  it('jetstream_unavailable within the time to connect where none answers', async () => {
    const { jetstream, close } = open([mute.wsUrl, withoutInfo.wsUrl, mute.wsUrl].join(','), settings)
    const askedAt = pacedNow()

    expect(await codeOf(jetstream.ping())).toBe('jetstream_unavailable')

    expect(pacedNow() - askedAt).toBeLessThan(CONNECT_TIMEOUT_MS + SLACK_MS)
    await close()
  })
})
