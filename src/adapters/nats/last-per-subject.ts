/**
 * Owns reading the last message of each subject: by Direct Get, or by a consumer where that cannot. Either is served by a
 * replica, which may lag; that nothing is missing at the end is confirmed by the leader.
 */
import type { Batch, LastPerSubjectRequest, StoredMessage } from '../../jetstream.ts'
import type { Connection } from './connection.ts'
import { needsConsumer, type ReadRun, withoutDelivery, withReader } from './consumer-reads.ts'
import { bounds, directGet, MAX_BATCH, MAX_BATCH_BYTES } from './direct-get.ts'
import { getMessage } from './messages.ts'
import { checkedSubject } from './names.ts'

const filtersOf = ({ filters }: LastPerSubjectRequest): readonly string[] =>
  filters.length === 0 ? ['>'] : filters.map((filter) => checkedSubject('filter', filter))

/** `sawLater`: the replica gave a message from behind `upToSeq`, so it has all that is before it. */
interface ReplicaBatch extends Batch {
  readonly sawLater: boolean
}

async function byDirectGet(
  connection: Connection,
  stream: string,
  request: LastPerSubjectRequest,
): Promise<ReplicaBatch> {
  const batch = await directGet(connection, stream, {
    multi_last: filtersOf(request),
    seq: Math.max(1, request.fromSeq),
    up_to_seq: request.upToSeq,
    ...bounds(request),
  })
  return { ...batch, sawLater: false }
}

/**
 * Skips what earlier pages had and ends behind `upToSeq`. A subject that got a newer message since then is left out:
 * its reader meets that message after the snapshot.
 */
async function collect(read: ReadRun, request: LastPerSubjectRequest): Promise<ReplicaBatch> {
  const { batch, max_bytes: maxBytes } = bounds(request)
  const messages: StoredMessage[] = []
  let bytes = 0
  let numPending = 1
  while (numPending > 0) {
    const { deliveries } = await read({ batch: MAX_BATCH, maxBytes: MAX_BATCH_BYTES })
    if (deliveries.length === 0) break
    for (const delivery of deliveries) {
      numPending = delivery.numPending
      if (delivery.seq > request.upToSeq) return { messages, numPending: 0, sawLater: true }
      if (delivery.seq < request.fromSeq) continue
      messages.push(withoutDelivery(delivery))
      bytes += delivery.payload.byteLength
      if (messages.length === batch || bytes >= maxBytes) return { messages, numPending, sawLater: false }
    }
  }
  return { messages, numPending: 0, sawLater: false }
}

async function byConsumer(
  connection: Connection,
  stream: string,
  request: LastPerSubjectRequest,
): Promise<ReplicaBatch> {
  const config = { deliver_policy: 'last_per_subject', filter_subjects: filtersOf(request) }
  return await withReader(connection, { stream, config }, (read) => collect(read, request))
}

async function byReplica(
  connection: Connection,
  stream: string,
  request: LastPerSubjectRequest,
): Promise<ReplicaBatch> {
  try {
    return await byDirectGet(connection, stream, request)
  } catch (err) {
    if (!needsConsumer(err)) throw err
    return await byConsumer(connection, stream, request)
  }
}

/** The first message from `fromSeq` on and up to `upToSeq` that matches, as the leader has it. */
async function askLeader(
  connection: Connection,
  stream: string,
  request: LastPerSubjectRequest,
): Promise<StoredMessage | undefined> {
  const seq = Math.max(1, request.fromSeq)
  if (seq > request.upToSeq) return undefined
  const found = await Promise.all(
    filtersOf(request).map((filter) => getMessage(connection, stream, { seq, nextBySubject: filter })),
  )
  return found
    .filter((message) => message !== undefined && message.seq <= request.upToSeq)
    .sort((one, other) => (one?.seq ?? 0) - (other?.seq ?? 0))[0]
}

/**
 * `JetStream.getLastPerSubject`. At most 1,000 messages and about 1 MiB, whatever was asked. Where the replica lacks the
 * end, the leader's next message is added, and more is said to come: a message may then be followed by a newer one of its
 * subject.
 */
export async function getLastPerSubject(
  connection: Connection,
  stream: string,
  request: LastPerSubjectRequest,
): Promise<Batch> {
  const { messages, numPending, sawLater } = await byReplica(connection, stream, request)
  if (numPending > 0 || sawLater) return { messages, numPending }
  const fromSeq = (messages.at(-1)?.seq ?? request.fromSeq - 1) + 1
  const next = await askLeader(connection, stream, { ...request, fromSeq })
  if (!next) return { messages, numPending: 0 }
  const isFull = messages.length >= bounds(request).batch
  return { messages: isFull ? messages : [...messages, next], numPending: 1 }
}
