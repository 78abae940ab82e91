/** Counting the messages that match several filters. */
import type { Batch, BatchRequest, Count, CountRequest } from '../../jetstream.ts'
import type { Connection } from './connection.ts'
import { getBatchByConsumer, needsConsumer, withReader } from './consumer-reads.ts'
import { getBatch, MAX_BATCH, MAX_BATCH_BYTES } from './direct-get.ts'
import { hasCode } from './errors.ts'
import { checkedSubject } from './names.ts'

/**
 * `JetStream.countMatching`, by a consumer that lives for the call: it counts for all filters in one pass, where a count
 * for each costs the server as much for every one of them.
 */
export async function countMatching(
  connection: Connection,
  stream: string,
  request: CountRequest,
): Promise<Count> {
  try {
    return await byConsumer(connection, stream, request)
  } catch (err) {
    // The credential may make no consumer, the stream takes none like it, or the filters overlap.
    if (!hasCode(err, 'forbidden', 'refused_by_jetstream')) throw err
    return { count: await oneByOne(connection, stream, request) }
  }
}

async function byConsumer(connection: Connection, stream: string, request: CountRequest): Promise<Count> {
  const { filters, fromSeq, wanted, signal } = request
  const config = {
    deliver_policy: 'by_start_sequence',
    opt_start_seq: Math.max(1, fromSeq),
    filter_subjects: filters.map((filter) => checkedSubject('filter', filter)),
    headers_only: true,
  }
  return await withReader(connection, { stream, config }, async ({ info, read }) => {
    const { num_pending: count } = info
    if (count === wanted) return { count, wantedFrom: fromSeq }
    if (count < wanted || count > wanted + MAX_BATCH) return { count }
    const batch = count - wanted
    const { deliveries } = await read({ batch, maxBytes: MAX_BATCH_BYTES, ...(signal ? { signal } : {}) })
    const last = deliveries.at(-1)
    return last && deliveries.length === batch ? { count, wantedFrom: last.seq + 1 } : { count }
  })
}

async function oneByOne(connection: Connection, stream: string, request: CountRequest): Promise<number> {
  const { filters, fromSeq, signal } = request
  let count = 0
  for (const filter of filters) {
    signal?.throwIfAborted()
    const one = { from: { seq: fromSeq }, filter, batch: 1, maxBytes: 1, ...(signal ? { signal } : {}) }
    const { messages, numPending } = await firstBatch(connection, stream, one)
    count += messages.length + numPending
  }
  return count
}

async function firstBatch(connection: Connection, stream: string, request: BatchRequest): Promise<Batch> {
  try {
    return await getBatch(connection, stream, request)
  } catch (err) {
    if (!needsConsumer(err)) throw err
    return await getBatchByConsumer(connection, stream, request)
  }
}
