/** Requests that say a byte a second: heads that do not end, and bodies that do not come. */
import type { Socket } from 'node:net'
import { openSocket } from './bare-http.ts'

export interface SlowRequests {
  readonly count: number
  /** Ends them. `held`: how many the host had not ended itself; `refusals`: what it answered to the others. */
  end(): Promise<{ held: number; refusals: readonly number[] }>
}

const BYTE_MS = 1_000
const START = 'POST /v1/acks HTTP/1.1\r\nHost: localhost\r\nX-Slow: '
/** What each begins with, before it becomes slow. */
const BEGINNINGS = [
  '',
  START,
  'POST /v1/subjects/bad.slow/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n',
  'POST /v1/subjects/bad.slow/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n',
  'POST /v1/acks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{',
  'POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{',
  'POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n',
]

/** Opens so many, each of which goes on by a byte a second. */
export async function holdSlowRequests(url: string, count: number): Promise<SlowRequests> {
  const sockets: Socket[] = []
  const received = new Map<Socket, string>()
  for (let at = 0; at < count; at += 1) {
    const socket = await openSocket(url)
    socket.on('data', (data) => received.set(socket, (received.get(socket) ?? '') + data.toString('latin1')))
    socket.on('end', () => socket.destroy())
    socket.write(BEGINNINGS[at % BEGINNINGS.length] ?? '')
    sockets.push(socket)
  }
  const timer = setInterval(() => {
    for (const socket of sockets) if (socket.writable) socket.write('x')
  }, BYTE_MS)
  return {
    count,
    async end() {
      clearInterval(timer)
      const held = sockets.filter(({ destroyed }) => !destroyed).length
      for (const socket of sockets) socket.destroy()
      return { held, refusals: [...received.values()].map((text) => Number(text.split(' ')[1])) }
    },
  }
}
