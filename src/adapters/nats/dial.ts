/** Dialling NATS: the addresses, the credential, and the sockets that nats.ws does not look after. */
import {
  type Authenticator,
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  type NatsConnection,
} from 'nats.ws'
import type { BridgeError } from '../../errors.ts'
import type { NatsCredential } from '../../jetstream.ts'
import type { Settings } from '../../settings.ts'
import { soon } from '../../turns.ts'
import { fromDialFailure, hasCode, refusedCredential, unavailable, unreachable } from './errors.ts'

const PING_INTERVAL_MS = 10_000
const PINGS_UNANSWERED = 2

type DialOptions = ConnectionOptions & { wsFactory: SocketFactory }

type SocketFactory = (url: string) => Promise<{ socket: WebSocket; encrypted: boolean }>

function credentialOptions(settings: Settings, credential: NatsCredential): ConnectionOptions {
  if (credential.kind === 'user') return { user: credential.user, pass: credential.password }
  if (credential.kind === 'token') return { token: credential.token }
  const { NATS_USER: user, NATS_PASSWORD: pass, NATS_TOKEN: token, NATS_CREDS: creds } = settings
  const authenticator: Authenticator | undefined = creds
    ? credsAuthenticator(new TextEncoder().encode(creds))
    : undefined
  return {
    ...(user === undefined ? {} : { user }),
    ...(pass === undefined ? {} : { pass }),
    ...(token === undefined ? {} : { token }),
    ...(authenticator === undefined ? {} : { authenticator }),
  }
}

/** The socket of a dial, and whether the server said on it that it refuses the credential. */
interface DialSocket {
  readonly socket: WebSocket
  refused: boolean
}

const REFUSAL = /-ERR '[^']*auth/i

/**
 * Opens sockets for nats.ws and remembers them: nats.ws leaves a socket open whose dial failed, and it loses the
 * server's refusal when the socket closes right behind it. And it waits without end for a dead peer to take what is
 * buffered before it calls a connection closed; so it sees no buffer.
 */
function socketFactory(sockets: DialSocket[], dialed: AbortSignal): SocketFactory {
  return async (url) => {
    const socket = new WebSocket(url)
    Object.defineProperty(socket, 'bufferedAmount', { value: 0 })
    const entry: DialSocket = { socket, refused: false }
    const look = ({ data }: MessageEvent<unknown>) => {
      if (data instanceof ArrayBuffer && REFUSAL.test(new TextDecoder().decode(data))) entry.refused = true
    }
    socket.addEventListener('message', look)
    sendTogether(socket)
    dialed.addEventListener('abort', () => socket.removeEventListener('message', look))
    sockets.push(entry)
    return { socket, encrypted: url.startsWith('wss:') }
  }
}

/**
 * Sends what comes together as one frame: many requests at once cost one write. And nats.ws sends CONNECT and PING
 * apart: a server that refuses the first closes with the second unread, and the reset that follows can swallow the refusal.
 */
function sendTogether(socket: WebSocket): void {
  let held: ArrayBuffer[] = []
  const flush = () => {
    const frames = held
    held = []
    if (frames.length === 0) return
    try {
      WebSocket.prototype.send.call(socket, join(frames))
    } catch {
      // The socket has closed meanwhile, and nats.ws hears of that by itself.
    }
  }
  const send = (data: ArrayBuffer) => {
    if (held.push(data) === 1) soon(flush)
  }
  const close = (...reason: [code?: number, reason?: string]) => {
    flush()
    WebSocket.prototype.close.apply(socket, reason)
  }
  Object.defineProperties(socket, { send: { value: send }, close: { value: close } })
}

function join(frames: readonly ArrayBuffer[]): ArrayBuffer | Uint8Array<ArrayBuffer> {
  const [only] = frames
  if (only && frames.length === 1) return only
  const whole = new Uint8Array(frames.reduce((size, { byteLength }) => size + byteLength, 0))
  let at = 0
  for (const frame of frames) {
    whole.set(new Uint8Array(frame), at)
    at += frame.byteLength
  }
  return whole
}

const dialOptions = (url: string, timeoutMs: number, wsFactory: SocketFactory): DialOptions => ({
  servers: url,
  name: 'sluice',
  // From the socket's opening to the server's first PONG.
  timeout: timeoutMs,
  pingInterval: PING_INTERVAL_MS,
  maxPingOut: PINGS_UNANSWERED,
  // A client that reconnects would send what it has buffered after the caller was told that it failed.
  reconnect: false,
  // Behind a proxy the addresses that a cluster gossips cannot be reached.
  ignoreClusterUpdates: true,
  noAsyncTraces: true,
  wsFactory,
})

/** One address. `signal`: another one has answered. */
interface Attempt {
  readonly url: string
  readonly timeoutMs: number
  readonly options: ConnectionOptions
  readonly signal: AbortSignal
}

async function dialOne({ url, timeoutMs, options, signal }: Attempt): Promise<NatsConnection> {
  const sockets: DialSocket[] = []
  const dialed = new AbortController()
  const closeAll = () => {
    for (const { socket } of sockets) socket.close()
  }
  signal.addEventListener('abort', closeAll)
  try {
    const factory = socketFactory(sockets, dialed.signal)
    return await connect({ ...dialOptions(url, timeoutMs, factory), ...options })
  } catch (err) {
    closeAll()
    throw sockets.some(({ refused }) => refused) ? refusedCredential(err) : fromDialFailure(err, url)
  } finally {
    signal.removeEventListener('abort', closeAll)
    dialed.abort()
  }
}

const shuffled = (urls: readonly string[]): string[] =>
  urls
    .map((url) => ({ url, place: Math.random() }))
    .sort((one, other) => one.place - other.place)
    .map(({ url }) => url)

/**
 * Tries the addresses in random order, the next one as soon as one fails or has had its share of the time: one that
 * swallows everything does not use up what the others need. A refused credential is refused by all of a cluster.
 * All of it takes `CONNECT_TIMEOUT_MS` at most. Names are looked up anew at each dial.
 */
export async function dial(settings: Settings, credential: NatsCredential): Promise<NatsConnection> {
  const urls = shuffled(settings.NATS_URL)
  const options = credentialOptions(settings, credential)
  const { CONNECT_TIMEOUT_MS } = settings
  const shareMs = CONNECT_TIMEOUT_MS / (urls.length + 1)
  const endsAt = performance.now() + CONNECT_TIMEOUT_MS
  const answered = new AbortController()
  const { signal } = answered

  const attempts = urls.map((url, index) => async () => {
    if (signal.aborted) throw unavailable()
    // The first has all the time there is, also where a clock is coarse.
    const timeoutMs = index === 0 ? CONNECT_TIMEOUT_MS : Math.max(1, endsAt - performance.now())
    const client = await dialOne({ url, timeoutMs, options, signal })
    if (!signal.aborted) return client
    void client.close().catch(() => undefined)
    throw unavailable()
  })
  try {
    return await firstOf(attempts, shareMs)
  } finally {
    answered.abort()
  }
}

/** Begins the next when one fails or `shareMs` are over. Throws what is no matter of the address, or what all failed for. */
function firstOf<Done>(attempts: readonly (() => Promise<Done>)[], shareMs: number): Promise<Done> {
  return new Promise((resolve, reject) => {
    let begun = 0
    const failures: BridgeError[] = []
    let timer: ReturnType<typeof setTimeout> | undefined
    const end = (settle: () => void) => {
      begun = attempts.length
      clearTimeout(timer)
      settle()
    }
    const begin = () => {
      clearTimeout(timer)
      const attempt = attempts[begun]
      if (!attempt) return
      begun += 1
      timer = setTimeout(begin, shareMs)
      attempt().then(
        (done) => end(() => resolve(done)),
        (failure: unknown) => {
          if (!hasCode(failure, 'jetstream_unavailable')) return end(() => reject(failure))
          if (failures.push(failure) === attempts.length) end(() => reject(unreachable(failures)))
          else begin()
        },
      )
    }
    begin()
  })
}
