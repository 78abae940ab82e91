/** Batches of stored messages: how they are asked for, and those of several filters made one. */
import type { Batch, BatchRequest, HistoryCalls, StoredMessage, StreamInfo } from '../jetstream.ts'
import { someAtOnce } from '../turns.ts'

/** API level of batched Direct Get. */
const BATCHED_DIRECT_GET = 1
/** What JetStream gives in one batch. */
export const MAX_BATCH = 1_000
export const MAX_BATCH_BYTES = 1_048_576

/** Filters that are asked about at once: each costs the server a search of its own. */
export const FILTERS_AT_ONCE = 8

/** Reads a batch the way that the stream and its server allow. */
export type ReadBatch = (request: BatchRequest) => Promise<Batch>

const knowsDirectGet = async (jetstream: HistoryCalls): Promise<boolean> =>
  (await jetstream.server()).apiLevel >= BATCHED_DIRECT_GET

export async function chooseReadBatch(jetstream: HistoryCalls, { config }: StreamInfo): Promise<ReadBatch> {
  const direct = config.allow_direct === true && (await knowsDirectGet(jetstream))
  return (request) =>
    direct ? jetstream.getBatch(config.name, request) : jetstream.getBatchByConsumer(config.name, request)
}

/** What to read: the first messages from `fromSeq` on that match one of the filters; none: any message. */
export interface BatchesRequest {
  readonly filters: readonly string[]
  readonly fromSeq: number
  readonly limit: number
  readonly maxBytes: number
}

/** A batch for each filter. */
export function readBatches(
  readBatch: ReadBatch,
  { filters, fromSeq, limit, maxBytes }: BatchesRequest,
): Promise<readonly Batch[]> {
  const request = {
    from: { seq: fromSeq },
    batch: Math.min(limit, MAX_BATCH),
    maxBytes: Math.min(maxBytes, MAX_BATCH_BYTES),
  }
  if (filters.length === 0) return Promise.all([readBatch(request)])
  return someAtOnce(filters, FILTERS_AT_ONCE, (filter) => readBatch({ ...request, filter }))
}

/**
 * As `readBatches`, by Direct Get, before anything is known of the stream. Never throws; undefined: it has to be done
 * in another way, which tells what stands against it.
 */
export async function tryBatches(
  jetstream: HistoryCalls,
  stream: string,
  request: BatchesRequest,
): Promise<readonly Batch[] | undefined> {
  try {
    if (!(await knowsDirectGet(jetstream))) return undefined
    return await readBatches((one) => jetstream.getBatch(stream, one), request)
  } catch {
    return undefined
  }
}

/** Messages that match, in order; `seenSeq`: up to where all of them are there, undefined: to the end. */
interface Merged {
  readonly messages: readonly StoredMessage[]
  readonly seenSeq?: number
}

/**
 * Batches of several filters as one, up to where all of them are complete. Each was read at a moment of its own: of what
 * was stored after `knownSeq`, the stream's end before that, one may have seen more than another.
 */
export function mergeBatches(batches: readonly Batch[], limit: number, knownSeq: number): Merged {
  const isSurelyWhole = batches.length < 2 || batches.every(({ messages }) => lastSeqOf(messages) <= knownSeq)
  const complete = Math.min(
    isSurelyWhole ? Number.POSITIVE_INFINITY : knownSeq,
    ...batches.map(({ messages, numPending }) =>
      numPending > 0 ? lastSeqOf(messages) : Number.POSITIVE_INFINITY,
    ),
  )
  const ordered = inOrder(batches)
  const messages =
    batches.length === 1
      ? ordered.slice(0, limit)
      : ordered.filter(({ seq }) => seq <= complete).slice(0, limit)
  if (messages.length === limit) return { messages, seenSeq: lastSeqOf(messages) }
  return Number.isFinite(complete) ? { messages, seenSeq: complete } : { messages }
}

const lastSeqOf = (messages: readonly StoredMessage[]): number => messages.at(-1)?.seq ?? 0

function inOrder(batches: readonly Batch[]): readonly StoredMessage[] {
  const [only, ...others] = batches
  if (only && others.length === 0) return only.messages
  const bySeq = new Map(batches.flatMap(({ messages }) => messages).map((message) => [message.seq, message]))
  return [...bySeq.values()].sort((one, other) => one.seq - other.seq)
}
