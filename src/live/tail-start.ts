/** Where the last messages of a stream begin: JetStream counts forward alone, so it is searched for. */
import type { Count, HistoryCalls, StreamInfo } from '../jetstream.ts'
import type { ReadBatch } from './batches.ts'

interface TailSearch {
  readonly jetstream: HistoryCalls
  readonly readBatch: ReadBatch
  readonly info: StreamInfo
  /** None that another covers; empty: every message. */
  readonly filters: readonly string[]
}

/** A sequence, and how many messages match from there on. */
interface Counted {
  readonly seq: number
  readonly count: number
}

/** A guess aims this far behind what is wanted, where the rest can be counted off. */
const SLACK = 500
/** Every so many guesses the interval is halved: messages of a filter may lie together. */
const HALVE_EACH = 3

/** The sequence from which on `wanted` messages match, or all that there are. */
export async function tailSeq(search: TailSearch, wanted: number): Promise<number> {
  const { filters, info } = search
  const { messages, first_seq, last_seq } = info.state
  const firstSeq = Math.max(1, first_seq)
  const isUnbroken = messages === last_seq - first_seq + 1
  if (filters.length === 0 && isUnbroken) return Math.max(firstSeq, last_seq + 1 - wanted)
  const all = filters.length === 0 ? { count: messages } : await countFrom(search, firstSeq, wanted)
  if (all.count <= wanted) return firstSeq
  if (all.wantedFrom !== undefined) return all.wantedFrom

  let enough: Counted = { seq: firstSeq, count: all.count }
  let tooFew: Counted = { seq: last_seq + 1, count: 0 }
  const aim = filters.length > 1 ? wanted + SLACK : wanted
  for (let step = 1; tooFew.seq - enough.seq > 1; step += 1) {
    const seq = step % HALVE_EACH === 0 ? between(enough, tooFew, 0.5) : guess(enough, tooFew, aim)
    const { count, wantedFrom } = await countFrom(search, seq, wanted)
    if (wantedFrom !== undefined) return wantedFrom
    if (count === wanted) return seq
    if (count > wanted) enough = { seq, count }
    else tooFew = { seq, count }
  }
  return enough.seq
}

/** As if the messages lay evenly. */
function guess(enough: Counted, tooFew: Counted, aim: number): number {
  return between(enough, tooFew, (enough.count - aim) / Math.max(1, enough.count - tooFew.count))
}

function between(enough: Counted, tooFew: Counted, share: number): number {
  const seq = enough.seq + Math.floor((tooFew.seq - enough.seq) * share)
  return Math.min(Math.max(seq, enough.seq + 1), tooFew.seq - 1)
}

async function countFrom(
  { jetstream, readBatch, info, filters }: TailSearch,
  fromSeq: number,
  wanted: number,
): Promise<Count> {
  if (filters.length > 1) return await jetstream.countMatching(info.config.name, { filters, fromSeq, wanted })
  const [filter] = filters
  const { messages, numPending } = await readBatch({
    from: { seq: fromSeq },
    batch: 1,
    maxBytes: 1,
    ...(filter === undefined ? {} : { filter }),
  })
  return { count: messages.length + numPending }
}
