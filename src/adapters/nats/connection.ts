/** One credential's connection to NATS: dials on the first call, again after a loss, and closes. */
import type { Msg, NatsConnection } from 'nats.ws'
import type { ConnectionEvents, NatsCredential } from '../../jetstream.ts'
import type { Settings } from '../../settings.ts'
import { delay } from '../../turns.ts'
import { dial } from './dial.ts'
import { fromClient, hasCode, unavailable } from './errors.ts'
import { inboxOf, type NatsRequest } from './inbox.ts'
import { isUsed, onLameDuck, succeed, unused } from './lame-duck.ts'
import { CLOSE_MS, settled, within } from './liveness.ts'

const DRAIN_MS = 500
/** How much longer a server may be silent that has let a request time out, ms. */
const UNANSWERED_MS = 2_000
/** A server that stops has many clients: they do not all go to the next one at the same moment. */
const SUCCESSION_SPREAD_MS = 300
const SUCCESSION_RETRY_MS = 500

/** A connection that is there when it is needed. */
export interface Connection {
  /** How long one request may take, ms. */
  readonly timeoutMs: number
  /**
   * The connected client, on which replies are heard. Dials where there is none; calls at the same time share the dial.
   * Throws `forbidden` where the credential may not hear replies.
   */
  client(): Promise<NatsConnection>
  /** One request, one reply. Throws `NoResponders`, `forbidden`, `jetstream_timeout`, `jetstream_unavailable`. */
  request(request: NatsRequest, client?: NatsConnection): Promise<Msg>
  /** Whether there is a connection now. */
  isConnected(): boolean
  /** Whether one is being made. */
  isDialling(): boolean
  close(): Promise<void>
}

/** Hangs up once nothing was under way and nothing came or went for `IDLE_CONNECTION_MS`. The next call dials again. */
function hangUpWhenIdle(client: NatsConnection, { IDLE_CONNECTION_MS, REQUEST_TIMEOUT_MS }: Settings): void {
  const messages = () => client.stats().inMsgs + client.stats().outMsgs
  let seen = messages()
  const timer = setInterval(() => {
    const now = messages()
    if (!client.isClosed() && (now !== seen || isUsed(client, REQUEST_TIMEOUT_MS))) {
      seen = now
      return
    }
    clearInterval(timer)
    void within(CLOSE_MS, client.close())
  }, IDLE_CONNECTION_MS)
  client.closed().then(
    () => clearInterval(timer),
    () => clearInterval(timer),
  )
}

async function end(client: NatsConnection): Promise<void> {
  if (client.isClosed()) return
  if (!(await within(DRAIN_MS, client.drain()))) await within(CLOSE_MS, client.close())
}

/** Dials where there is no connection, and for one whose server is about to stop. */
class Dialler {
  readonly #settings: Settings
  readonly #credential: NatsCredential
  readonly #events: ConnectionEvents | undefined
  #dialing: Promise<NatsConnection> | undefined
  #current: NatsConnection | undefined
  /** What has been succeeded, and is still in use. */
  readonly #leaving = new Set<NatsConnection>()
  #closed = false

  constructor(settings: Settings, credential: NatsCredential, events: ConnectionEvents | undefined) {
    this.#settings = settings
    this.#credential = credential
    this.#events = events
  }

  get isDialling(): boolean {
    return this.#dialing !== undefined
  }

  get isConnected(): boolean {
    return this.#current !== undefined && !this.#current.isClosed()
  }

  async client(): Promise<NatsConnection> {
    if (this.#closed) throw unavailable()
    const link = this.#current && !this.#current.isClosed() ? this.#current : await this.#dialFor()
    const { REQUEST_TIMEOUT_MS: timeoutMs } = this.#settings
    const inbox = inboxOf(link, timeoutMs)
    if (!inbox.isReady) await inbox.ready(() => within(timeoutMs, link.flush()))
    return link
  }

  /** A dial that began before the call may fail for what is over by now: then there is one that begins after it. */
  async #dialFor(): Promise<NatsConnection> {
    const joined = this.#dialing
    const giveUpAt = performance.now() + this.#settings.CONNECT_TIMEOUT_MS / 2
    try {
      return await this.#dial()
    } catch (failure) {
      const isLate = performance.now() > giveUpAt
      if (!joined || this.#closed || isLate || !hasCode(failure, 'jetstream_unavailable')) throw failure
      return await this.#dial()
    }
  }

  /** What moves to a connection asks over it at once. Where it may hear no replies, it hears that itself. */
  async #successorOf(old: NatsConnection): Promise<NatsConnection> {
    const successor = await this.#dial()
    this.#leaving.add(old)
    await this.client().catch(() => undefined)
    return successor
  }

  async close(): Promise<void> {
    this.#closed = true
    const ending = [...(this.#current ? [this.#current] : []), ...this.#leaving].map(end)
    // What is being dialled is closed as soon as it is there.
    await Promise.all([...ending, this.#dialing?.catch(() => undefined)])
  }

  async #dial(): Promise<NatsConnection> {
    this.#dialing ??= this.#signIn().finally(() => {
      this.#dialing = undefined
    })
    return await this.#dialing
  }

  async #signIn(): Promise<NatsConnection> {
    const dialled = await dial(this.#settings, this.#credential).catch((failure: unknown) => {
      if (hasCode(failure, 'unauthenticated')) this.#events?.refused()
      throw failure
    })
    try {
      if (this.#closed) throw unavailable()
      this.#events?.accepted()
    } catch (failure) {
      await within(CLOSE_MS, dialled.close())
      throw failure
    }
    this.#current = dialled
    hangUpWhenIdle(dialled, this.#settings)
    onLameDuck(dialled, () => void this.#succeed(dialled))
    return dialled
  }

  /** Calls go over the old connection until there is a new one; what is under way on the old one comes to its end there. */
  async #succeed(old: NatsConnection): Promise<void> {
    await delay(Math.random() * SUCCESSION_SPREAD_MS)
    while (!this.#closed && this.#current === old && !old.isClosed()) {
      try {
        succeed(old, await this.#successorOf(old))
        await unused(old, this.#settings.REQUEST_TIMEOUT_MS)
        await end(old)
        this.#leaving.delete(old)
      } catch {
        await delay(SUCCESSION_RETRY_MS)
      }
    }
  }
}

/** Prepares a connection; nothing is dialled before the first call. */
export function prepareConnection(
  settings: Settings,
  credential: NatsCredential,
  events?: ConnectionEvents,
): Connection {
  const dialler = new Dialler(settings, credential, events)
  return {
    timeoutMs: settings.REQUEST_TIMEOUT_MS,
    client: () => dialler.client(),
    async request(request, given) {
      const link = given ?? (await dialler.client())
      try {
        return await inboxOf(link, settings.REQUEST_TIMEOUT_MS).request(request)
      } catch (err) {
        const failure = fromClient(err, link.isClosed())
        if (hasCode(failure, 'jetstream_timeout')) void settled(link, UNANSWERED_MS)
        throw failure
      }
    },
    isConnected: () => dialler.isConnected,
    isDialling: () => dialler.isDialling,
    close: () => dialler.close(),
  }
}
