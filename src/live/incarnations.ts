/** What is known of streams without asking each time: when they were made, and how long they remember keys. */
import { BridgeError } from '../errors.ts'
import type { JetStream } from '../jetstream.ts'
import type { Position } from '../reading.ts'

/** How long what was asked is taken to hold, ms. */
const FRESH_MS = 1_000

type Incarnation = Pick<Position, 'created' | 'createdAsOf' | 'laterMs'>

interface Known {
  readonly incarnation: Incarnation
  readonly duplicateWindowMs: number | undefined
  readonly askedAt: number
  /** The highest sequence seen: a stream made again begins below it. */
  highestSeq: number
}

export interface Incarnations {
  /**
   * Which stream just stored a message at `seq`; nothing is known of it where the credential may not ask. `createdAsOf` plus
   * `laterMs` is never later than the server's time now.
   */
  of(stream: string, seq: number): Promise<Incarnation>
  /** How long the stream remembers a key, ms, as it was within the last second; undefined where it may not be asked. */
  duplicateWindowOf(stream: string): Promise<number | undefined>
  /** The stream was changed through this host: what is known of it no longer holds. */
  forget(stream: string): void
}

const NANOS_PER_MS = 1e6
const UNKNOWN: Incarnation = {}
/** Streams that are known of, at most: names come from PubAcks, of which there may be any number over time. */
const MAX_KNOWN = 10_000

/** `now`: a clock that is never set, ms. */
export function createIncarnations(jetstream: JetStream, now: () => number): Incarnations {
  const known = new Map<string, Promise<Known>>()

  const ask = async (stream: string): Promise<Known> => {
    const askedAt = now()
    try {
      const { created, config, state, asOf } = await jetstream.streamInfo(stream)
      const duplicateWindowMs = Number(config.duplicate_window ?? 0) / NANOS_PER_MS
      const incarnation = asOf === undefined ? { created } : { created, createdAsOf: asOf }
      return { incarnation, duplicateWindowMs, askedAt, highestSeq: state.last_seq }
    } catch (failure) {
      // What may not be asked is not asked each time; what failed is.
      const isForbidden = failure instanceof BridgeError && failure.code === 'forbidden'
      const from = isForbidden ? askedAt : Number.NEGATIVE_INFINITY
      return { incarnation: UNKNOWN, duplicateWindowMs: undefined, askedAt: from, highestSeq: 0 }
    }
  }
  const askAnew = (stream: string) => {
    const asking = ask(stream)
    if (known.size >= MAX_KNOWN) known.clear()
    known.set(stream, asking)
    return asking
  }
  const isFresh = ({ askedAt }: Known) => now() - askedAt < FRESH_MS
  // Of all who find it stale one asks; that began after their messages were stored, so it tells for them too.
  const askTogether = (stream: string, stale: Promise<Known> | undefined) => {
    const begun = known.get(stream)
    return begun && begun !== stale ? begun : askAnew(stream)
  }

  return {
    async of(stream, seq) {
      const first = known.get(stream)
      const before = await first
      if (before && isFresh(before) && seq > before.highestSeq && first === known.get(stream)) {
        before.highestSeq = seq
        return { ...before.incarnation, laterMs: now() - before.askedAt }
      }
      return (await askTogether(stream, first)).incarnation
    },
    async duplicateWindowOf(stream) {
      const first = known.get(stream)
      const before = await first
      if (before && isFresh(before) && first === known.get(stream)) return before.duplicateWindowMs
      return (await askTogether(stream, first)).duplicateWindowMs
    },
    forget: (stream) => known.delete(stream),
  }
}
