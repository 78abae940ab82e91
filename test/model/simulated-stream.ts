/** A simulated stream: what JetStream would store, refuse and remove, and the record of all that it ever had. */
import { type ApiError, fromApiError } from '../../src/adapters/nats/errors.ts'
import type {
  BatchRequest,
  MessageLookup,
  OutgoingMessage,
  PubAck,
  StoredMessage,
  StreamInfo,
} from '../../src/jetstream.ts'
import { fromNanosText, toNanos } from '../../src/schemas/time.ts'
import { covers } from '../live/filters.ts'
import { refusedBy } from './publish-conditions.ts'

/** `head`: with all before it; `single`: by itself; `lost`: with the end of the stream, which had a reader forget it. */
export type Removal = 'head' | 'single' | 'lost'

/** A message and its fate. Operations are numbered, so that it can be told what was when. */
export interface Stored extends StoredMessage {
  readonly nanos: string
  readonly storedOp: number
  readonly storedAtMs: number
  /** The last sequence of its subject when it came; 0: none. */
  readonly previousOfSubject: number
  removedOp: number
  removedAs: Removal | undefined
}

export interface StreamConfig {
  readonly name: string
  readonly subjects: readonly string[]
  readonly max_msgs: number
  readonly max_msgs_per_subject: number
  readonly discard: 'old' | 'new'
  readonly allow_direct: boolean
  readonly num_replicas: number
  /** Nanoseconds. */
  readonly duplicate_window: number
}

/** What all streams of a simulated JetStream share. */
export interface Ledger {
  /** Numbers the next operation. */
  nextOp(): number
  /** A time that no other has. */
  nextNanos(): string
  nowMs(): number
}

const NEVER = Number.POSITIVE_INFINITY
const NO_TIME = '0001-01-01T00:00:00Z'
const MAX_BATCH = 1_000
const NANOS_PER_MS = 1e6

export const refuse = (error: ApiError, stream?: string): never => {
  throw fromApiError(error, stream)
}

export class SimulatedStream {
  readonly config: StreamConfig
  readonly created: string
  /** All that was ever stored, in that order. */
  readonly log: Stored[] = []
  readonly present = new Map<number, Stored>()
  readonly keys = new Map<string, { seq: number; atMs: number }>()
  /** Called with what has been stored; and, without it, once the stream is gone. */
  readonly listeners = new Set<(stored: Stored | undefined) => void>()
  /** Where it began at most. */
  highestFirstSeq = 0
  firstSeq = 0
  lastSeq = 0
  lastTime = NO_TIME
  /** Replicas know at least what was before this operation. */
  settledOp = 0
  /** When its end was lost. */
  readonly losses: number[] = []
  readonly createdOp: number
  deletedOp = NEVER
  readonly #ledger: Ledger

  constructor(config: StreamConfig, ledger: Ledger) {
    this.config = config
    this.#ledger = ledger
    this.created = fromNanosText(ledger.nextNanos())
    this.createdOp = ledger.nextOp()
  }

  publish(message: OutgoingMessage): PubAck {
    const { name: stream, max_msgs, max_msgs_per_subject, discard } = this.config
    const key = message.headers['Nats-Msg-Id']?.[0]
    const known = key === undefined ? undefined : this.#seqOfKey(key)
    const duplicate = refusedBy(this, message, known !== undefined)
    if (duplicate) return { stream, seq: known ?? 0, duplicate: true }
    // One that takes the place of another of its subject finds room.
    const isFull = max_msgs > 0 && this.present.size >= max_msgs
    const ofSubject = [...this.present.values()].filter(({ subject }) => subject === message.subject)
    const replaces = max_msgs_per_subject > 0 && ofSubject.length >= max_msgs_per_subject
    if (discard === 'new' && isFull && !replaces)
      refuse({ code: 503, err_code: 10077, description: 'maximum messages exceeded' })
    const stored = this.#store(message)
    if (key !== undefined) this.keys.set(key, { seq: stored.seq, atMs: stored.storedAtMs })
    if (max_msgs_per_subject > 0) this.#keep(max_msgs_per_subject, stored.subject)
    while (max_msgs > 0 && this.present.size > max_msgs) this.#removeFirst()
    for (const listen of [...this.listeners]) listen(stored)
    return { stream, seq: stored.seq, duplicate: false }
  }

  get hasLostTail(): boolean {
    return this.losses.length > 0
  }

  lastOf(filter: string): Stored | undefined {
    let last: Stored | undefined
    for (const stored of this.present.values()) if (covers(filter, stored.subject)) last = stored
    return last
  }

  lookUp(lookup: MessageLookup): Stored | undefined {
    // Of any subject nats-server looks at the last sequence alone, also where that message was deleted.
    if ('lastBySubject' in lookup && lookup.lastBySubject === '>') return this.present.get(this.lastSeq)
    if ('lastBySubject' in lookup) return this.lastOf(lookup.lastBySubject)
    if (!('nextBySubject' in lookup)) return this.present.get(lookup.seq)
    const { seq, nextBySubject } = lookup
    for (const stored of this.present.values())
      if (stored.seq >= seq && covers(nextBySubject, stored.subject)) return stored
    return undefined
  }

  /** The messages as a replica has them that has applied the operations up to `op`. */
  asOf(op: number): readonly Stored[] {
    const at = Math.max(op, this.settledOp)
    return this.log.filter(({ storedOp, removedOp }) => storedOp <= at && removedOp > at)
  }

  /** What of a batch's request there is among `messages`. */
  match({ from, filter = '>' }: BatchRequest, messages: readonly Stored[]): readonly Stored[] {
    const nanos = 'time' in from ? (toNanos(from.time) ?? 0n) : 0n
    const isAfter = ({ seq, nanos: at }: Stored) => ('seq' in from ? seq >= from.seq : BigInt(at) >= nanos)
    return messages.filter((stored) => isAfter(stored) && covers(filter, stored.subject))
  }

  /** How many of these go into one answer: it ends with the one that takes the room there is. */
  fitting(
    { batch, maxBytes }: Pick<BatchRequest, 'batch' | 'maxBytes'>,
    messages: readonly Stored[],
  ): number {
    let bytes = 0
    const last = messages.findIndex(({ payload, subject }) => {
      bytes += payload.length + subject.length
      return bytes >= maxBytes
    })
    return Math.min(batch, MAX_BATCH, last === -1 ? messages.length : last + 1)
  }

  /** Answers how many went. Without a filter what is kept is counted in sequences. */
  purge({ filter, seq = 0, keep = 0 }: { filter?: string; seq?: number; keep?: number }): number {
    if (filter === undefined || filter === '>') {
      if (keep > 0) return keep < this.present.size ? this.#purgeUpTo(this.lastSeq - keep + 1) : 0
      return seq === 1 ? 0 : this.#purgeUpTo(seq > 0 ? seq : this.lastSeq + 1)
    }
    const wanted = [...this.present.values()].filter(
      (stored) => (seq === 0 || stored.seq < seq) && covers(filter, stored.subject),
    )
    const removed = wanted.slice(0, Math.max(0, wanted.length - keep))
    for (const stored of removed) this.#remove(stored, 'single')
    this.#moveFirst(0)
    return removed.length
  }

  /** Not including `seq`; where the stream ends before that, it goes on there. */
  #purgeUpTo(seq: number): number {
    const removed = [...this.present.values()].filter((stored) => stored.seq < seq)
    for (const stored of removed) this.#remove(stored, 'head')
    this.lastSeq = Math.max(this.lastSeq, seq - 1)
    this.#moveFirst(seq)
    return removed.length
  }

  delete(seq: number): void {
    const stored = this.present.get(seq)
    if (!stored) throw fromApiError({ code: 400, err_code: 10043, description: `sequence ${seq} not found` })
    this.#remove(stored, 'single')
    this.#moveFirst(0)
  }

  /** As a cluster that has lost its newest stores: sequences are used again. Answers the first that is. */
  loseTail(count: number): number {
    const lastSeq = Math.max(0, this.lastSeq - count)
    for (const stored of [...this.present.values()]) if (stored.seq > lastSeq) this.#remove(stored, 'lost')
    for (const stored of this.log) if (stored.seq > lastSeq) stored.removedAs = 'lost'
    for (const [key, { seq }] of this.keys) if (seq > lastSeq) this.keys.delete(key)
    this.lastSeq = lastSeq
    this.firstSeq = Math.min(this.firstSeq, lastSeq + 1)
    this.lastTime =
      this.log.findLast(({ seq, removedAs }) => seq === lastSeq && removedAs !== 'lost')?.time ?? NO_TIME
    this.settledOp = this.#ledger.nextOp()
    this.losses.push(this.settledOp)
    return lastSeq + 1
  }

  end(): void {
    this.deletedOp = this.#ledger.nextOp()
    for (const listen of [...this.listeners]) listen(undefined)
  }

  info(consumers: number): StreamInfo {
    const [first] = this.present.values()
    const subjects = new Set([...this.present.values()].map(({ subject }) => subject))
    const state = {
      messages: this.present.size,
      bytes: 0,
      first_seq: this.firstSeq,
      first_ts: first?.time ?? NO_TIME,
      last_seq: this.lastSeq,
      last_ts: this.lastTime,
      consumer_count: consumers,
      num_subjects: subjects.size,
    }
    return { config: { ...this.config }, created: this.created, state }
  }

  #seqOfKey(key: string): number | undefined {
    const known = this.keys.get(key)
    if (!known) return undefined
    if (this.#ledger.nowMs() - known.atMs < this.config.duplicate_window / NANOS_PER_MS) return known.seq
    this.keys.delete(key)
    return undefined
  }

  #store({ subject, payload, headers }: OutgoingMessage): Stored {
    const nanos = this.#ledger.nextNanos()
    const previousOfSubject = this.lastOf(subject)?.seq ?? 0
    this.lastSeq += 1
    const stored: Stored = {
      subject,
      payload,
      headers,
      seq: this.lastSeq,
      nanos,
      time: fromNanosText(nanos),
      storedOp: this.#ledger.nextOp(),
      storedAtMs: this.#ledger.nowMs(),
      previousOfSubject,
      removedOp: NEVER,
      removedAs: undefined,
    }
    this.lastTime = stored.time
    this.log.push(stored)
    this.present.set(stored.seq, stored)
    this.#moveFirst(0)
    return stored
  }

  #keep(count: number, subject: string): void {
    const ofSubject = [...this.present.values()].filter((stored) => stored.subject === subject)
    for (const stored of ofSubject.slice(0, Math.max(0, ofSubject.length - count)))
      this.#remove(stored, 'single')
    this.#moveFirst(0)
  }

  #removeFirst(): void {
    const [first] = this.present.values()
    if (first) this.#remove(first, 'head')
    this.#moveFirst(0)
  }

  #remove(stored: Stored, as: Removal): void {
    stored.removedOp = this.#ledger.nextOp()
    stored.removedAs = as
    this.present.delete(stored.seq)
  }

  #moveFirst(least: number): void {
    const [first] = this.present.values()
    if (first) this.firstSeq = Math.max(first.seq, Math.min(least, first.seq))
    else if (this.lastSeq > 0 || least > 0) this.firstSeq = Math.max(this.firstSeq, least, this.lastSeq + 1)
    this.highestFirstSeq = Math.max(this.highestFirstSeq, this.firstSeq)
  }
}
