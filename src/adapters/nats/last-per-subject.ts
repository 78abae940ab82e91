/**
 * Reading the last message of each subject: by Direct Get, or by a consumer where that cannot. Either is served by a
 * replica, which may lag; that nothing is missing at the end is confirmed by the leader.
 */
import type { Batch, LastPerSubjectRequest, StoredMessage } from '../../jetstream.ts'
import { someAtOnce } from '../../turns.ts'
import type { Connection } from './connection.ts'
import { needsConsumer, openReader, withoutDelivery } from './consumer-reads.ts'
import { bounds, directGet } from './direct-get.ts'
import { getMessage } from './messages.ts'
import { checkedSubject } from './names.ts'
import { SnapshotReader, type SnapshotReaders } from './snapshot-readers.ts'

/** Filters that the leader is asked about at once. */
const FILTERS_AT_ONCE = 8

/** Over which connection, and what is kept of it between two pages. */
interface Place {
  readonly connection: Connection
  readonly readers: SnapshotReaders
}

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
  const asked = {
    multi_last: filtersOf(request),
    seq: Math.max(1, request.fromSeq),
    up_to_seq: request.upToSeq,
    ...bounds(request),
  }
  const batch = await directGet(connection, stream, asked, request.signal)
  return { ...batch, sawLater: false }
}

/**
 * Goes on where an earlier page ended, or skips what such pages had, and ends behind `upToSeq`. Where a new consumer skips,
 * a subject that got a newer message since then is left out: its reader meets that message after the snapshot.
 */
async function collect(reader: SnapshotReader, request: LastPerSubjectRequest): Promise<ReplicaBatch> {
  const { batch, max_bytes: maxBytes } = bounds(request)
  const { signal } = request
  const messages: StoredMessage[] = []
  let bytes = 0
  let numPending = 0
  let delivery = await reader.skipTo(request.fromSeq, signal)
  while (delivery) {
    if (delivery.seq > request.upToSeq) return { messages, numPending: 0, sawLater: true }
    messages.push(withoutDelivery(delivery))
    bytes += delivery.payload.byteLength
    numPending = delivery.numPending
    if (numPending === 0 || messages.length === batch || bytes >= maxBytes)
      return { messages, numPending, sawLater: false }
    const wanted = {
      batch: batch - messages.length,
      maxBytes: maxBytes - bytes,
      ...(signal ? { signal } : {}),
    }
    delivery = await reader.next(wanted)
  }
  return { messages, numPending: 0, sawLater: false }
}

/** Reads the page, and keeps the reader for the next one. */
async function readOn(
  readers: SnapshotReaders,
  reader: SnapshotReader,
  { stream, request }: { readonly stream: string; readonly request: LastPerSubjectRequest },
): Promise<ReplicaBatch> {
  try {
    const batch = await collect(reader, request)
    const last = batch.messages.at(-1)
    if (last && batch.numPending > 0) readers.keep(keyOf(stream, request, last.seq + 1), reader)
    else reader.close()
    return batch
  } catch (err) {
    reader.close()
    throw err
  }
}

const keyOf = (stream: string, { filters, upToSeq }: LastPerSubjectRequest, fromSeq: number): string =>
  JSON.stringify([stream, filters, upToSeq, fromSeq])

async function byReplica(
  place: Place,
  stream: string,
  request: LastPerSubjectRequest,
): Promise<ReplicaBatch> {
  const { connection, readers } = place
  const kept = readers.take(keyOf(stream, request, request.fromSeq))
  try {
    if (kept) return await readOn(readers, kept, { stream, request })
  } catch {
    // Its consumer is gone: with the stream, or with a server that was restarted.
    request.signal?.throwIfAborted()
  }
  try {
    return await byDirectGet(connection, stream, request)
  } catch (err) {
    if (!needsConsumer(err)) throw err
    const config = { deliver_policy: 'last_per_subject', filter_subjects: filtersOf(request) }
    const reader = new SnapshotReader(await openReader(connection, stream, config))
    return await readOn(readers, reader, { stream, request })
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
  const found = await someAtOnce(filtersOf(request), FILTERS_AT_ONCE, async (filter) => {
    request.signal?.throwIfAborted()
    return await getMessage(connection, stream, { seq, nextBySubject: filter })
  })
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
  place: Place,
  stream: string,
  request: LastPerSubjectRequest,
): Promise<Batch> {
  const { messages, numPending, sawLater } = await byReplica(place, stream, request)
  if (numPending > 0 || sawLater) return { messages, numPending }
  const fromSeq = (messages.at(-1)?.seq ?? request.fromSeq - 1) + 1
  const next = await askLeader(place.connection, stream, { ...request, fromSeq })
  if (!next) return { messages, numPending: 0 }
  const isFull = messages.length >= bounds(request).batch
  return { messages: isFull ? messages : [...messages, next], numPending: 1 }
}
