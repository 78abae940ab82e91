/** The inbox of a connection: one subscription takes the reply to each request that has one reply. */
import { createInbox, type Msg, type MsgHdrs, type NatsConnection, type Subscription } from 'nats.ws'
import { BridgeError } from '../../errors.ts'
import { hasCode, NoResponders, refusedPublish, timedOut, unavailable } from './errors.ts'
import { isNoResponders } from './headers.ts'
import { Numbered } from './numbered.ts'
import { onRefused, quoted } from './refusals.ts'

/** What a credential has to be allowed to subscribe to. */
const INBOXES = '_INBOX.>'

/** Requests that may have been carried out, although their answer does not come. */
const CHANGES = /^\$JS\.(ACK|API\.(STREAM|CONSUMER)\.(CREATE|UPDATE|DELETE|PURGE|MSG\.DELETE|PAUSE|RESET))\./

/** What was sent and not answered is not the same as what was not sent. */
function asUnknown(failure: unknown): unknown {
  if (!hasCode(failure, 'jetstream_unavailable')) return failure
  const detail = 'The connection to NATS was lost before JetStream answered.'
  return new BridgeError('jetstream_timeout', detail, { cause: failure })
}

/** One request and what goes with it. */
export interface NatsRequest {
  readonly subject: string
  readonly payload?: Uint8Array
  readonly headers?: MsgHdrs | undefined
  /** Which reply is the answer: whoever else listens on the subject may reply as well. Default: any. */
  accepts?(reply: Msg): boolean
}

/** A request on its way. */
interface Waiting {
  readonly request: NatsRequest
  readonly deadline: number
  resolve(reply: Msg): void
  reject(failure: unknown): void
}

/**
 * What nats.ws has for this builds an error with a stack and a timer for every request, also for those that are answered.
 * Here one timer serves all: requests of a connection have one time-out, so the oldest one ends first.
 */
class Inbox {
  readonly #client: NatsConnection
  readonly #timeoutMs: number
  readonly #prefix = `${createInbox()}.`
  /** By the last token of the reply subject. */
  readonly #waiting = new Numbered<Waiting>()
  #subscription: Subscription | undefined
  #becomingReady: Promise<void> | undefined
  #isReady = false
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(client: NatsConnection, timeoutMs: number) {
    this.#client = client
    this.#timeoutMs = timeoutMs
    onRefused(client, (refused) => this.#refuse(refused))
  }

  /** Whether no request waits for its reply. */
  get isIdle(): boolean {
    return this.#waiting.size === 0
  }

  /** Whether the server has accepted the subscription that replies come on. */
  get isReady(): boolean {
    return this.#isReady
  }

  /**
   * Subscribes, and waits until the server has accepted that: what is sent before may be carried out without anybody
   * hearing of it. `flush` answers whether the server was heard. Throws `forbidden`, `jetstream_unavailable`.
   */
  ready(flush: () => Promise<boolean>): Promise<void> {
    this.#becomingReady ??= this.#becomeReady(flush).finally(() => {
      this.#becomingReady = undefined
    })
    return this.#becomingReady
  }

  async #becomeReady(flush: () => Promise<boolean>): Promise<void> {
    if (this.#client.isClosed() || this.#client.isDraining()) throw unavailable()
    this.#subscription ??= this.#subscribe()
    const subscription = this.#subscription
    if (!(await flush())) throw unavailable()
    // Refused or lost: the server says so before it answers the flush.
    if (subscription !== this.#subscription) throw this.#client.isClosed() ? unavailable() : withoutInbox()
    this.#isReady = true
  }

  /** How many subscriptions it has at the connection. */
  get subscriptions(): number {
    return this.#subscription ? 1 : 0
  }

  /** To be called when it is ready. Rejects with failures of ours, and with those of nats.ws where it does not take the request. */
  request(request: NatsRequest): Promise<Msg> {
    const { subject, payload, headers } = request
    return new Promise((resolve, reject) => {
      if (this.#client.isClosed() || this.#client.isDraining()) throw unavailable()
      if (!this.#isReady) throw withoutInbox()
      const deadline = performance.now() + this.#timeoutMs
      const number = this.#waiting.add({ request, deadline, resolve, reject })
      const reply = this.#prefix + number
      try {
        this.#client.publish(subject, payload, headers ? { reply, headers } : { reply })
      } catch (failure) {
        this.#waiting.remove(number)
        throw failure
      }
      this.#timer ??= setTimeout(this.#sweep, this.#timeoutMs)
    })
  }

  #subscribe(): Subscription {
    const subscription = this.#client.subscribe(`${this.#prefix}*`, {
      callback: (failure, message) => {
        if (failure) this.#end(subscription, failure)
        else this.#receive(message)
      },
    })
    subscription.closed.then(() => this.#end(subscription, unavailable())).catch(() => undefined)
    return subscription
  }

  /** Never throws: it is called by nats.ws, which would stop reading. */
  #receive(message: Msg): void {
    const number = Number(message.subject.slice(this.#prefix.length))
    const waiting = this.#waiting.get(number)
    // Late: the request has failed meanwhile.
    if (!waiting) return
    const isNobody = isNoResponders(message)
    if (!isNobody && waiting.request.accepts?.(message) === false) return
    this.#waiting.remove(number)
    if (isNobody) waiting.reject(new NoResponders())
    else waiting.resolve(message)
  }

  /**
   * Nothing more will come on this subscription: the connection is gone, or it may not be subscribed to any more. What was
   * sent may have been carried out either way.
   */
  #end(subscription: Subscription, cause: unknown): void {
    if (subscription !== this.#subscription) return
    this.#subscription = undefined
    this.#isReady = false
    const failure = hasCode(cause, 'jetstream_unavailable') ? cause : unavailable(cause)
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const { request, reject } of this.#waiting.clear())
      reject(CHANGES.test(request.subject) ? asUnknown(failure) : failure)
  }

  /** The server tells each refusal by the subject alone, in the order of the publishes. */
  #refuse(refused: string): void {
    for (const [number, { request, reject }] of this.#waiting) {
      if (quoted(request.subject) !== refused) continue
      this.#waiting.remove(number)
      reject(refusedPublish(request.subject))
      return
    }
  }

  readonly #sweep = (): void => {
    this.#timer = undefined
    const now = performance.now()
    for (let oldest = this.#waiting.first; oldest; oldest = this.#waiting.first) {
      const [number, { deadline, reject }] = oldest
      if (deadline > now) {
        this.#timer = setTimeout(this.#sweep, Math.ceil(deadline - now))
        return
      }
      this.#waiting.remove(number)
      reject(timedOut())
    }
  }
}

const withoutInbox = () =>
  new BridgeError(
    'forbidden',
    `NATS does not let this user subscribe to "${INBOXES}", where its answers come: nothing was sent.`,
  )

const inboxes = new WeakMap<NatsConnection, Inbox>()

/** The inbox of a connection. `timeoutMs`: how long each of its requests may take; the first call settles it. */
export function inboxOf(client: NatsConnection, timeoutMs: number): Inbox {
  const known = inboxes.get(client)
  if (known) return known
  const inbox = new Inbox(client, timeoutMs)
  inboxes.set(client, inbox)
  return inbox
}
