/** HTTP over a bare socket: bytes as no client would send them, and what comes back for them. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface BareAnswer {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Buffer
}

export interface Outcome {
  /** `silent`: neither an answer nor an end came in time. */
  readonly how: 'answered' | 'closed' | 'silent'
  readonly answer: BareAnswer | undefined
  readonly ms: number
}

export interface BareRequest {
  readonly pieces: Iterable<Buffer>
  /** The client says that nothing more comes. */
  readonly ends?: boolean
  readonly withinMs: number
}

/** Opens a connection on which nothing is said yet; whoever opens it destroys it. */
export async function openSocket(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
  await once(socket, 'connect')
  // What breaks is what is looked for.
  socket.on('error', () => undefined)
  return socket
}

/** Sends bytes on a connection of their own, and takes the first whole answer. */
export async function sendBare(url: string, { pieces, ends, withinMs }: BareRequest): Promise<Outcome> {
  const beganAt = performance.now()
  const socket = await openSocket(url)
  const { promise, resolve } = Promise.withResolvers<Outcome>()
  const received: Buffer[] = []
  const finish = (how: Outcome['how'], isOver = true) => {
    const answer = readAnswer(Buffer.concat(received), isOver)
    if (answer || isOver) resolve({ how: answer ? 'answered' : how, answer, ms: performance.now() - beganAt })
  }
  socket.on('data', (data) => {
    received.push(data)
    finish('answered', false)
  })
  socket.on('end', () => finish('closed'))
  socket.on('close', () => finish('closed'))
  const timer = setTimeout(() => finish('silent'), withinMs)
  void writeAll(socket, pieces, ends ?? false)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}

async function writeAll(socket: Socket, pieces: Iterable<Buffer>, ends: boolean): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed || !socket.writable) return
    if (!socket.write(piece)) await drained(socket)
  }
  if (ends && socket.writable) socket.end()
}

/** Until it takes more, or has ended; leaves no listener behind. */
function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      socket.off('drain', settle).off('close', settle)
      resolve()
    }
    socket.on('drain', settle).on('close', settle)
  })
}

const HEAD_END = Buffer.from('\r\n\r\n')
const BODILESS = new Set([204, 304])

/** The first final answer of all that came; undefined while it is not whole. `isOver`: nothing more comes. */
export function readAnswer(bytes: Buffer, isOver: boolean): BareAnswer | undefined {
  const end = bytes.indexOf(HEAD_END)
  if (end === -1) return undefined
  const [first = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n')
  const status = Number(first.split(' ')[1])
  const rest = bytes.subarray(end + HEAD_END.length)
  if (status < 200) return readAnswer(rest, isOver)
  const headers = new Headers()
  for (const line of lines)
    headers.append(line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1))
  const body = BODILESS.has(status) ? Buffer.alloc(0) : readBody(rest, headers, isOver)
  return body && { status, headers, bytes: body }
}

function readBody(rest: Buffer, headers: Headers, isOver: boolean): Buffer | undefined {
  if (headers.get('Transfer-Encoding') === 'chunked') return readChunks(rest)
  const length = headers.get('Content-Length')
  if (length !== null) return rest.length >= Number(length) ? rest.subarray(0, Number(length)) : undefined
  return isOver ? rest : undefined
}

function readChunks(rest: Buffer): Buffer | undefined {
  const chunks: Buffer[] = []
  for (let at = 0; ; ) {
    const end = rest.indexOf('\r\n', at)
    if (end === -1) return undefined
    const size = Number.parseInt(rest.subarray(at, end).toString('latin1'), 16)
    if (size === 0) return Buffer.concat(chunks)
    if (rest.length < end + 2 + size + 2) return undefined
    chunks.push(rest.subarray(end + 2, end + 2 + size))
    at = end + 2 + size + 2
  }
}
