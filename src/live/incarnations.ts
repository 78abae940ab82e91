/** Owns what is known of streams' creation times without asking each time. */
import { BridgeError } from '../errors.ts'
import type { JetStream } from '../jetstream.ts'

/** How long what was asked is taken to hold. */
const FRESH_MS = 5_000

interface Incarnation {
  readonly created: string | undefined
  readonly duplicateWindowMs: number | undefined
  readonly askedAt: number
  /** The highest sequence seen: a stream made again begins below it. */
  highestSeq: number
}

export interface Incarnations {
  /** The creation time of the stream that just stored a message at `seq`; undefined where the credential may not ask. */
  createdOf(stream: string, seq: number): Promise<string | undefined>
  /** How long the stream remembers a key, ms, as it was within the last seconds; undefined where it may not be asked. */
  duplicateWindowOf(stream: string): Promise<number | undefined>
}

const NANOS_PER_MS = 1e6

export function createIncarnations(jetstream: JetStream, now: () => number): Incarnations {
  const known = new Map<string, Promise<Incarnation>>()

  const ask = async (stream: string): Promise<Incarnation> => {
    const askedAt = now()
    try {
      const { created, config, state } = await jetstream.streamInfo(stream)
      const duplicateWindowMs = Number(config.duplicate_window ?? 0) / NANOS_PER_MS
      return { created, duplicateWindowMs, askedAt, highestSeq: state.last_seq }
    } catch (failure) {
      // What may not be asked is not asked each time; what failed is.
      const isForbidden = failure instanceof BridgeError && failure.code === 'forbidden'
      const known = isForbidden ? askedAt : Number.NEGATIVE_INFINITY
      return { created: undefined, duplicateWindowMs: undefined, askedAt: known, highestSeq: 0 }
    }
  }
  const askAnew = (stream: string) => {
    const asking = ask(stream)
    known.set(stream, asking)
    return asking
  }
  const isFresh = ({ askedAt }: Incarnation) => now() - askedAt < FRESH_MS

  return {
    async createdOf(stream, seq) {
      const first = known.get(stream)
      const incarnation = await first
      if (incarnation && isFresh(incarnation) && seq > incarnation.highestSeq) {
        incarnation.highestSeq = seq
        return incarnation.created
      }
      // Of all who find it stale one asks; that began after their messages were stored, so it tells for them too.
      const begun = known.get(stream)
      if (begun && begun !== first) return (await begun).created
      return (await askAnew(stream)).created
    },
    async duplicateWindowOf(stream) {
      const first = known.get(stream)
      const incarnation = await first
      if (incarnation && isFresh(incarnation)) return incarnation.duplicateWindowMs
      const begun = known.get(stream)
      return (await (begun && begun !== first ? begun : askAnew(stream))).duplicateWindowMs
    },
  }
}
