/** Owns reading by position: one page, waiting for one, or a tail of events. */
import type { JetStream } from '../jetstream.ts'
import { streamPieces } from '../pieces.ts'
import type { Page, PageRequest, Position, StreamReader } from '../reading.ts'
import { digestMessage } from '../tokens/cursor.ts'
import { createFeeds, type Feeds } from './feed.ts'
import { readPage } from './history.ts'
import { createIncarnations } from './incarnations.ts'
import { tailEvents } from './tail.ts'

/** The first page of a tail: small, so that the answer begins soon. */
const FIRST_STEP = { limit: 100, maxBytes: 262_144 }
/** A wait is cut into pieces, since a runtime takes a stream without a timer for hung. */
const PATIENCE_MS = 10_000

/** A reader that whoever opens it closes. */
export interface OpenedReader extends StreamReader {
  close(): Promise<void>
}

export function createStreamReader(
  jetstream: JetStream,
  options: { heartbeatMs: number; now: () => number },
): OpenedReader {
  const feeds = createFeeds(jetstream)
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
        ...(duplicate ? {} : { digest: digestMessage(subject, payload) }),
      }
    },

    async tail(request) {
      const first = await readPage(jetstream, { ...request, ...FIRST_STEP })
      const gone = new AbortController()
      const parts = { jetstream, feeds, heartbeatMs: options.heartbeatMs, gone: gone.signal }
      return streamPieces(tailEvents(parts, request, first), gone)
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
  const seat = await feeds.join(request.stream, request.filters)
  try {
    const next = () => readPage(jetstream, { ...request, from: { position: found.position } })
    const missed = await next()
    if (isAnswer(missed)) return missed
    for (;;) {
      const item = await seat.next(PATIENCE_MS, until)
      if (item.kind === 'message' && item.message.seq <= missed.position.seq) continue
      if (item.kind !== 'idle') return await next()
      if (until.aborted) return { ...missed, position: laterOf(missed.position, item) }
    }
  } finally {
    seat.leave()
  }
}

/** Past what went by without matching. */
function laterOf(position: Position, { seq, time }: { seq: number; time: string | undefined }): Position {
  if (seq <= position.seq) return position
  const { created } = position
  return { seq, ...(created === undefined ? {} : { created }), ...(time === undefined ? {} : { time }) }
}

const isAnswer = (page: Page) => page.messages.length > 0 || page.gap !== undefined
