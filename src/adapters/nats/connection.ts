/** Owns one credential's connection to NATS: dials on the first call, again after a loss, and closes. */
import type { Msg, NatsConnection } from 'nats.ws'
import type { NatsCredential } from '../../jetstream.ts'
import type { Settings } from '../../settings.ts'
import { dial } from './dial.ts'
import { fromClient, hasCode, unavailable } from './errors.ts'
import { inboxOf, type NatsRequest } from './inbox.ts'

const PROBE_MS = 1_000
const CLOSE_MS = 1_000

/** A connection that is there when it is needed. */
export interface Connection {
  /** How long one request may take, ms. */
  readonly timeoutMs: number
  /** The connected client. Dials where there is none; calls at the same time share the dial. */
  client(): Promise<NatsConnection>
  /** One request, one reply. Throws `NoResponders`, `forbidden`, `jetstream_timeout`, `jetstream_unavailable`. */
  request(request: NatsRequest, client?: NatsConnection): Promise<Msg>
  /** Whether there is a connection now. */
  isConnected(): boolean
  close(): Promise<void>
}

/** Resolves with false where `promise` takes longer than `ms` or fails. */
async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false)
  })
  try {
    return await Promise.race([
      promise.then(
        () => true,
        () => false,
      ),
      late,
    ])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Waits until the server has seen everything sent so far, at most a second. False: it did not answer, and the
 * connection is given up, so that the next call dials instead of waiting for a peer that is gone.
 */
export async function settled(client: NatsConnection): Promise<boolean> {
  if (client.isClosed()) return false
  if (await within(PROBE_MS, client.flush())) return true
  await within(CLOSE_MS, client.close())
  return false
}

/**
 * Hangs up once nothing was sent or received for `idleMs`: what waits for the server hears its heartbeats meanwhile.
 * The next call dials again.
 */
function hangUpWhenIdle(client: NatsConnection, idleMs: number): void {
  const messages = () => client.stats().inMsgs + client.stats().outMsgs
  let seen = messages()
  const timer = setInterval(() => {
    const now = messages()
    if (!client.isClosed() && now !== seen) {
      seen = now
      return
    }
    clearInterval(timer)
    void within(CLOSE_MS, client.close())
  }, idleMs)
  client.closed().then(
    () => clearInterval(timer),
    () => clearInterval(timer),
  )
}

/** Prepares a connection; nothing is dialled before the first call. */
export function prepareConnection(settings: Settings, credential: NatsCredential): Connection {
  let dialing: Promise<NatsConnection> | undefined
  let current: NatsConnection | undefined
  let closed = false

  const client = async (): Promise<NatsConnection> => {
    if (closed) throw unavailable()
    if (current && !current.isClosed()) return current
    dialing ??= dial(settings, credential).finally(() => {
      dialing = undefined
    })
    const dialled = await dialing
    if (closed) {
      await within(CLOSE_MS, dialled.close())
      throw unavailable()
    }
    if (current !== dialled) hangUpWhenIdle(dialled, settings.IDLE_CONNECTION_MS)
    current = dialled
    return dialled
  }

  return {
    timeoutMs: settings.REQUEST_TIMEOUT_MS,
    client,
    async request(request, given) {
      const link = given ?? (await client())
      try {
        return await inboxOf(link, settings.REQUEST_TIMEOUT_MS).request(request)
      } catch (err) {
        const failure = fromClient(err, link.isClosed())
        if (hasCode(failure, 'jetstream_timeout')) void settled(link)
        throw failure
      }
    },
    isConnected: () => current !== undefined && !current.isClosed(),
    async close() {
      closed = true
      const link = current ?? (await dialing?.catch(() => undefined))
      if (!link || link.isClosed()) return
      if (!(await within(CLOSE_MS, link.drain()))) await within(CLOSE_MS, link.close())
    },
  }
}
