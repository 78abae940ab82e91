/** Owns a reader's server-sent events: history at its own pace, then live, and back again when it falls behind. */
import { isPassing, toProblem } from '../errors.ts'
import type { JetStream, StoredMessage } from '../jetstream.ts'
import type { Gap, Page, Position, TailRequest } from '../reading.ts'
import { encodeMessage } from '../schemas/message.ts'
import type { Feeds, Seat } from './feed.ts'
import { cursorExpired, readPage } from './history.ts'

/** One step of history; small, since it waits in memory for a slow reader. */
const STEP = { limit: 500, maxBytes: 1_048_576 }
/** When the client should come back after a cut. */
const RETRY_MS = 1_000
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000

/** What a tail is made of. `gone` is aborted when the client has left. */
export interface TailParts {
  readonly jetstream: JetStream
  readonly feeds: Feeds
  readonly heartbeatMs: number
  readonly gone: AbortSignal
}

/** Where the reader is. It moves with every event that is handed out. */
interface Reader {
  position: Position
  toldCaughtUp: boolean
}

/** `first`: the page that settled where the tail begins. */
export async function* tailEvents(
  parts: TailParts,
  request: TailRequest,
  first: Page,
): AsyncGenerator<string, void, undefined> {
  const reader: Reader = { position: first.position, toldCaughtUp: false }
  yield `retry: ${RETRY_MS}\n\n`
  try {
    yield* pageEvents(request, first)
    let pauseMs = FIRST_PAUSE_MS
    while (!parts.gone.aborted) {
      const failure = yield* followOnce(parts, request, reader, () => (pauseMs = FIRST_PAUSE_MS))
      if (failure === undefined) continue
      // NATS away, or between leaders: the reader stays, since a browser does not come back to a refusal.
      if (!isPassing(failure)) throw failure
      yield* pause(parts, pauseMs)
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
    }
  } catch (failure) {
    yield `event: error\ndata: ${JSON.stringify(toProblem(failure, request.requestId))}\n\n`
  }
}

/** History up to the live end, then live, until something ends it: a failure, or undefined where the reader fell behind. */
async function* followOnce(
  parts: TailParts,
  request: TailRequest,
  reader: Reader,
  healthy: () => void,
): AsyncGenerator<string, unknown, undefined> {
  let seat: Seat | undefined
  try {
    yield* catchUp(parts, request, reader, 0)
    seat = await parts.feeds.join(request.stream, request.filters)
    yield* catchUp(parts, request, reader, seat.afterSeq)
    healthy()
    if (!reader.toldCaughtUp) {
      reader.toldCaughtUp = true
      const cursor = request.scope.seal(reader.position)
      yield encodeEvent('caught_up', cursor, JSON.stringify({ cursor }))
    }
    return yield* followLive(parts, request, reader, seat)
  } catch (failure) {
    return failure
  } finally {
    seat?.leave()
  }
}

/** Reads until the leader has no more and the reader is at `untilSeq` at least. */
async function* catchUp(
  { jetstream, gone }: TailParts,
  request: TailRequest,
  reader: Reader,
  untilSeq: number,
) {
  while (!gone.aborted) {
    const page = await readPage(jetstream, { ...request, ...STEP, from: { position: reader.position } })
    reader.position = page.position
    yield* pageEvents(request, page)
    if (page.upToDate && page.position.seq >= untilSeq) return
  }
}

async function* followLive(
  { heartbeatMs, gone }: TailParts,
  request: TailRequest,
  reader: Reader,
  seat: Seat,
): AsyncGenerator<string, unknown, undefined> {
  while (!gone.aborted) {
    const item = await seat.next(heartbeatMs, gone)
    switch (item.kind) {
      case 'left':
        return item.failure
      case 'gap':
        yield* gapEvents(request, reader, item.gap)
        break
      case 'message':
        // What history has given already comes again where the two meet.
        if (item.message.seq <= reader.position.seq) break
        moveTo(reader, item.message)
        yield messageEvent(request, reader.position, item.message)
        break
      case 'idle':
        yield heartbeat(request, reader, item)
    }
  }
  return undefined
}

function moveTo(reader: Reader, { seq, time }: { seq: number; time: string | undefined }) {
  const { created } = reader.position
  reader.position = {
    seq,
    ...(created === undefined ? {} : { created }),
    ...(time === undefined ? {} : { time }),
  }
}

/** A comment; with a fresh id where the stream went on without anything for this reader. */
function heartbeat(
  request: TailRequest,
  reader: Reader,
  { seq, time }: { seq: number; time: string | undefined },
): string {
  if (seq <= reader.position.seq) return ': \n\n'
  moveTo(reader, { seq, time })
  return `: \nid: ${request.scope.seal(reader.position)}\n\n`
}

function* gapEvents(request: TailRequest, reader: Reader, { fromSeq, toSeq }: Gap) {
  const gap = { fromSeq: Math.max(fromSeq, reader.position.seq + 1), toSeq }
  if (gap.fromSeq > gap.toSeq) return
  moveTo(reader, { seq: toSeq, time: undefined })
  if (request.onGap === 'error') throw cursorExpired(request, reader.position, gap.fromSeq)
  yield gapEvent(request, reader.position, gap)
}

function* pageEvents(request: TailRequest, page: Page) {
  const { created } = page.position
  const incarnation = created === undefined ? {} : { created }
  const snapshot = page.snapshotSeq === undefined ? {} : { snapshotSeq: page.snapshotSeq }
  if (page.gap) yield gapEvent(request, { seq: page.gap.toSeq, ...incarnation }, page.gap)
  for (const message of page.messages) {
    yield messageEvent(
      request,
      { seq: message.seq, time: message.time, ...incarnation, ...snapshot },
      message,
    )
  }
}

function messageEvent(
  { stream, scope, payload }: TailRequest,
  position: Position,
  message: StoredMessage,
): string {
  const cursor = scope.seal(position)
  return encodeEvent('message', cursor, encodeMessage(stream, message, payload, { cursor }))
}

function gapEvent({ scope }: TailRequest, position: Position, { fromSeq, toSeq }: Gap): string {
  const cursor = scope.seal(position)
  return encodeEvent(
    'gap',
    cursor,
    JSON.stringify({ from_seq: fromSeq, to_seq: toSeq, reason: 'removed', cursor }),
  )
}

function encodeEvent(event: string, id: string, data: string): string {
  return `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`
}

/** Waits, saying so as often as a heartbeat is due. */
async function* pause({ heartbeatMs, gone }: TailParts, ms: number) {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, Math.min(ms, heartbeatMs))
    gone.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
  yield ': \n\n'
}
