/** Reading the last message of each subject, as the stream was at one sequence. */
import type { HistoryCalls, StoredMessage, StreamInfo } from '../jetstream.ts'
import type { Page, PageRequest, Position } from '../reading.ts'
import { MAX_BATCH, MAX_BATCH_BYTES } from './batches.ts'

interface SnapshotReading {
  readonly jetstream: HistoryCalls
  readonly request: PageRequest
  /** None that another covers. */
  readonly filters: readonly string[]
  /** The stream as the leader had it before. */
  readonly info: StreamInfo
}

/** The last message of each subject, as the stream was at `snapshotSeq`; what came later follows as usual. */
export async function readSnapshot(
  reading: SnapshotReading,
  start: Position,
  snapshotSeq: number,
): Promise<Page> {
  const { jetstream, request, filters, info } = reading
  const { messages, numPending } = await jetstream.getLastPerSubject(request.stream, {
    filters: filters.length > 0 ? filters : ['>'],
    fromSeq: start.seq + 1,
    upToSeq: snapshotSeq,
    batch: Math.min(request.limit, MAX_BATCH),
    maxBytes: Math.min(request.maxBytes, MAX_BATCH_BYTES),
  })
  const last = messages.at(-1)
  if (last && numPending > 0) {
    return { messages, position: { ...start, seq: last.seq, time: last.time }, upToDate: false, snapshotSeq }
  }
  const position = await endOfSnapshot(reading, last, snapshotSeq)
  return { messages, position, upToDate: snapshotSeq >= info.state.last_seq, snapshotSeq }
}

/** With the time of the message there, if there still is one: by that alone a reader learns of a tail lost since. */
async function endOfSnapshot(
  { jetstream, request, info }: SnapshotReading,
  last: StoredMessage | undefined,
  seq: number,
): Promise<Position> {
  const { created, state } = info
  if (seq === state.last_seq) return { created, seq, time: state.last_ts }
  const message = last?.seq === seq ? last : await jetstream.getMessage(request.stream, { seq })
  return { created, seq, ...(message ? { time: message.time } : {}) }
}
