/** A small HTTP/1.1 client: keep-alive over a bare socket, since `fetch` costs more than what is measured. */
import { connect, type Socket } from 'node:net'

/** One connection; one request at a time. */
export type HttpConnection = {
  /**
   * Sends a request as it is and answers the status once the whole answer is there. `take` is given the body part by
   * part. Throws when the connection is lost.
   */
  send: (request: string | Uint8Array, take?: (part: Buffer) => void) => Promise<number>
  /** Goes on with the body of the request that `send` has begun; settles once the connection has taken it. */
  write: (data: Uint8Array) => Promise<void>
  close: () => void
}

/** What the connection is waiting for. */
type Awaited = 'head' | 'body' | 'chunk size' | 'chunk' | 'chunk end' | 'last chunk'

const HEAD_END = '\r\n\r\n'
const LINE_END = '\r\n'

const opened = (url: string): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    socket.once('connect', () => resolve(socket))
    socket.once('error', reject)
  })

/** Takes answers apart as they come in, however they are cut. `finish` hears the status of each. */
const createParser = (take: (part: Buffer) => void, finish: (status: number) => void) => {
  let state: Awaited = 'head'
  let status = 0
  let left = 0
  let rest: Buffer | undefined

  const end = () => {
    state = 'head'
    finish(status)
  }
  const readHead = (head: string) => {
    status = Number(head.slice(9, 12))
    const [, length] = /\r\ncontent-length: *(\d+)/i.exec(head) ?? []
    const chunked = /\r\ntransfer-encoding: *chunked/i.test(head)
    if (!chunked && length === undefined && status !== 204 && status !== 304)
      throw new Error(`An answer without a length:\n${head}`)
    left = Number(length ?? 0)
    state = chunked ? 'chunk size' : 'body'
    if (state === 'body' && left === 0) end()
  }
  /** Answers where it stopped; -1: it needs more than there is. */
  const readLine = (data: Buffer, at: number, mark: string, use: (line: string) => void): number => {
    const found = data.indexOf(mark, at, 'latin1')
    if (found === -1) return -1
    use(data.toString('latin1', at, found))
    return found + mark.length
  }
  const readPart = (data: Buffer, at: number): number => {
    const part = data.subarray(at, at + left)
    left -= part.length
    take(part)
    if (left === 0 && state === 'chunk') state = 'chunk end'
    else if (left === 0) end()
    return at + part.length
  }
  const readSize = (line: string) => {
    left = Number.parseInt(line, 16)
    state = left === 0 ? 'last chunk' : 'chunk'
  }
  const step = (data: Buffer, at: number): number => {
    switch (state) {
      case 'head':
        return readLine(data, at, HEAD_END, readHead)
      case 'body':
      case 'chunk':
        return readPart(data, at)
      case 'chunk size':
        return readLine(data, at, LINE_END, readSize)
      case 'chunk end':
        return readLine(data, at, LINE_END, () => {
          state = 'chunk size'
        })
      case 'last chunk':
        return readLine(data, at, LINE_END, end)
    }
  }

  return (received: Buffer): void => {
    const data = rest ? Buffer.concat([rest, received]) : received
    rest = undefined
    let at = 0
    while (at < data.length) {
      const next = step(data, at)
      if (next === -1) {
        rest = data.subarray(at)
        return
      }
      at = next
    }
  }
}

const ignore = (): void => {}

/** Connects to the host and port of `url`. `tap` is given every byte that comes. The caller closes it. */
export const openHttp = async (
  url: string,
  tap: (data: Buffer) => void = ignore,
): Promise<HttpConnection> => {
  const socket = await opened(url)
  let take: (part: Buffer) => void = ignore
  let settle: { resolve: (status: number) => void; reject: (err: Error) => void } | undefined

  const feed = createParser(
    (part) => take(part),
    (status) => {
      const waiting = settle
      settle = undefined
      waiting?.resolve(status)
    },
  )
  const fail = (err: Error) => {
    settle?.reject(err)
    settle = undefined
  }
  socket.on('data', (data: Buffer) => {
    try {
      tap(data)
      feed(data)
    } catch (err) {
      fail(err instanceof Error ? err : new Error(String(err)))
      socket.destroy()
    }
  })
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the connection was closed')))

  return {
    send: (request, part = ignore) =>
      new Promise((resolve, reject) => {
        take = part
        settle = { resolve, reject }
        socket.write(request)
      }),
    write: (data) =>
      new Promise((resolve, reject) => {
        socket.write(data, (err) => (err ? reject(err) : resolve()))
      }),
    close: () => void socket.destroy(),
  }
}

/** The head of a request whose body follows in chunks. */
export const writeHead = (line: string, type: string): Buffer =>
  Buffer.from(
    [
      `${line} HTTP/1.1`,
      'Host: localhost',
      `Content-Type: ${type}`,
      `Transfer-Encoding: chunked${HEAD_END}`,
    ].join(LINE_END),
  )

/** A chunk of a body, not an empty one: that ends it. */
export const writeChunk = (text: string): Buffer =>
  Buffer.from(`${Buffer.byteLength(text).toString(16)}${LINE_END}${text}${LINE_END}`)

/** Ends a body of chunks. */
export const LAST_CHUNK = Buffer.from(`0${HEAD_END}`)

/** A request as it goes over the wire. Without a type a body is sent as it is, and nothing is said of it. */
export const writeRequest = (
  line: string,
  options: { accept?: string; type?: string; body?: string } = {},
): Buffer => {
  const { accept, type, body } = options
  const headers = [
    'Host: localhost',
    ...(accept ? [`Accept: ${accept}`] : []),
    ...(type ? [`Content-Type: ${type}`] : []),
    ...(body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
  ]
  return Buffer.from(`${line} HTTP/1.1${LINE_END}${headers.join(LINE_END)}${HEAD_END}${body ?? ''}`)
}

/** Sends a request and answers the whole body. Throws with it for any status but those wanted. */
export const ask = async (
  connection: HttpConnection,
  request: Uint8Array,
  wanted: readonly number[] = [200],
): Promise<string> => {
  const parts: Buffer[] = []
  const status = await connection.send(request, (part) => void parts.push(part))
  const body =
    parts.length === 1 ? (parts[0]?.toString('latin1') ?? '') : Buffer.concat(parts).toString('latin1')
  if (!wanted.includes(status)) throw new Error(`${status}: ${body.slice(0, 500)}`)
  return body
}
