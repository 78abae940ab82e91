/** Reading by position: one page, waiting for one, or a tail of events. */
import { abortWith } from '../abort.ts'
import { BridgeError, isPassing, SHUTTING_DOWN } from '../errors.ts'
import type { Hold } from '../holds.ts'
import type { JetStream } from '../jetstream.ts'
import type { LiveMetrics } from '../metrics.ts'
import type { Page, PageRequest, Position, StreamReader } from '../reading.ts'
import type { Scan } from '../scans.ts'
import { createTimers, type StartTimer } from '../timers.ts'
import { contentMark } from '../tokens/cursor.ts'
import { createFeeds, type Feeds, isOfStream } from './feeds.ts'
import { readPage } from './history.ts'
import { createIncarnations } from './incarnations.ts'
import { movedTo } from './places.ts'
import { BufferBudget, type LiveItem, type Seat } from './seat.ts'
import { Tail, type TailParts } from './tail.ts'

/** The first page of a tail: small, so that the answer begins soon. */
const FIRST_STEP = { limit: 100, maxBytes: 262_144 }
/** A reader waits so long for room for it, ms. */
const ROOM_MS = 2_000
/** What waits for all slow readers of a connection together. */
const MAX_BUFFERED_BYTES = 33_554_432
/** A wait is cut into pieces, since a runtime takes a stream without a timer for hung. */
const PATIENCE_MS = 10_000

/** A reader that whoever opens it closes. */
export interface OpenedReader extends StreamReader {
  /** The host ends: readers of events leave with a cursor, waits for a page end with an empty one, reads fail. */
  dismiss(): void
  /** The stream was changed through this host. */
  forgetStream(stream: string): void
  close(): Promise<void>
}

export interface ReaderOptions {
  /** The longest silence towards a reader of events, ms. */
  readonly heartbeatMs: number
  /** What a live reader may leave unread before it goes back to history. */
  readonly bufferBytes: number
  readonly metrics: LiveMetrics
  readonly now: () => number
  /** How searches take their turns; absent: they are done at once. */
  readonly scan?: Scan | undefined
  /** Opens what the host counts memory by, of the caller whose reader it is; absent: nobody counts. */
  readonly openHold?: () => Hold
}

export function createStreamReader(jetstream: JetStream, options: ReaderOptions): OpenedReader {
  const startTimer = createTimers()
  const budget = new BufferBudget(MAX_BUFFERED_BYTES, options.openHold?.())
  const feeds = createFeeds(jetstream, { ...options, budget, startTimer })
  const { heartbeatMs, metrics, scan } = options
  const { openHold } = options
  const parts = { jetstream, feeds, startTimer, heartbeatMs, metrics, scan, openHold }
  const incarnations = createIncarnations(jetstream, options.now)
  /** How everyone who may stay for long is told to leave. */
  const guests = new Set<() => void>()
  let isDismissed = false
  const admit = () => {
    if (isDismissed) throw new BridgeError('jetstream_unavailable', SHUTTING_DOWN)
  }

  return {
    async page(request) {
      admit()
      const { wait } = request
      if (!wait) return await readPage(jetstream, request, scan)
      const over = new AbortController()
      const leave = () => over.abort()
      const stop = startTimer(leave, wait.forMs)
      const letGo = abortWith(over, wait.signal)
      guests.add(leave)
      try {
        return await waitForPage(parts, request, over.signal)
      } finally {
        guests.delete(leave)
        letGo()
        stop()
      }
    },

    async positionAfter(message, { stream, seq, duplicate }) {
      const content = duplicate ? undefined : contentMark(message)
      return {
        seq,
        ...(await incarnations.of(stream, seq)),
        ...(content === undefined ? {} : { content }),
      }
    },

    duplicateWindowOf: (stream) => incarnations.duplicateWindowOf(stream),

    async tail(request) {
      const memory = parts.openHold?.()
      const room = memory ? { room: { hold: memory, withinMs: ROOM_MS } } : {}
      try {
        const reading = readPage(jetstream, { ...request, ...FIRST_STEP, ...room }, scan)
        const following = requireFollowed(feeds, request.stream)
        following.catch(() => undefined)
        const first = await reading
        await following
        admit()
        const leave = () => tail.dismiss()
        const onEnd = () => {
          guests.delete(leave)
          request.onEnd()
        }
        const tail = new Tail(parts, { ...request, onEnd }, { first, memory })
        guests.add(leave)
        return new ReadableStream<Uint8Array>(tail, { highWaterMark: 0 })
      } catch (failure) {
        memory?.release()
        throw failure
      }
    },

    dismiss() {
      isDismissed = true
      for (const leave of guests) leave()
    },

    forgetStream: (stream) => incarnations.forget(stream),

    close: () => feeds.close(),
  }
}

/**
 * What a stream or a credential does not allow is refused while that can still be a status: a browser would come back each
 * second to an answer that begins well. What passes by itself the reader waits for.
 */
async function requireFollowed(feeds: Feeds, stream: string): Promise<void> {
  try {
    await feeds.open(stream)
  } catch (failure) {
    if (!isPassing(failure) && !isOfStream(failure)) throw failure
  }
}

/** A page, or what the live end brings before `until` is aborted; then an empty page from where the live end is. */
async function waitForPage(
  { jetstream, feeds, startTimer, scan }: TailParts,
  request: PageRequest,
  until: AbortSignal,
): Promise<Page> {
  const found = await readPage(jetstream, request, scan)
  if (isAnswer(found) || until.aborted) return found
  const { filters, scope } = request
  const seat = await feeds.join(request.stream, { filters, scope }, found.position.seq)
  try {
    const next = () => readPage(jetstream, { ...request, from: { position: found.position } }, scan)
    const missed = await next()
    if (isAnswer(missed)) return missed
    for (;;) {
      const item = await nextItem(seat, until, startTimer)
      if (item && item.kind !== 'idle') return await next()
      if (until.aborted) return { ...missed, position: laterOf(missed.position, seat) }
    }
  } finally {
    seat.leave()
  }
}

/** What comes next; undefined after a while, or when aborted. */
async function nextItem(
  seat: Seat,
  until: AbortSignal,
  startTimer: StartTimer,
): Promise<LiveItem | undefined> {
  const [item] = seat.take(1)
  if (item || until.aborted) return item
  return await new Promise((resolve) => {
    const done = (next?: LiveItem) => {
      cease()
      until.removeEventListener('abort', stop)
      resolve(next)
    }
    const stop = () => done()
    const cease = startTimer(stop, PATIENCE_MS)
    until.addEventListener('abort', stop)
    seat.wait(done)
  })
}

/** Past what went by without matching; a feed of a stream that was made again since says nothing of this one. */
function laterOf(position: Position, { at, created }: Seat): Position {
  return at.seq <= position.seq || created !== position.created ? position : movedTo(position, at)
}

const isAnswer = (page: Page) => page.messages.length > 0 || page.gap !== undefined
