/** Owns the live end of a stream: one subscription for all its readers in this host, and a bounded buffer for each. */
import { BridgeError } from '../errors.ts'
import type { JetStream, LiveSubscription, StoredMessage } from '../jetstream.ts'
import type { Gap } from '../reading.ts'
import { matches } from './filters.ts'

/** What a reader may leave unread before it has to go back to history. */
const MAX_BUFFER_BYTES = 2_097_152
/** What may wait here while the stream is asked about a hole. */
const MAX_QUEUE_BYTES = 8_388_608
/** A feed nobody reads is kept this long, for readers that come back. */
const LINGER_MS = 5_000

/** What a reader finds at the live end. */
export type LiveItem =
  | { readonly kind: 'message'; readonly message: StoredMessage }
  | { readonly kind: 'gap'; readonly gap: Gap }
  /** Nothing for this reader, up to `seq`, whose message was stored at `time`. */
  | { readonly kind: 'idle'; readonly seq: number; readonly time: string | undefined }
  /** The reader was too slow, or the feed ended: go on from history. `failure`: why it ended. */
  | { readonly kind: 'left'; readonly failure?: unknown }

/** One reader's place at a feed. Whoever joins leaves. */
export interface Seat {
  /** Everything after this sequence comes here; what was before is history's. */
  readonly afterSeq: number
  /** The next item; `idle` after `patienceMs`, or as soon as `signal` is aborted. */
  next(patienceMs: number, signal?: AbortSignal): Promise<LiveItem>
  leave(): void
}

export interface Feeds {
  /** Throws `stream_not_found` and what else stops a subscription. */
  join(stream: string, filters: readonly string[]): Promise<Seat>
  close(): Promise<void>
}

/** The feeds of one connection, one for each stream that is read live. */
export function createFeeds(jetstream: JetStream): Feeds {
  const feeds = new Map<string, Promise<Feed>>()

  const open = (stream: string): Promise<Feed> => {
    const opening = openFeed(jetstream, stream, () => {
      if (feeds.get(stream) === opening) feeds.delete(stream)
    })
    feeds.set(stream, opening)
    opening.catch(() => feeds.delete(stream))
    return opening
  }

  return {
    async join(stream, filters) {
      const feed = await (feeds.get(stream) ?? open(stream))
      return feed.join(filters) ?? (await open(stream)).join(filters) ?? failToJoin(stream)
    },
    async close() {
      const all = await Promise.allSettled(feeds.values())
      await Promise.allSettled(
        all.map((feed) => (feed.status === 'fulfilled' ? feed.value.end(undefined) : undefined)),
      )
    },
  }
}

function failToJoin(stream: string): never {
  throw new BridgeError('jetstream_unavailable', `Stream "${stream}" cannot be followed right now.`)
}

interface Feed {
  /** Undefined: the feed has ended. */
  join(filters: readonly string[]): Seat | undefined
  end(failure: unknown): Promise<void>
}

async function openFeed(jetstream: JetStream, stream: string, closed: () => void): Promise<Feed> {
  const seats = new Set<SeatBuffer>()
  const info = await jetstream.streamInfo(stream)
  const at = { seq: info.state.last_seq, time: info.state.last_seq > 0 ? info.state.last_ts : undefined }
  let subscription: LiveSubscription | undefined
  let ended = false
  let lingering: ReturnType<typeof setTimeout> | undefined

  const end = async (failure: unknown) => {
    if (ended) return
    ended = true
    clearTimeout(lingering)
    closed()
    for (const seat of seats) seat.push({ kind: 'left', failure })
    await subscription?.stop()
  }
  const spread = (item: LiveItem & { kind: 'message' | 'gap' }) => {
    for (const seat of seats) seat.push(item)
  }
  const advance = inOrder(end, async (message) => {
    if (message.seq > at.seq + 1) {
      const gap = await findGap(jetstream, stream, info.created, at.seq + 1, message.seq)
      if (gap) spread({ kind: 'gap', gap })
    }
    Object.assign(at, { seq: message.seq, time: message.time })
    spread({ kind: 'message', message })
  })
  const leave = (seat: SeatBuffer) => {
    seats.delete(seat)
    if (seats.size === 0 && !ended) lingering = setTimeout(() => void end(undefined), LINGER_MS)
  }

  subscription = await jetstream.follow(stream, at.seq + 1, {
    message: advance,
    ended: (failure) => void end(failure),
  })
  return {
    end,
    join(filters) {
      if (ended) return undefined
      clearTimeout(lingering)
      const seat = createSeat(filters, at, () => leave(seat))
      seats.add(seat)
      return seat
    },
  }
}

/**
 * Handles messages one after another, although handling one may take asking the stream.
 * What comes in faster than that for long ends the feed: its readers go on from history.
 */
function inOrder(
  end: (failure: unknown) => Promise<void>,
  handle: (message: StoredMessage) => Promise<void>,
) {
  const queue: StoredMessage[] = []
  let bytes = 0
  let busy = false
  const drain = async () => {
    busy = true
    try {
      for (let message = queue.shift(); message; message = queue.shift()) {
        bytes -= message.payload.length
        await handle(message)
      }
    } catch (failure) {
      await end(failure)
    }
    busy = false
  }
  return (message: StoredMessage) => {
    queue.push(message)
    bytes += message.payload.length
    if (bytes > MAX_QUEUE_BYTES) void end(undefined)
    else if (!busy) void drain()
  }
}

/** Sequences are passed over where single messages were deleted; it is a gap where the stream's head was removed. */
async function findGap(
  jetstream: JetStream,
  stream: string,
  created: string,
  fromSeq: number,
  seenSeq: number,
) {
  const info = await jetstream.streamInfo(stream)
  if (info.created !== created) throw new BridgeError('stream_not_found', 'The stream was made again.')
  const toSeq = Math.min(info.state.first_seq, seenSeq) - 1
  return toSeq >= fromSeq ? { fromSeq, toSeq } : undefined
}

interface SeatBuffer extends Seat {
  push(item: LiveItem): void
}

/** `at`: how far the feed is, kept by the feed. */
function createSeat(
  filters: readonly string[],
  at: { readonly seq: number; readonly time: string | undefined },
  leave: () => void,
): SeatBuffer {
  let items: LiveItem[] = []
  let bytes = 0
  let left = false
  let wake: (() => void) | undefined

  return {
    afterSeq: at.seq,
    push(item) {
      if (left || (item.kind === 'message' && !matches(filters, item.message.subject))) return
      items.push(item)
      bytes += item.kind === 'message' ? item.message.payload.length + item.message.subject.length : 0
      if (bytes > MAX_BUFFER_BYTES || item.kind === 'left') left = true
      if (bytes > MAX_BUFFER_BYTES) items = [{ kind: 'left' }]
      wake?.()
    },
    async next(patienceMs, signal) {
      if (items.length === 0) await waitFor((woken) => (wake = woken), patienceMs, signal)
      wake = undefined
      const item = items.shift()
      if (item?.kind === 'message') bytes -= item.message.payload.length + item.message.subject.length
      return item ?? { kind: 'idle', seq: at.seq, time: at.time }
    },
    leave,
  }
}

/** Resolves when woken, when the time is up, or when aborted. */
function waitFor(onWake: (woken: () => void) => void, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done)
    if (signal?.aborted) done()
    onWake(done)
  })
}
