/** A spy: a raw NATS client that hears every message of its account, byte for byte. */
import { once } from 'node:events'
import { connect } from 'node:net'

/** A message as it is on the wire. */
export interface Spied {
  readonly subject: string
  readonly reply: string | undefined
  /** The lines of its header block, without the first; undefined where it has none. */
  readonly headerLines: readonly string[] | undefined
  readonly payload: Buffer
}

export interface Spy {
  /** What was heard and not yet taken. */
  take(): Spied[]
  close(): void
}

const LINE_END = Buffer.from('\r\n')
const CONTROL = /^(H?)MSG /

/** Listens to all of an account. `url`: nats://host:port. Throws where the server refuses the user. */
export async function startSpy(url: string, user: string, password: string): Promise<Spy> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const spied: Spied[] = []
  let unread = Buffer.alloc(0)
  let failure: Error | undefined
  const ready = Promise.withResolvers<void>()

  /** Reads one thing that the server said; false where it is not whole yet. */
  const readOne = (): boolean => {
    const end = unread.indexOf(LINE_END)
    if (end === -1) return false
    const line = unread.subarray(0, end).toString('utf8')
    const isMessage = CONTROL.test(line)
    const size = isMessage ? Number(line.split(' ').at(-1)) : 0
    const next = end + 2 + (isMessage ? size + 2 : 0)
    if (unread.length < next) return false
    if (isMessage) spied.push(toSpied(line, unread.subarray(end + 2, end + 2 + size)))
    else if (line === 'PING') socket.write('PONG\r\n')
    else if (line === 'PONG') ready.resolve()
    else if (line.startsWith('-ERR')) failure = new Error(line)
    unread = unread.subarray(next)
    return true
  }
  socket.on('data', (data) => {
    unread = Buffer.concat([unread, data])
    while (readOne());
    if (failure) ready.reject(failure)
  })
  await once(socket, 'connect')
  const options = {
    user,
    pass: password,
    headers: true,
    no_responders: true,
    verbose: false,
    pedantic: false,
  }
  socket.write(`CONNECT ${JSON.stringify({ ...options, lang: 'raw', version: '1' })}\r\nSUB > 1\r\nPING\r\n`)
  await ready.promise
  return {
    take() {
      if (failure) throw failure
      return spied.splice(0)
    },
    close: () => socket.destroy(),
  }
}

/** `MSG subject sid [reply] bytes`, or `HMSG subject sid [reply] header-bytes bytes`. Source: NATS client protocol. */
function toSpied(line: string, bytes: Buffer): Spied {
  const [operation, subject = '', , ...rest] = line.split(' ')
  const hasHeaders = operation === 'HMSG'
  const numbers = hasHeaders ? 2 : 1
  const headerBytes = hasHeaders ? Number(rest.at(-2)) : 0
  const block = bytes.subarray(0, headerBytes).toString('utf8')
  return {
    subject,
    reply: rest.length > numbers ? rest[0] : undefined,
    headerLines: hasHeaders ? block.split('\r\n').slice(1, -2) : undefined,
    payload: Buffer.from(bytes.subarray(headerBytes)),
  }
}
