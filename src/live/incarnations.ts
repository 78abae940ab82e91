/** Owns what is known of streams' creation times without asking each time. */
import type { JetStream } from '../jetstream.ts'

/** How long what was asked is taken to hold. */
const FRESH_MS = 5_000

interface Incarnation {
  readonly created: string | undefined
  readonly askedAt: number
  /** The highest sequence seen: a stream made again begins below it. */
  highestSeq: number
}

export interface Incarnations {
  /** The creation time of the stream that just stored a message at `seq`; undefined where the credential may not ask. */
  createdOf(stream: string, seq: number): Promise<string | undefined>
}

export function createIncarnations(jetstream: JetStream, now: () => number): Incarnations {
  const known = new Map<string, Promise<Incarnation>>()

  const ask = async (stream: string): Promise<Incarnation> => {
    const askedAt = now()
    try {
      const { created, state } = await jetstream.streamInfo(stream)
      return { created, askedAt, highestSeq: state.last_seq }
    } catch {
      return { created: undefined, askedAt, highestSeq: 0 }
    }
  }

  return {
    async createdOf(stream, seq) {
      const first = known.get(stream)
      const incarnation = await first
      if (incarnation && now() - incarnation.askedAt < FRESH_MS && seq > incarnation.highestSeq) {
        incarnation.highestSeq = seq
        return incarnation.created
      }
      // Of all who find it stale one asks; that began after their messages were stored, so it tells for them too.
      const begun = known.get(stream)
      if (begun && begun !== first) return (await begun).created
      const asking = ask(stream)
      known.set(stream, asking)
      return (await asking).created
    },
  }
}
