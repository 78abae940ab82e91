/** The live end of a stream: one subscription for all its readers in this host, each message handed to those who want it. */
import { BridgeError } from '../errors.ts'
import type { JetStream, LiveSubscription, StoredMessage, StreamInfo } from '../jetstream.ts'
import type { LiveMetrics } from '../metrics.ts'
import type { Gap } from '../reading.ts'
import type { StartTimer } from '../timers.ts'
import { Channel, keyOf, type Wants } from './channel.ts'
import { type BufferBudget, type FeedPoint, type Seat, SeatBuffer } from './seat.ts'
import { SubjectTree } from './subject-tree.ts'

/** A feed nobody reads is kept this long, for readers that come back. */
const LINGER_MS = 5_000
/** Where most readers cannot keep up, they all wait this long for each other before the slow ones are left behind. */
const LONGEST_HOLD_MS = 100
const HOLD_STEP_MS = 5
/** Subjects whose readers are remembered. */
const MAX_ROUTES = 10_000

export interface FeedOptions {
  /** The longest silence towards a reader, ms. */
  readonly heartbeatMs: number
  /** What a reader may leave unread before it has to go back to history. */
  readonly bufferBytes: number
  /** What all readers together may. */
  readonly budget: BufferBudget
  readonly startTimer: StartTimer
  readonly metrics: LiveMetrics
}

interface OpenFeedOptions extends FeedOptions {
  readonly closed: () => void
}

export interface Feed {
  /** Undefined: the feed has ended. */
  join(wants: Wants, afterSeq: number): Seat | undefined
  end(failure: unknown): Promise<void>
}

/** Follows a stream from its end on. It ends by itself some seconds after the last reader has left. */
export async function openFeed(
  jetstream: JetStream,
  stream: string,
  options: OpenFeedOptions,
): Promise<Feed> {
  const feed = new StreamFeed(jetstream, await jetstream.streamInfo(stream), options)
  await feed.start()
  return feed
}

class StreamFeed implements Feed {
  readonly #jetstream: JetStream
  readonly #stream: string
  readonly #created: string
  readonly #options: OpenFeedOptions
  readonly #channels = new Map<string, Channel>()
  readonly #tree = new SubjectTree<Channel>()
  readonly #routes = new Map<string, readonly Channel[]>()
  /** Seats of readers that are further than the feed, from the reading of history. */
  readonly #early = new Map<SeatBuffer, Channel>()
  #at: FeedPoint
  #unflushed: Channel[] = []
  #isWriting = false
  /** Messages that wait while the stream is asked about a hole in front of them. */
  #queue: StoredMessage[] = []
  #asking: Promise<void> | undefined
  #subscription: LiveSubscription | undefined
  #beat: ReturnType<typeof setInterval> | undefined
  #stopLingering: (() => void) | undefined
  #ended = false
  /** What ended it, if anything did. */
  #failure: unknown

  constructor(jetstream: JetStream, { config, created, state }: StreamInfo, options: OpenFeedOptions) {
    this.#jetstream = jetstream
    this.#stream = config.name
    this.#created = created
    this.#options = options
    this.#at = { seq: state.last_seq, time: state.last_seq > 0 ? state.last_ts : undefined }
  }

  async start(): Promise<void> {
    const { bufferBytes, heartbeatMs, metrics } = this.#options
    this.#subscription = await this.#jetstream.follow(this.#stream, this.#at.seq + 1, {
      // Written as JSON it is more, and what the readers have not taken yet waits beside it.
      windowBytes: bufferBytes / 4,
      message: (message) => this.#receive(message),
      ready: () => this.#ready(),
      ended: (failure) => void this.end(failure),
    })
    await this.#checkFollowed()
    const beatMs = Math.min(Math.max(heartbeatMs / 4, 25), 1_000)
    const beat = this.#guarded(() => this.#beatAll(heartbeatMs - beatMs))
    this.#beat = setInterval(beat, beatMs)
    metrics.feeds.add(1)
    this.#linger()
  }

  /** The stream may have been made again before it was followed: then readers learn of that from its history. */
  async #checkFollowed(): Promise<void> {
    try {
      const { created } = await this.#jetstream.streamInfo(this.#stream)
      if (created === this.#created && !this.#ended) return
      throw (
        this.#failure ??
        new BridgeError('jetstream_unavailable', `Stream "${this.#stream}" cannot be followed right now.`)
      )
    } catch (failure) {
      await this.end(failure)
      throw failure
    }
  }

  join(wants: Wants, afterSeq: number): Seat | undefined {
    if (this.#ended) return undefined
    this.#stopLingering?.()
    const channel = this.#channels.get(keyOf(wants)) ?? this.#open(wants)
    const seat = new SeatBuffer({
      ...this.#options,
      created: this.#created,
      afterSeq: Math.max(afterSeq, this.#at.seq),
      at: () => this.#at,
      left: (one) => this.#leave(channel, one),
    })
    if (afterSeq > this.#at.seq) this.#early.set(seat, channel)
    else this.#settle(seat, channel)
    return seat
  }

  /** Never rejects. */
  async end(failure: unknown): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    this.#failure = failure
    this.#stopLingering?.()
    clearInterval(this.#beat)
    this.#options.closed()
    if (this.#beat) this.#options.metrics.feeds.add(-1)
    for (const seat of [...this.#seats()]) seat.push({ kind: 'left', failure })
    // What it has at the server goes by itself where it cannot be told.
    await this.#subscription?.stop().catch(() => undefined)
  }

  *#seats(): Iterable<SeatBuffer> {
    yield* this.#early.keys()
    for (const { seats } of this.#channels.values()) yield* seats
  }

  #open(wants: Wants): Channel {
    const channel = new Channel(this.#stream, this.#created, wants, this.#at)
    this.#channels.set(channel.key, channel)
    for (const filter of channel.filters) this.#tree.add(filter, channel)
    this.#routes.clear()
    return channel
  }

  #close(channel: Channel): void {
    this.#channels.delete(channel.key)
    for (const filter of channel.filters) this.#tree.remove(filter, channel)
    this.#routes.clear()
  }

  /** From here on it gets what comes; what is still to be handed out it has read already. */
  #settle(seat: SeatBuffer, channel: Channel): void {
    channel.flush()
    channel.seats.add(seat)
  }

  #leave(channel: Channel, seat: SeatBuffer): void {
    this.#early.delete(seat)
    channel.seats.delete(seat)
    const stillComing = [...this.#early.values()].includes(channel)
    if (channel.seats.size === 0 && !stillComing && this.#channels.get(channel.key) === channel)
      this.#close(channel)
    this.#linger()
  }

  /** Where nobody reads, it ends after a while. */
  #linger(): void {
    if (this.#channels.size > 0 || this.#ended) return
    this.#stopLingering?.()
    this.#stopLingering = this.#options.startTimer(() => void this.end(undefined), LINGER_MS)
  }

  #receive(message: StoredMessage): void {
    if (this.#ended) return
    if (this.#asking) this.#queue.push(message)
    else if (message.seq === this.#at.seq + 1) this.#handOut(message)
    else this.#askAbout(message)
  }

  /** Sequences are passed over where single messages were deleted; it is a gap where the stream's head was removed. */
  #askAbout(message: StoredMessage): void {
    this.#asking = this.#findGap(this.#at.seq + 1, message.seq)
      .then((gap) => {
        this.#asking = undefined
        if (this.#ended) return
        if (gap) this.#spreadGap(gap)
        this.#handOut(message)
        const queued = this.#queue
        this.#queue = []
        for (const next of queued) this.#receive(next)
      })
      // Also what the readers were handed may have failed.
      .catch((failure: unknown) => this.end(failure))
  }

  /** For what a timer calls: a failure there would be of nobody. */
  #guarded(act: () => void): () => void {
    return () => {
      try {
        act()
      } catch (failure) {
        void this.end(failure)
      }
    }
  }

  async #findGap(fromSeq: number, seenSeq: number): Promise<Gap | undefined> {
    const info = await this.#jetstream.streamInfo(this.#stream)
    if (info.created !== this.#created)
      throw new BridgeError('stream_not_found', 'The stream was made again.')
    const toSeq = Math.min(info.state.first_seq, seenSeq) - 1
    return toSeq >= fromSeq ? { fromSeq, toSeq } : undefined
  }

  #handOut(message: StoredMessage): void {
    if (this.#early.size > 0) this.#settleEarly(message.seq - 1)
    this.#at = { seq: message.seq, time: message.time }
    for (const channel of this.#routesOf(message.subject)) {
      if (!channel.add(message)) continue
      if (this.#unflushed.push(channel) === 1) this.#flushSoon()
    }
  }

  /** What comes in one go is handed out in one go. */
  #flushSoon(): void {
    if (!this.#isWriting) queueMicrotask(this.#guarded(() => this.#flush()))
  }

  /**
   * Hands out, and no more until that is written: writing costs each reader the same however much it is, so under load
   * what comes meanwhile goes together.
   */
  #flush(): void {
    const channels = this.#unflushed
    this.#unflushed = []
    for (const channel of channels) channel.flush()
    if (channels.length === 0 || this.#isWriting) return
    this.#isWriting = true
    // Whatever the writes need of this thread comes before the timer.
    setTimeout(
      this.#guarded(() => this.#written()),
      0,
    )
  }

  #written(): void {
    this.#isWriting = false
    if (!this.#ended) this.#flush()
  }

  #routesOf(subject: string): readonly Channel[] {
    const known = this.#routes.get(subject)
    if (known) return known
    if (this.#routes.size >= MAX_ROUTES) this.#routes.clear()
    const found = [...this.#tree.matching(subject)]
    this.#routes.set(subject, found)
    return found
  }

  #spreadGap(gap: Gap): void {
    this.#settleEarly(gap.toSeq)
    this.#flush()
    for (const channel of this.#channels.values()) channel.gap(gap)
  }

  #settleEarly(seq: number): void {
    for (const [seat, channel] of this.#early) {
      if (seat.afterSeq > seq) continue
      this.#early.delete(seat)
      this.#settle(seat, channel)
    }
  }

  #beatAll(silentMs: number): void {
    const now = Date.now()
    this.#settleEarly(this.#at.seq)
    for (const channel of this.#channels.values()) channel.beat(this.#at, silentMs, now)
  }

  /** Undefined: more may come. Where most readers cannot keep up, more waits for them, but not for the slowest of all. */
  #ready(): Promise<void> | undefined {
    if (!this.#asking && !this.#isHeld()) return undefined
    return this.#hold()
  }

  async #hold(): Promise<void> {
    await this.#asking
    const until = Date.now() + LONGEST_HOLD_MS
    while (this.#isHeld()) {
      if (Date.now() > until) return this.#leaveBehind()
      await new Promise((resolve) => setTimeout(resolve, HOLD_STEP_MS))
    }
  }

  #leaveBehind(): void {
    for (const seat of [...this.#seats()]) if (seat.isBehind) seat.leaveBehind()
  }

  #isHeld(): boolean {
    if (this.#ended) return false
    let [seats, behind] = [0, 0]
    for (const seat of this.#seats()) {
      seats += 1
      if (seat.isBehind) behind += 1
    }
    return 2 * behind > seats
  }
}
