/** Readers that want the same of a stream: each message is written and sealed once for all of them. */
import type { StoredMessage } from '../jetstream.ts'
import type { CursorRun, CursorScope, Gap, MessageForm } from '../reading.ts'
import { messageEvents, movingHeartbeat, type Wording } from './events.ts'
import type { FeedPoint, LiveItem, SeatBuffer } from './seat.ts'

/** Live readers of equal wants share a channel. */
export interface Wants {
  readonly filters: readonly string[]
  readonly scope: CursorScope
  /** How messages are written; absent: the reader wants to know that there is something, not what. */
  readonly form?: MessageForm
}

/** Wants as a text: equal ones, and no others, share it. */
export const keyOf = ({ filters, form }: Wants): string =>
  JSON.stringify([form ?? null, ...[...new Set(filters)].sort()])

const encoder = new TextEncoder()
const NOTHING = new Uint8Array()

export class Channel {
  readonly key: string
  readonly filters: readonly string[]
  readonly seats = new Set<SeatBuffer>()
  readonly #wording: Wording | undefined
  readonly #run: CursorRun
  #unsent: StoredMessage[] = []
  #told: FeedPoint
  /** When something was sent last, Unix milliseconds. */
  #toldAt: number

  constructor(stream: string, created: string, wants: Wants, at: FeedPoint) {
    const { filters, scope, form } = wants
    this.key = keyOf(wants)
    this.filters = filters.length > 0 ? filters : ['>']
    this.#wording = form === undefined ? undefined : { stream, scope, form }
    this.#run = scope.run({ seq: at.seq, created })
    this.#told = at
    this.#toldAt = Date.now()
  }

  /** Keeps a message for `flush`. Answers whether it is the first since then. */
  add(message: StoredMessage): boolean {
    return this.#unsent.push(message) === 1
  }

  /** Hands out what came together. */
  flush(): void {
    const messages = this.#unsent
    const last = messages.at(-1)
    if (!last) return
    this.#unsent = []
    this.#told = { seq: last.seq, time: last.time }
    this.#spread({
      kind: 'chunk',
      bytes: this.#write(messages),
      messages: messages.length,
      seq: last.seq,
      time: last.time,
    })
  }

  gap(gap: Gap): void {
    this.#spread({ kind: 'gap', gap })
  }

  /** A sign of life for those who wait, where nothing was said for `silentMs`. */
  beat(at: FeedPoint, silentMs: number, now: number): void {
    if (now - this.#toldAt < silentMs) return
    this.#toldAt = now
    const idle = this.#idle(at)
    for (const seat of this.seats) if (seat.isWaiting) seat.push(idle)
  }

  #idle({ seq, time }: FeedPoint): LiveItem {
    if (seq <= this.#told.seq || time === undefined || !this.#wording) return { kind: 'idle', seq, time }
    const [cursor = ''] = this.#run.seal([{ seq, time }])
    return { kind: 'idle', seq, time, bytes: encoder.encode(movingHeartbeat(cursor)) }
  }

  #write(messages: readonly StoredMessage[]): Uint8Array {
    if (!this.#wording) return NOTHING
    return encoder.encode(messageEvents(this.#wording, messages, this.#run.seal(messages)))
  }

  #spread(item: LiveItem): void {
    this.#toldAt = Date.now()
    for (const seat of this.seats) seat.push(item)
  }
}
