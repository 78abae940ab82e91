/** Owns reading the last message of each subject: by Direct Get, or by a consumer where that cannot. */
import type { Batch, LastPerSubjectRequest, StoredMessage } from '../../jetstream.ts'
import type { Connection } from './connection.ts'
import { needsConsumer, type ReadRun, withoutDelivery, withReader } from './consumer-reads.ts'
import { bounds, directGet, MAX_BATCH, MAX_BATCH_BYTES } from './direct-get.ts'
import { checkedSubject } from './names.ts'

const filtersOf = ({ filters }: LastPerSubjectRequest): readonly string[] =>
  filters.length === 0 ? ['>'] : filters.map((filter) => checkedSubject('filter', filter))

async function byDirectGet(
  connection: Connection,
  stream: string,
  request: LastPerSubjectRequest,
): Promise<Batch> {
  return await directGet(connection, stream, {
    multi_last: filtersOf(request),
    seq: Math.max(1, request.fromSeq),
    up_to_seq: request.upToSeq,
    ...bounds(request),
  })
}

/**
 * Skips what earlier pages had and ends behind `upToSeq`. A subject that got a newer message since then is left out:
 * its reader meets that message after the snapshot.
 */
async function collect(read: ReadRun, request: LastPerSubjectRequest): Promise<Batch> {
  const { batch, max_bytes: maxBytes } = bounds(request)
  const messages: StoredMessage[] = []
  let bytes = 0
  let numPending = 1
  while (numPending > 0) {
    const { deliveries } = await read({ batch: MAX_BATCH, maxBytes: MAX_BATCH_BYTES })
    if (deliveries.length === 0) break
    for (const delivery of deliveries) {
      numPending = delivery.numPending
      if (delivery.seq > request.upToSeq) return { messages, numPending: 0 }
      if (delivery.seq < request.fromSeq) continue
      messages.push(withoutDelivery(delivery))
      bytes += delivery.payload.byteLength
      if (messages.length === batch || bytes >= maxBytes) return { messages, numPending }
    }
  }
  return { messages, numPending: 0 }
}

async function byConsumer(
  connection: Connection,
  stream: string,
  request: LastPerSubjectRequest,
): Promise<Batch> {
  const config = { deliver_policy: 'last_per_subject', filter_subjects: filtersOf(request) }
  return await withReader(connection, { stream, config }, (read) => collect(read, request))
}

/** `JetStream.getLastPerSubject`. At most 1,000 messages and about 1 MiB, whatever was asked. */
export async function getLastPerSubject(
  connection: Connection,
  stream: string,
  request: LastPerSubjectRequest,
): Promise<Batch> {
  try {
    return await byDirectGet(connection, stream, request)
  } catch (err) {
    if (!needsConsumer(err)) throw err
    return await byConsumer(connection, stream, request)
  }
}
