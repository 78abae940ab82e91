/** Batched reads by Direct Get, which any replica may answer. Source: NATS ADR-31, JetStream Direct Get. */
import { BridgeError, refuse } from '../../errors.ts'
import type { Batch, BatchRequest, StoredMessage } from '../../jetstream.ts'
import { toNanos } from '../../schemas/time.ts'
import { encodeJson } from './api.ts'
import type { Connection } from './connection.ts'
import { readDirectMessage } from './direct-message.ts'
import { hasCode, NoResponders } from './errors.ts'
import { exchange, type Reply } from './exchange.ts'
import { lastOf } from './headers.ts'
import { checkedName, checkedSubject } from './names.ts'
import { streamInfo } from './streams.ts'

/** Without these bounds a server sends up to 64 MiB in frames of 14 MB. */
export const MAX_BATCH = 1_000
export const MAX_BATCH_BYTES = 1_048_576

const SEQUENCE = 'Nats-Sequence'
const END_OF_BATCH = 204
const NOT_FOUND = 404
const MALFORMED = 408
const TOO_MANY_RESULTS = 413
const OLD_API = 412

const notSupported = () =>
  new BridgeError('not_supported', 'The stream or the NATS server has no batched Direct Get.')

/** Beyond these the server's nanoseconds overflow, and a far future would read from the beginning. */
const EARLIEST = { nanos: 0n, time: '1970-01-01T00:00:00Z' }
const LATEST = { nanos: 9_223_372_036_000_000_000n, time: '2262-04-11T23:47:16Z' }

/** A start time that every server can hold. */
export function startTime(time: string): string {
  const nanos = toNanos(time)
  if (nanos === undefined) throw refuse('time', 'is not an RFC 3339 time')
  if (nanos < EARLIEST.nanos) return EARLIEST.time
  return nanos > LATEST.nanos ? LATEST.time : time
}

/** The part of a Direct Get request that bounds its answer. */
export const bounds = (request: { batch: number; maxBytes: number }) => ({
  batch: Math.min(request.batch, MAX_BATCH),
  max_bytes: Math.min(request.maxBytes, MAX_BATCH_BYTES),
})

/** Collects the replies of one batch. Answers whether more may come; throws what a status means. */
function batchCollector() {
  const messages: StoredMessage[] = []
  let numPending = 0
  const take = ({ message, block }: Reply): 'more' | 'last' => {
    // A message may begin its own headers with a status: Direct Get says the sequence of messages alone.
    if (block.status === 0 || lastOf(block, SEQUENCE) !== undefined) {
      const read = readDirectMessage(message, block)
      if (read.numPending === undefined) throw notSupported()
      messages.push(read.message)
      numPending = read.numPending
      return 'more'
    }
    if (block.status === END_OF_BATCH) {
      numPending = Number(lastOf(block, 'Nats-Num-Pending') ?? numPending)
      return 'last'
    }
    if (block.status === NOT_FOUND) return 'last'
    throw failureOf(block.status, block.description)
  }
  return { take, batch: (): Batch => ({ messages, numPending }) }
}

function failureOf(status: number, description: string): BridgeError {
  const cause = { status, description }
  if (status === MALFORMED || status === OLD_API) {
    return new BridgeError('not_supported', 'The NATS server does not know this Direct Get.', { cause })
  }
  if (status === TOO_MANY_RESULTS) {
    return new BridgeError('not_supported', 'Too many subjects for one Direct Get.', { cause })
  }
  return new BridgeError('jetstream_unavailable', 'JetStream cannot answer the Direct Get now.', { cause })
}

/** Nobody answered: there is no such stream, it does not allow Direct Get, or it has nobody to answer just now. */
async function explainNoResponders(
  connection: Connection,
  stream: string,
  cause: NoResponders,
): Promise<BridgeError> {
  try {
    const { config } = await streamInfo(connection, stream)
    return config.allow_direct === true ? cause : notSupported()
  } catch (err) {
    return hasCode(err, 'stream_not_found') ? err : cause
  }
}

/**
 * One batched Direct Get.
 * Throws `not_supported` where the stream does not allow it, the server is too old, or too many subjects match;
 * `stream_not_found`.
 */
export async function directGet(
  connection: Connection,
  stream: string,
  body: object,
  signal?: AbortSignal,
): Promise<Batch> {
  const subject = `$JS.API.DIRECT.GET.${checkedName('stream', stream)}`
  const client = await connection.client()
  const { take, batch } = batchCollector()
  try {
    const { timeoutMs } = connection
    await exchange(
      client,
      { subject, payload: encodeJson(body), timeoutMs, ...(signal ? { signal } : {}) },
      take,
    )
    return batch()
  } catch (err) {
    throw err instanceof NoResponders ? await explainNoResponders(connection, stream, err) : err
  }
}

/** `JetStream.getBatch`. At most 1,000 messages and about 1 MiB, whatever was asked. */
export async function getBatch(
  connection: Connection,
  stream: string,
  request: BatchRequest,
): Promise<Batch> {
  const { from, filter = '>' } = request
  const start = 'time' in from ? { start_time: startTime(from.time) } : { seq: Math.max(1, from.seq) }
  const asked = { ...start, next_by_subj: checkedSubject('filter', filter), ...bounds(request) }
  return await directGet(connection, stream, asked, request.signal)
}
