/** A simulated subscription to a stream's live end: in order, by windows, a little late. */
import { BridgeError } from '../../src/errors.ts'
import type { LiveListener, LiveSubscription, StreamInfo } from '../../src/jetstream.ts'
import type { Network } from './network.ts'
import type { SimulatedStream, Stored } from './simulated-stream.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** How long the adapter waits before it makes another consumer, and between its tries. */
const DELETED_MS = 100
const RETRY_MS = 500
const LONGEST_LATENCY_MS = 2

export interface FollowParts {
  /** The stream of the name as it is now. */
  readonly find: () => SimulatedStream | undefined
  readonly clock: VirtualClock
  readonly network: Network
  readonly listener: LiveListener
  /** Called once, when it is over. */
  readonly onEnd: () => void
}

export class SimulatedFollow implements LiveSubscription {
  readonly #parts: FollowParts
  #stream: SimulatedStream | undefined
  /** The creation time that it takes for its stream's: asked for after the consumer was made. */
  #created: string | undefined
  #nextSeq: number
  #bytesLeft: number
  #isSending = false
  #stopped = false
  #failure: BridgeError | undefined
  readonly #timers = new Set<unknown>()

  constructor(parts: FollowParts, fromSeq: number) {
    this.#parts = parts
    this.#nextSeq = Math.max(1, fromSeq)
    this.#bytesLeft = parts.listener.windowBytes
  }

  /** JetStream has made its consumer, of the stream as it is now. */
  bind(): void {
    this.#bind(this.#parts.find())
  }

  /** Throws what ended it before it had begun, and where the stream has lost what was read of it. */
  begin({ created, state }: StreamInfo): this {
    if (this.#failure) throw this.#failure
    if (state.last_seq < this.#nextSeq - 1)
      throw new BridgeError('jetstream_unavailable', 'The connection to NATS is lost.')
    this.#created = created
    this.#send()
    return this
  }

  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#stream?.listeners.delete(this.#heard)
    for (const timer of this.#timers) this.#parts.clock.cancel(timer)
    this.#parts.onEnd()
  }

  /** The connection is gone, or the stream for good. */
  end(failure: BridgeError): void {
    if (this.#stopped) return
    void this.stop()
    if (this.#created === undefined) this.#failure = failure
    else this.#parts.listener.ended(failure)
  }

  #bind(stream: SimulatedStream | undefined): void {
    this.#stream?.listeners.delete(this.#heard)
    this.#stream = stream
    stream?.listeners.add(this.#heard)
  }

  readonly #heard = (stored: Stored | undefined): void => {
    if (stored) this.#send()
    else this.#after(DELETED_MS, () => this.#goOn())
  }

  /** As the adapter: another consumer, where the stream is still the one that it knows. */
  #goOn(): void {
    const stream = this.#parts.find()
    if (!stream) this.end(new BridgeError('stream_not_found', 'The stream is gone.'))
    else if (this.#created !== undefined && stream.created !== this.#created)
      this.end(new BridgeError('stream_recreated', 'The stream was deleted and made again.'))
    else this.#bind(stream)
    this.#send()
  }

  #after(ms: number, act: () => void): void {
    const timer = this.#parts.clock.after(ms, () => {
      this.#timers.delete(timer)
      act()
    })
    this.#timers.add(timer)
  }

  /** One at a time, so that they stay in order; each is on its way for a while, also when it is removed meanwhile. */
  #send(): void {
    const { network } = this.#parts
    const isIdle = !this.#isSending && !this.#stopped && this.#created !== undefined
    if (!isIdle || this.#bytesLeft <= 0) return
    const next = network.isAway ? undefined : this.#stream?.lookUp({ seq: this.#nextSeq, nextBySubject: '>' })
    if (!next && !network.isAway) return
    this.#isSending = true
    if (next) this.#nextSeq = next.seq + 1
    this.#bytesLeft -= next ? next.payload.length + next.subject.length : 0
    this.#after(next ? network.below(LONGEST_LATENCY_MS + 1) : RETRY_MS, () => {
      if (next) this.#parts.listener.message(next)
      this.#sent()
    })
  }

  #sent(): void {
    const becomingReady = this.#bytesLeft > 0 ? undefined : this.#parts.listener.ready()
    if (this.#bytesLeft <= 0) this.#bytesLeft = this.#parts.listener.windowBytes
    if (becomingReady) void becomingReady.then(() => this.#resume())
    else this.#resume()
  }

  #resume(): void {
    this.#isSending = false
    this.#send()
  }
}
