/** Owns reading by position: one page, waiting for one, or a tail of events. */
import type { JetStream } from '../jetstream.ts'
import type { LiveMetrics } from '../metrics.ts'
import type { Page, PageRequest, Position, StreamReader } from '../reading.ts'
import { checksumOf } from '../tokens/cursor.ts'
import { createFeeds, type Feeds } from './feeds.ts'
import { readPage } from './history.ts'
import { createIncarnations } from './incarnations.ts'
import { BufferBudget, type LiveItem, type Seat } from './seat.ts'
import { Tail } from './tail.ts'

/** The first page of a tail: small, so that the answer begins soon. */
const FIRST_STEP = { limit: 100, maxBytes: 262_144 }
/** What waits for all slow readers of a connection together. */
const MAX_BUFFERED_BYTES = 33_554_432
/** A wait is cut into pieces, since a runtime takes a stream without a timer for hung. */
const PATIENCE_MS = 10_000

/** A reader that whoever opens it closes. */
export interface OpenedReader extends StreamReader {
  close(): Promise<void>
}

export interface ReaderOptions {
  /** The longest silence towards a reader of events, ms. */
  readonly heartbeatMs: number
  /** What a live reader may leave unread before it goes back to history. */
  readonly bufferBytes: number
  readonly metrics: LiveMetrics
  readonly now: () => number
}

export function createStreamReader(jetstream: JetStream, options: ReaderOptions): OpenedReader {
  const budget = new BufferBudget(MAX_BUFFERED_BYTES)
  const feeds = createFeeds(jetstream, { ...options, budget })
  const parts = { jetstream, feeds, heartbeatMs: options.heartbeatMs, metrics: options.metrics }
  const incarnations = createIncarnations(jetstream, options.now)
  return {
    page: (request) =>
      request.waitUntil
        ? waitForPage(jetstream, feeds, request, request.waitUntil)
        : readPage(jetstream, request),

    async positionAfter({ subject, payload }, { stream, seq, duplicate }) {
      const created = await incarnations.createdOf(stream, seq)
      return {
        seq,
        ...(created === undefined ? {} : { created }),
        ...(duplicate ? {} : { checksum: checksumOf(subject, payload) }),
      }
    },

    duplicateWindowOf: (stream) => incarnations.duplicateWindowOf(stream),

    async tail(request) {
      const first = await readPage(jetstream, { ...request, ...FIRST_STEP })
      return new ReadableStream<Uint8Array>(new Tail(parts, request, first), { highWaterMark: 0 })
    },

    close: () => feeds.close(),
  }
}

/** A page, or what the live end brings before `until` is aborted; then an empty page from where the live end is. */
async function waitForPage(
  jetstream: JetStream,
  feeds: Feeds,
  request: PageRequest,
  until: AbortSignal,
): Promise<Page> {
  const found = await readPage(jetstream, request)
  if (isAnswer(found) || until.aborted) return found
  const { filters, scope } = request
  const seat = await feeds.join(request.stream, { filters, scope }, found.position.seq)
  try {
    const next = () => readPage(jetstream, { ...request, from: { position: found.position } })
    const missed = await next()
    if (isAnswer(missed)) return missed
    for (;;) {
      const item = await nextItem(seat, until)
      if (item && item.kind !== 'idle') return await next()
      if (until.aborted) return { ...missed, position: laterOf(missed.position, seat.at) }
    }
  } finally {
    seat.leave()
  }
}

/** What comes next; undefined after a while, or when aborted. */
async function nextItem(seat: Seat, until: AbortSignal): Promise<LiveItem | undefined> {
  const [item] = seat.take(1)
  if (item || until.aborted) return item
  return await new Promise((resolve) => {
    const done = (next?: LiveItem) => {
      clearTimeout(timer)
      until.removeEventListener('abort', stop)
      resolve(next)
    }
    const stop = () => done()
    const timer = setTimeout(stop, PATIENCE_MS)
    until.addEventListener('abort', stop)
    seat.wait(done)
  })
}

/** Past what went by without matching. */
function laterOf(position: Position, { seq, time }: { seq: number; time: string | undefined }): Position {
  if (seq <= position.seq) return position
  const { created } = position
  return { seq, ...(created === undefined ? {} : { created }), ...(time === undefined ? {} : { time }) }
}

const isAnswer = (page: Page) => page.messages.length > 0 || page.gap !== undefined
