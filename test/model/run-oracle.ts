/** What a reader may and must have been told of a stream, given the record of all that the stream ever had. */
import type { Gap } from '../../src/reading.ts'
import { payloadOf } from '../contract/expectations.ts'
import { covers } from '../live/filters.ts'
import type { SimulatedStream, Stored } from './simulated-stream.ts'

/** A message as a client has it. */
export interface Told {
  readonly seq: number
  readonly subject: string
  readonly time: string
  readonly data?: string
  readonly data_base64?: string
  readonly cursor?: string
}

/** Everything a reader was told between two sequences of one stream. */
export interface Run {
  readonly stream: SimulatedStream
  /** Streams that were made in its place, where the reader has been told that it is not the same: what came before that may be theirs. */
  readonly next: readonly SimulatedStream[]
  readonly filters: readonly string[]
  /** It began right after this sequence. */
  readonly after: number
  /** It is right after this one. */
  readonly upTo: number
  readonly messages: readonly Told[]
  readonly gaps: readonly Gap[]
  /** A head that was gone by this operation needs no gap: the reader began behind it. */
  readonly begunOp: number
  /** Sequences that were lost since then and used again are told of by the next answer. */
  readonly askedOp: number
  /** What came later is none of it. */
  readonly endedOp: number
}

/** What is wrong with a run; empty: nothing. */
export function complaintsAbout(run: Run): string[] {
  return [...outOfOrder(run), ...falseMessages(run), ...falseGaps(run), ...missing(run)]
}

export const matches = (filters: readonly string[], subject: string): boolean =>
  filters.length === 0 || filters.some((filter) => covers(filter, subject))

const outOfOrder = ({ messages, after, upTo }: Run) =>
  messages.flatMap(({ seq }, index) => {
    const before = messages[index - 1]?.seq ?? after
    return seq > before && seq <= upTo ? [] : [`was told ${seq} after ${before}, and to be at ${upTo}`]
  })

const falseMessages = ({ messages, stream, filters, next }: Run) =>
  messages.flatMap((told) => {
    const isOne = [stream, ...next].some(({ log }) => log.some((stored) => isSame(stored, told)))
    if (!isOne) return [`was told of ${told.seq} what nobody published: ${JSON.stringify(told)}`]
    return matches(filters, told.subject)
      ? []
      : [`was told of ${told.seq} on ${told.subject}, outside of its filters`]
  })

export const isSame = (stored: Stored, told: Told): boolean =>
  stored.seq === told.seq &&
  stored.subject === told.subject &&
  stored.time === told.time &&
  payloadOf(told).equals(stored.payload)

/** Only what was removed from the stream's beginning may be a gap. */
const falseGaps = ({ gaps, stream }: Run) =>
  gaps
    .filter(({ fromSeq, toSeq }) => fromSeq > toSeq || toSeq >= stream.highestFirstSeq)
    .map(
      ({ fromSeq, toSeq }) =>
        `was told a gap ${fromSeq}–${toSeq}, but the stream began at ${stream.highestFirstSeq} at most`,
    )

/** Everything that matches has come, or is in a gap, or was removed by itself. */
const missing = (run: Run) => {
  const told = new Set(run.messages.map(({ time }) => time))
  const missed = run.stream.log.filter(
    (stored) =>
      stored.seq > run.after &&
      stored.seq <= run.upTo &&
      stored.storedOp <= run.endedOp &&
      !told.has(stored.time) &&
      !isUsedAgain(run, stored) &&
      !isReplaced(run, stored) &&
      !isExcused(run, stored),
  )
  if (missed.length === 0) return []
  const seqs = missed.map(({ seq, removedAs }) => (removedAs ? `${seq} (${removedAs})` : seq))
  return [`never heard of ${seqs.join(', ')} between ${run.after} and ${run.upTo}`]
}

const isUsedAgain = ({ stream, askedOp }: Run, { storedOp }: Stored) =>
  stream.losses.some((op) => op > askedOp && op < storedOp)

/** In the moment in which its stream was made again, the reader had the new one's message in its place. */
const isReplaced = ({ next, stream, messages }: Run, { seq }: Stored) =>
  next.length > 0 && Number.isFinite(stream.deletedOp) && messages.some((told) => told.seq === seq)

const isExcused = (
  { filters, gaps, begunOp, endedOp }: Run,
  { seq, subject, removedAs, removedOp }: Stored,
) => {
  if (!matches(filters, subject)) return true
  if (gaps.some(({ fromSeq, toSeq }) => seq >= fromSeq && seq <= toSeq)) return true
  if (removedAs === 'head') return removedOp <= begunOp
  return removedAs !== undefined && removedOp <= endedOp
}
