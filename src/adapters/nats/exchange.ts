/** Requests that have many replies: one subscription for each, ended with it. */
import { createInbox, type Msg, type NatsConnection, type NatsError, type Subscription } from 'nats.ws'
import { BridgeError } from '../../errors.ts'
import { createTimers, type StartTimer } from '../../timers.ts'
import { fromClient, NoResponders, timedOut, unavailable } from './errors.ts'
import { type HeaderBlock, headersOf, isNoResponders } from './headers.ts'
import { settled } from './liveness.ts'
import { quoted } from './refusals.ts'

/** A reply and its header block, taken apart once. */
export interface Reply {
  readonly message: Msg
  readonly block: HeaderBlock
}

export interface ExchangeRequest {
  readonly subject: string
  readonly payload: Uint8Array
  /** All replies must have come by then, ms. */
  readonly timeoutMs: number
  /** The longest silence between two replies, ms; absent: `timeoutMs` alone counts. */
  readonly silenceMs?: number
  /** What a silence makes one ask. */
  readonly quiet?: Quiet
  readonly signal?: AbortSignal
}

/** A short silence in which it is asked whether more replies can come; where none can, that ends the request. */
export interface Quiet {
  /** The first such silence; each further one is twice as long. */
  readonly ms: number
  /** Whether a first reply has to come before silence means anything. */
  readonly afterFirst: boolean
  isOver(): Promise<boolean>
}

/** No more replies can come, as the question in a silence has shown. */
export class WentQuiet extends BridgeError {
  constructor() {
    super('jetstream_timeout', 'The consumer delivers nothing more for now.')
  }
}

const timers = new WeakMap<NatsConnection, StartTimer>()

function timersOf(client: NatsConnection): StartTimer {
  const known = timers.get(client) ?? createTimers()
  timers.set(client, known)
  return known
}

/** Subscribes to an inbox; `receive` never meets an exception of ours inside nats.ws, which would stop reading. */
export function subscribeTo(
  client: NatsConnection,
  { inbox, requestSubject }: { readonly inbox: string; readonly requestSubject: string },
  receive: (failure: unknown, message: Msg) => void,
): Subscription {
  const callback = (failure: NatsError | null, message: Msg) => receive(failure ?? undefined, message)
  const subscription = client.subscribe(inbox, { callback })
  // By this nats.ws tells the subscription when its request's publish is not permitted, as it does for its own requests.
  return Object.assign(subscription, { requestSubject: quoted(requestSubject) })
}

/** Undoes `subscribeTo`; also after nats.ws gave the subscription up by itself. */
export function unsubscribe(client: NatsConnection, subscription: Subscription): void {
  if (!client.isClosed()) subscription.unsubscribe()
  letGo(subscription)
}

const deaf = () => undefined

/**
 * Drops the callback of a subscription that has ended, which has all messages of a page: nats.ws may keep the subscription in a
 * `Map` for long (see `LinkedList`).
 */
function letGo(subscription: Subscription): void {
  Object.assign(subscription, { callback: deaf })
}

/** Ends the subscription so that what the server has sent by now still arrives. */
async function drain(client: NatsConnection, subscription: Subscription): Promise<void> {
  if (client.isClosed()) return
  if (subscription.isClosed()) return unsubscribe(client, subscription)
  const drained = subscription.drain()
  drained.catch(() => undefined)
  await settled(client)
  letGo(subscription)
}

/**
 * Sends one request and hands each reply to `take` until that says that the last one has come.
 * Throws as `Connection.request`; aborted: the signal's reason. When it throws, `take` has been given every reply that
 * was on its way: the caller may have to give messages back.
 */
export async function exchange(
  client: NatsConnection,
  request: ExchangeRequest,
  take: (reply: Reply) => 'more' | 'last',
): Promise<void> {
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>()
  ended.catch(() => undefined)
  const startTimer = timersOf(client)
  const expire = () => reject(timedOut())
  const silence = silenceTimer(startTimer, request.silenceMs, expire)
  const quiet = quietTimer(startTimer, request.quiet, () => reject(new WentQuiet()))
  const stopDeadline = startTimer(expire, request.timeoutMs)
  const abort = () => reject(request.signal?.reason)

  const receive = (failure: unknown, message: Msg) => {
    try {
      if (failure !== undefined) throw failure
      silence.restart()
      quiet.restart()
      const reply = { message, block: headersOf(message) }
      if (isNoResponders(message, reply.block)) throw new NoResponders()
      if (take(reply) === 'last') resolve()
    } catch (err) {
      reject(fromClient(err, client.isClosed()))
    }
  }

  let subscription: Subscription | undefined
  try {
    request.signal?.throwIfAborted()
    request.signal?.addEventListener('abort', abort)
    subscription = subscribeTo(client, { inbox: createInbox(), requestSubject: request.subject }, receive)
    subscription.closed.then(() => reject(unavailable())).catch(reject)
    client.publish(request.subject, request.payload, { reply: subscription.getSubject() })
    await ended
    unsubscribe(client, subscription)
  } catch (err) {
    if (subscription) await drain(client, subscription)
    throw request.signal?.aborted && err === request.signal.reason ? err : fromClient(err, client.isClosed())
  } finally {
    stopDeadline()
    silence.stop()
    quiet.stop()
    request.signal?.removeEventListener('abort', abort)
  }
}

/** Asks after each short silence, and once at a time; a question that fails is one that is not answered. */
function quietTimer(
  startTimer: StartTimer,
  quiet: Quiet | undefined,
  expired: () => void,
): { restart(): void; stop(): void } {
  if (!quiet) return { restart: () => undefined, stop: () => undefined }
  let hasStopped = false
  let { ms } = quiet
  const start = () => silenceTimer(startTimer, ms, () => void ask())
  const ask = async () => {
    const isOver = await quiet.isOver().catch(() => false)
    if (hasStopped) return
    if (isOver) return expired()
    ms *= 2
    timer = start()
  }
  let timer = quiet.afterFirst ? undefined : start()
  return {
    restart() {
      if (timer) timer.restart()
      else timer = start()
    },
    stop() {
      hasStopped = true
      timer?.stop()
    },
  }
}

/** One timer, moved on when it fires: to move it at each reply costs more than the reply. */
function silenceTimer(
  startTimer: StartTimer,
  ms: number | undefined,
  expired: () => void,
): { restart(): void; stop(): void } {
  if (ms === undefined) return { restart: () => undefined, stop: () => undefined }
  let heardAt = performance.now()
  const listen = () => {
    const left = heardAt + ms - performance.now()
    if (left <= 0) expired()
    else stop = startTimer(listen, left)
  }
  let stop = startTimer(listen, ms)
  return {
    restart() {
      heardAt = performance.now()
    },
    stop: () => stop(),
  }
}
