/** A reader's server-sent events: history at its own pace, then live, and back again when it falls behind. */
import { BridgeError, isPassing, toProblem } from '../errors.ts'
import { farewell } from '../farewell.ts'
import type { Hold } from '../holds.ts'
import type { JetStream } from '../jetstream.ts'
import type { LiveMetrics } from '../metrics.ts'
import type { Gap, Page, Position, TailRequest } from '../reading.ts'
import type { Scan } from '../scans.ts'
import type { StartTimer } from '../timers.ts'
import { caughtUpEvent, errorEvent, gapEvent, HEARTBEAT, pageEvents, retryEvent } from './events.ts'
import { type Feeds, isOfStream } from './feeds.ts'
import { cursorExpired, readPage } from './history.ts'
import { type Controller, Outlet } from './outlet.ts'
import { type At, movedTo, upTo } from './places.ts'
import { type Chunk, joinBytes, type LiveItem, type Seat } from './seat.ts'

/** One step of history; small, since it waits in memory for a slow reader. */
const STEP = { limit: 500, maxBytes: 262_144 }
/** What is being written is there as text and as bytes. */
const COPIES = 2
/** What is written at once of what waits for a reader. */
const MAX_WRITE_BYTES = 262_144
/** workerd drops an answer whose client left before it began, and says nothing. */
const FIRST_PULL_MS = 5_000
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000

export interface TailParts {
  readonly jetstream: JetStream
  readonly feeds: Feeds
  readonly startTimer: StartTimer
  readonly heartbeatMs: number
  readonly metrics: LiveMetrics
  readonly scan?: Scan | undefined
  /** Opens what the host counts memory by; absent: nobody counts. */
  readonly openHold?: (() => Hold) | undefined
}

interface TailBegin {
  readonly first: Page
  readonly memory: Hold | undefined
}

/**
 * The source of an answer's body, for a stream that queues nothing. While the reader catches up, each pull reads on. At
 * the live end a pull takes what waits at the seat; where nothing does, the next item is written the moment it comes.
 */
export class Tail {
  readonly #parts: TailParts
  readonly #request: TailRequest
  #position: Position
  #toldCaughtUp = false
  /** The way to the live end, while the reader is on it. */
  #history: AsyncGenerator<string, Seat, undefined> | undefined
  #reading: Promise<void> | undefined
  readonly #outlet = new Outlet()
  /** Of the page that is on its way to the reader. */
  readonly #memory: Hold | undefined
  #seat: Seat | undefined
  #counted: 'readersCatchingUp' | 'readersLive' | undefined
  readonly #stopWaiting: () => void
  #isDismissed = false
  #ended = false

  /** `first`: the page that settled where the tail begins; `memory` has what it holds, and is released with the tail. */
  constructor(parts: TailParts, request: TailRequest, { first, memory }: TailBegin) {
    this.#parts = parts
    this.#request = request
    this.#memory = memory
    this.#position = first.position
    this.#history = this.#begin([first])
    this.#stopWaiting = parts.startTimer(() => this.#end(), FIRST_PULL_MS)
    this.#count('readersCatchingUp')
  }

  pull(controller: Controller): Promise<void> | undefined {
    // It comes late, and was given up.
    if (this.#ended) return void controller.close()
    if (!this.#outlet.controller) this.#stopWaiting()
    this.#outlet.ask(controller)
    if (this.#isDismissed) return this.#leave()
    if (this.#seat) return this.#writeLive(this.#seat)
    this.#reading ??= this.#readWhileAsked()
    return this.#reading
  }

  /** The host ends: what is at hand goes out with a last cursor, as soon as the connection takes it. */
  dismiss(): void {
    this.#isDismissed = true
    if (this.#outlet.isAsked) void this.#leave()
  }

  /** All that has been read is written; but for the first page, which is there from the start. */
  async #leave(): Promise<void> {
    if (!this.#outlet.hasBegun) await this.#readOn()
    const atHand = this.#seat?.take(MAX_WRITE_BYTES) ?? []
    // What stands behind anything else, such as a gap, the reader gets where it goes on.
    const other = atHand.findIndex(({ kind }) => kind !== 'chunk')
    const first = other === -1 ? atHand : atHand.slice(0, other)
    this.#writeChunks(first.filter((item) => item.kind === 'chunk'))
    this.#outlet.write(farewell(this.#request.scope.seal(this.#position)))
    this.#close()
  }

  cancel(): void {
    this.#end()
  }

  /** A pull that comes while the one before is being answered is answered, too. */
  async #readWhileAsked(): Promise<void> {
    try {
      do await this.#readOn()
      while (this.#outlet.isAsked && this.#history)
    } finally {
      this.#reading = undefined
    }
  }

  /** Writes the next piece of history, or goes live where there is no more of it. */
  async #readOn(): Promise<void> {
    try {
      const step = await this.#history?.next()
      if (!step) return
      if (this.#ended) {
        if (step.done) step.value?.leave()
      } else if (step.done) {
        this.#history = undefined
        this.#seat = step.value
        this.#count('readersLive')
        await this.#writeLive(step.value)
      } else this.#outlet.write(step.value)
    } catch (failure) {
      this.#fail(failure)
    }
  }

  /** What waits is written now, else the next item when it comes. A promise: the reader went back to history. */
  #writeLive(seat: Seat): Promise<void> | undefined {
    const items = seat.take(MAX_WRITE_BYTES)
    const chunks: Chunk[] = []
    for (const item of items) {
      if (item.kind === 'chunk') {
        chunks.push(item)
        continue
      }
      this.#writeChunks(chunks.splice(0))
      if (item.kind === 'left') return this.#goBack(item.failure)
      this.#writeItem(item)
    }
    this.#writeChunks(chunks)
    if (items.length === 0) seat.wait(this.#receive)
    return undefined
  }

  readonly #receive = (item: LiveItem): void => {
    if (item.kind === 'chunk') this.#writeChunks([item])
    else if (item.kind === 'left') void this.#goBack(item.failure)
    else this.#writeItem(item)
  }

  #writeChunks(chunks: readonly Chunk[]): void {
    const last = chunks.at(-1)
    if (!last) return
    this.#moveTo(last)
    this.#parts.metrics.deliveries.add(chunks.reduce((sum, { messages }) => sum + messages, 0))
    this.#outlet.write(chunks.length === 1 ? last.bytes : joinBytes(chunks))
  }

  /** Something is written in any case: a read that waits for it must not wait on. */
  #writeItem(item: Exclude<LiveItem, Chunk | { kind: 'left' }>): void {
    if (item.kind === 'gap') this.#writeGap(item.gap)
    else if (item.bytes !== undefined && item.seq > this.#position.seq) {
      this.#moveTo(item)
      this.#outlet.write(item.bytes)
    } else this.#outlet.write(HEARTBEAT)
  }

  #writeGap({ fromSeq, toSeq }: Gap): void {
    const gap = { fromSeq: Math.max(fromSeq, this.#position.seq + 1), toSeq }
    if (gap.fromSeq > gap.toSeq) this.#outlet.write(HEARTBEAT)
    else {
      this.#moveTo({ seq: toSeq, time: undefined })
      this.#tellGap(gap)
    }
  }

  #tellGap(gap: Gap): void {
    if (this.#request.onGap === 'error') this.#fail(cursorExpired(this.#request, this.#position, gap.fromSeq))
    else {
      this.#parts.metrics.gaps.add(1)
      this.#outlet.write(gapEvent(this.#request.scope.seal(this.#position), gap))
    }
  }

  #moveTo(at: At): void {
    this.#position = movedTo(this.#position, at)
  }

  #goBack(failure: unknown): Promise<void> | undefined {
    this.#seat?.leave()
    this.#seat = undefined
    if (this.#ended) return undefined
    this.#count('readersCatchingUp')
    this.#history = this.#toLiveEnd(isOfStream(failure) ? undefined : failure)
    // In the middle of reading on, that goes on with it by itself.
    const { controller } = this.#outlet
    return this.#reading || !controller ? undefined : this.pull(controller)
  }

  /** What one step has read does not outlive it: a reader may wait for long, and many of them do. */
  async *#begin(pages: Page[]): AsyncGenerator<string, Seat, undefined> {
    yield* this.#firstEvents(pages)
    return yield* this.#toLiveEnd(undefined)
  }

  *#firstEvents(pages: Page[]): Generator<string, void, undefined> {
    const first = pages.pop()
    if (!first) return
    // Together: a position counts as written from its page's first event on.
    const [events = ''] = this.#pageEvents(first)
    // An id at once: a client that is cut off before it has one comes back as a new one, which an outage would refuse.
    const cursor = events === '' ? this.#request.scope.seal(this.#position) : undefined
    yield retryEvent(cursor) + events
    this.#memory?.keep(0, 'answers')
  }

  /** `failure`: what ended the last stay at the live end, if not the reader's own slowness. */
  async *#toLiveEnd(failure: unknown): AsyncGenerator<string, Seat, undefined> {
    let reason = failure
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      if (reason !== undefined) {
        // NATS away, or between leaders: the reader stays, since a browser does not come back to a refusal.
        if (!isPassing(reason)) throw reason
        await new Promise((resolve) => setTimeout(resolve, Math.min(pauseMs, this.#parts.heartbeatMs)))
        yield HEARTBEAT
      }
      try {
        return yield* this.#takeSeat()
      } catch (thrown) {
        reason = thrown ?? new Error('Something failed without a reason.')
      }
    }
  }

  async *#takeSeat(): AsyncGenerator<string, Seat, undefined> {
    const { stream, filters, scope, form } = this.#request
    yield* this.#readUpTo(Number.POSITIVE_INFINITY)
    const seat = await this.#parts.feeds.join(stream, { filters, scope, form }, this.#position.seq)
    let isTaken = false
    try {
      if (seat.created !== this.#position.created) {
        // Either the reader is of a stream that was made again, which its history tells, or the feed is: it ends soon.
        yield* this.#readUpTo(Number.POSITIVE_INFINITY)
        throw new BridgeError('jetstream_unavailable', 'The stream cannot be followed right now.')
      }
      if (!this.#isAt(seat)) yield* this.#readUpTo(seat.afterSeq)
      if (!this.#toldCaughtUp) yield caughtUpEvent(scope.seal(this.#position))
      this.#toldCaughtUp = true
      isTaken = true
      return seat
    } finally {
      if (!isTaken) seat.leave()
    }
  }

  /** Whether the seat's feed stands at the very same message: else the stream may have lost its tail. */
  #isAt({ at }: Seat): boolean {
    const { seq, time } = this.#position
    return at.seq === seq && at.time === time
  }

  /** Reads until the leader has no more, and no further than `lastSeq`: what comes after that waits at the seat. */
  async *#readUpTo(lastSeq: number): AsyncGenerator<string, void, undefined> {
    while (yield* this.#readStep(lastSeq));
  }

  /** Answers whether there is more. */
  async *#readStep(lastSeq: number): AsyncGenerator<string, boolean, undefined> {
    const { seq } = this.#position
    // Where there is nothing to read, the position is checked and no more.
    const step = seq >= lastSeq ? { ...STEP, limit: 1 } : STEP
    const hold = this.#memory
    const room = hold ? { room: { hold, withinMs: this.#parts.heartbeatMs } } : {}
    const request = { ...this.#request, ...step, ...room, from: { position: this.#position } }
    const page = upTo(lastSeq, await readPage(this.#parts.jetstream, request, this.#parts.scan))
    if (page.position.seq > seq || page.position.time !== undefined) this.#position = page.position
    yield* this.#pageEvents(page)
    if (page.position.seq >= lastSeq) return false
    if (page.upToDate && lastSeq === Number.POSITIVE_INFINITY) return false
    // It has lost its tail, and the feed is to end.
    if (page.upToDate) throw new BridgeError('jetstream_unavailable', 'The stream ends before its feed.')
    return true
  }

  *#pageEvents(page: Page): Iterable<string> {
    const text = pageEvents(this.#request, page)
    if (text === '') return this.#memory?.keep(0, 'answers')
    this.#parts.metrics.deliveries.add(page.messages.length)
    if (page.gap) this.#parts.metrics.gaps.add(1)
    this.#memory?.keep(COPIES * text.length, 'answers')
    yield text
    this.#memory?.keep(0, 'answers')
  }

  #count(as: 'readersCatchingUp' | 'readersLive' | undefined): void {
    const { metrics } = this.#parts
    if (this.#counted) metrics[this.#counted].add(-1)
    if (as) metrics[as].add(1)
    this.#counted = as
  }

  #fail(failure: unknown): void {
    if (this.#ended) return
    this.#outlet.write(errorEvent(toProblem(failure, this.#request.requestId)))
    this.#close()
  }

  #close(): void {
    this.#outlet.close()
    this.#end()
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#memory?.release()
    this.#outlet.drop()
    this.#stopWaiting()
    this.#count(undefined)
    this.#request.onEnd()
    this.#seat?.leave()
    this.#seat = undefined
    // A seat that is being taken at this moment is left when it is there.
    this.#history?.return(undefined as never).catch(() => undefined)
    this.#history = undefined
  }
}
