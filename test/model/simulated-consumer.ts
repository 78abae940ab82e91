/** A simulated durable consumer: what is delivered to whom, what comes back, and what an acknowledgement does. */
import { parseAckSubject } from '../../src/adapters/nats/ack-subject.ts'
import type { AckAction, ConsumerInfo, Delivery, JetStreamConfig } from '../../src/jetstream.ts'
import { nanosToMs } from '../../src/schemas/time.ts'
import { covers } from '../live/filters.ts'
import type { SimulatedStream, Stored } from './simulated-stream.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** A delivery that is not settled. */
interface Pending {
  readonly stored: Stored
  count: number
  /** Unix milliseconds; Infinity: it waits to be delivered again. */
  deadline: number
  isPostponed: boolean
}

/** A pull that waits. */
export interface Waiting {
  readonly batch: number
  readonly maxBytes: number
  take(deliveries: readonly Delivery[]): void
}

const DEFAULT_ACK_WAIT = 30_000_000_000
const DEFAULT_MAX_ACK_PENDING = 1_000

export class SimulatedConsumer {
  readonly name: string
  readonly created: string
  readonly config: JetStreamConfig
  readonly #stream: SimulatedStream
  readonly #clock: VirtualClock
  readonly #filters: readonly string[]
  readonly #ackWaitMs: number
  readonly #pending = new Map<number, Pending>()
  #again: number[] = []
  readonly waiting: Waiting[] = []
  #nextSeq: number
  #deliveries = 0
  #lastDelivered = 0
  #timer: unknown
  /** Acknowledgements that settled another delivery than their own. */
  readonly misled: string[] = []

  constructor(
    stream: SimulatedStream,
    clock: VirtualClock,
    options: { config: JetStreamConfig; created: string },
  ) {
    const { config, created } = options
    this.#stream = stream
    this.#clock = clock
    this.name = String(config.durable_name)
    this.created = created
    this.config = { ack_wait: DEFAULT_ACK_WAIT, max_ack_pending: DEFAULT_MAX_ACK_PENDING, ...config }
    const many = Array.isArray(config.filter_subjects) ? config.filter_subjects.map(String) : []
    this.#filters = typeof config.filter_subject === 'string' ? [config.filter_subject] : many
    this.#ackWaitMs = nanosToMs(Number(this.config.ack_wait))
    this.#nextSeq = this.#firstSeq()
    stream.listeners.add(this.#serve)
  }

  info(): ConsumerInfo {
    this.#forgetRemoved()
    const floor = Math.min(this.#lastDelivered, ...[...this.#pending.keys()].map((seq) => seq - 1))
    return {
      stream_name: this.#stream.config.name,
      name: this.name,
      created: this.created,
      config: this.config,
      delivered: { consumer_seq: this.#deliveries, stream_seq: this.#lastDelivered },
      ack_floor: { consumer_seq: 0, stream_seq: floor },
      num_ack_pending: this.#pending.size,
      num_redelivered: [...this.#pending.values()].filter(({ count }) => count > 1).length,
      num_waiting: this.waiting.length,
      num_pending: this.#countNew(),
    }
  }

  /** Whether it holds its messages back until some are settled. */
  get isFull(): boolean {
    return this.#pending.size >= Number(this.config.max_ack_pending)
  }

  /** What is at hand. */
  take(batch: number, maxBytes: number): Delivery[] {
    this.#forgetRemoved()
    const taken: Delivery[] = []
    let bytes = 0
    while (taken.length < batch && bytes < maxBytes) {
      const stored = this.#nextAgain() ?? this.#nextNew()
      if (!stored) break
      bytes += stored.payload.length + stored.subject.length
      taken.push(this.#deliver(stored))
    }
    this.#watch()
    return taken
  }

  /**
   * What is not pending changes nothing. False: it is not answered, which JetStream does where it has not come that far,
   * after a consumer was made again.
   */
  settle(replySubject: string, action: AckAction): boolean {
    const claim = parseAckSubject(replySubject)
    const isDone = action.action === 'ack' || action.action === 'term'
    if (claim && isDone && claim.streamSeq >= this.#nextSeq) return false
    const pending = claim && this.#pending.get(claim.streamSeq)
    if (!claim || !pending) return true
    // What was delivered of a tail that is lost by now nobody can tell from what came in its place.
    const isOther = !this.#stream.hasLostTail && claim.time !== pending.stored.time
    if (claim.deliveryCount !== pending.count || isOther)
      this.misled.push(
        `${action.action} of delivery ${claim.deliveryCount} of ${claim.streamSeq} met delivery ${pending.count}`,
      )
    if (action.action === 'progress') pending.deadline = this.#clock.now + this.#ackWaitMs
    else if (action.action === 'nak' && action.delayMs) pending.deadline = this.#clock.now + action.delayMs
    else if (action.action === 'nak') this.#comeAgain(pending)
    else this.#forget(pending.stored.seq)
    this.#watch()
    this.#serve()
    return true
  }

  /** Messages in the hands of clients, with their counts. */
  outstanding(): readonly { readonly stored: Stored; readonly count: number }[] {
    this.#forgetRemoved()
    const isHeld = ({ deadline, isPostponed }: Pending) => Number.isFinite(deadline) && !isPostponed
    return [...this.#pending.values()].filter(isHeld)
  }

  /** nats-server forgets at a purge what waits to be delivered again; that then comes after the ack wait. */
  postpone(): void {
    for (const seq of this.#again.splice(0)) {
      const pending = this.#pending.get(seq)
      if (pending) Object.assign(pending, { deadline: this.#clock.now + this.#ackWaitMs, isPostponed: true })
    }
    this.#watch()
  }

  /** What is lost from `seq` on was never delivered. */
  rewind(seq: number): void {
    this.#nextSeq = Math.min(this.#nextSeq, seq)
    this.#lastDelivered = Math.min(this.#lastDelivered, seq - 1)
    for (const pending of this.#pending.keys()) if (pending >= seq) this.#forget(pending)
  }

  end(): void {
    this.#stream.listeners.delete(this.#serve)
    this.#clock.cancel(this.#timer)
  }

  /** Hands what there is to those who wait, in their order. */
  readonly #serve = (): void => {
    for (let first = this.waiting[0]; first; first = this.waiting[0]) {
      const taken = this.take(first.batch, first.maxBytes)
      if (taken.length === 0) return
      this.waiting.shift()
      first.take(taken)
    }
  }

  #firstSeq(): number {
    const { deliver_policy, opt_start_seq } = this.config
    if (deliver_policy === 'new') return this.#stream.lastSeq + 1
    return deliver_policy === 'by_start_sequence' ? Number(opt_start_seq) : 1
  }

  #wants({ subject }: Stored): boolean {
    return this.#filters.length === 0 || this.#filters.some((filter) => covers(filter, subject))
  }

  #countNew(): number {
    return [...this.#stream.present.values()].filter(
      (stored) => stored.seq >= this.#nextSeq && this.#wants(stored),
    ).length
  }

  #nextAgain(): Stored | undefined {
    for (let seq = this.#again.shift(); seq !== undefined; seq = this.#again.shift()) {
      const pending = this.#pending.get(seq)
      if (pending) return pending.stored
    }
    return undefined
  }

  #nextNew(): Stored | undefined {
    for (const stored of this.#stream.present.values()) {
      if (stored.seq < this.#nextSeq || !this.#wants(stored)) continue
      if (this.isFull) return undefined
      this.#nextSeq = stored.seq + 1
      return stored
    }
    return undefined
  }

  #deliver(stored: Stored): Delivery {
    const { seq, nanos, subject, headers, payload, time } = stored
    const count = (this.#pending.get(seq)?.count ?? 0) + 1
    this.#deliveries += 1
    this.#lastDelivered = Math.max(this.#lastDelivered, seq)
    const now = this.#clock.now
    this.#pending.set(seq, { stored, count, deadline: now + this.#ackWaitMs, isPostponed: false })
    const numPending = this.#countNew()
    const place = [count, seq, this.#deliveries, nanos, numPending].join('.')
    const replySubject = `$JS.ACK.${this.#stream.config.name}.${this.name}.${place}`
    return {
      subject,
      headers,
      payload,
      seq,
      time,
      replySubject,
      deliveryCount: count,
      consumerSeq: this.#deliveries,
      numPending,
      receivedAt: now,
    }
  }

  #comeAgain(pending: Pending): void {
    if (!Number.isFinite(pending.deadline)) return
    pending.deadline = Number.POSITIVE_INFINITY
    this.#again.push(pending.stored.seq)
  }

  /** What the stream no longer has is nobody's to settle. */
  #forgetRemoved(): void {
    for (const [seq, { stored }] of this.#pending)
      if (this.#stream.present.get(seq) !== stored) this.#forget(seq)
  }

  #forget(seq: number): void {
    this.#pending.delete(seq)
    this.#again = this.#again.filter((one) => one !== seq)
  }

  /** Wakes when the next delivery is due to come again. */
  #watch(): void {
    this.#clock.cancel(this.#timer)
    const next = Math.min(...[...this.#pending.values()].map(({ deadline }) => deadline))
    if (!Number.isFinite(next)) return
    this.#timer = this.#clock.after(next - this.#clock.now, () => {
      for (const pending of this.#pending.values())
        if (pending.deadline <= this.#clock.now) this.#comeAgain(pending)
      this.#watch()
      this.#serve()
    })
  }
}
