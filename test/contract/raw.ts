/** Requests over a bare socket: for what `fetch` would never send, and for clients that vanish. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { CREDENTIAL } from './client.ts'

export interface RawRequest {
  readonly method: string
  /** Sent as it is. */
  readonly target: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  /** Header lines that take the place of `Content-Length`; none: the body is not framed at all. */
  readonly framing?: readonly string[]
}

/** A connection with one request on it. Whoever opens it destroys it. */
export interface RawConnection {
  /** Takes at least so many bytes of the answer off the socket, and no more than are there by then. */
  take(bytes: number): Promise<Buffer>
  /** Takes the head of the answer. */
  head(): Promise<{ status: number; text: string }>
  /** Leaves without a word. */
  vanish(): void
  /** Leaves with a reset, as a client that was killed. */
  reset(): void
}

/** Sends a request and leaves its answer on the socket. */
export async function openRaw(url: string, request: RawRequest): Promise<RawConnection> {
  const { protocol, hostname, port, host } = new URL(url)
  const secure = protocol === 'https:'
  const place = { host: hostname, port: Number(port) || (secure ? 443 : 80) }
  const socket: Socket = secure ? connectTls({ ...place, servername: hostname }) : connect(place)
  await once(socket, secure ? 'secureConnect' : 'connect')
  // A reset is what some tests are after; a read tells of it.
  socket.on('error', () => {})
  const body = Buffer.from(request.body ?? '')
  const headers = { Host: host, ...CREDENTIAL, ...request.headers }
  const isFramed = Object.keys(headers).some((name) => name.toLowerCase() === 'content-length')
  const framing = request.framing ?? (isFramed ? [] : [`Content-Length: ${body.length}`])
  const lines = [...Object.entries(headers).map(([name, value]) => `${name}: ${value}`), ...framing].map(
    (line) => `${line}\r\n`,
  )
  socket.write(
    Buffer.concat([
      Buffer.from(`${request.method} ${request.target} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'),
      body,
    ]),
  )

  let taken = Buffer.alloc(0)
  const take = async (bytes: number) => {
    while (taken.length < bytes) {
      const chunk = socket.read() as Buffer | null
      if (chunk) taken = Buffer.concat([taken, chunk])
      else if (socket.readableEnded || socket.destroyed)
        throw new Error(`The connection ended after ${taken.length} bytes`)
      else await Promise.race([once(socket, 'readable'), once(socket, 'close')])
    }
    return taken
  }
  return {
    take,
    async head() {
      while (!taken.includes('\r\n\r\n')) await take(taken.length + 1)
      const text = taken.toString('latin1')
      return { status: Number(text.split(' ')[1]), text }
    },
    vanish: () => socket.destroy(),
    reset: () => socket.resetAndDestroy(),
  }
}
