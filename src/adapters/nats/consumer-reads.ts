/** Reads by a consumer that lives for one call, for streams and servers without batched Direct Get. */
import { nuid } from 'nats.ws'
import { BridgeError } from '../../errors.ts'
import type {
  Batch,
  BatchRequest,
  ConsumerInfo,
  Delivery,
  JetStreamConfig,
  StoredMessage,
} from '../../jetstream.ts'
import { msToNanos } from '../../schemas/time.ts'
import type { Connection } from './connection.ts'
import { createConsumer, deleteConsumer } from './consumers.ts'
import { bounds, startTime } from './direct-get.ts'
import { hasCode, hasErrCode } from './errors.ts'
import { type NextEnd, type NextTarget, requestNext } from './next.ts'

const INACTIVE_MS = 10_000
const REFUSED_BY_RETENTION = [10_084, 10_098, 10_099, 10_100, 10_101]

/** What a consumer gave in one go. */
export interface Run {
  readonly deliveries: readonly Delivery[]
  readonly end: NextEnd
}

interface RunRequest {
  readonly batch: number
  readonly maxBytes: number
  readonly signal?: AbortSignal
}

export type ReadRun = (request: RunRequest) => Promise<Run>

/** A consumer that acknowledges nothing, for as long as its reader needs it. */
export interface ConsumerReader {
  /** As it was made. */
  readonly info: ConsumerInfo
  readonly read: ReadRun
  /** Deletes it. Not waited for: should that fail, the server deletes it by itself. */
  close(): void
}

export const withoutDelivery = ({ subject, seq, time, headers, payload }: Delivery): StoredMessage => ({
  subject,
  seq,
  time,
  headers,
  payload,
})

/** A work queue lets a second consumer in only where the two cannot take the same message. */
function explainRefusal(thrown: unknown): unknown {
  if (!hasErrCode(thrown, ...REFUSED_BY_RETENTION)) return thrown
  return new BridgeError('refused_by_jetstream', 'A work-queue stream cannot be read beside its consumers.', {
    cause: thrown,
  })
}

const readerConfig = (config: JetStreamConfig) => ({
  name: nuid.next(),
  ack_policy: 'none',
  replay_policy: 'instant',
  mem_storage: true,
  num_replicas: 1,
  inactive_threshold: msToNanos(INACTIVE_MS),
  ...config,
})

async function readRun(target: NextTarget, timeoutMs: number, limits: RunRequest): Promise<Run> {
  const deliveries: Delivery[] = []
  const { signal } = limits
  const rest = { noWait: true, timeoutMs, ...(signal ? { signal } : {}) }
  const ask = (request: { batch: number; maxBytes?: number }) =>
    requestNext(target, { ...request, ...rest }, (delivery) => deliveries.push(delivery))
  const { batch, max_bytes: maxBytes } = bounds(limits)
  const end = await ask({ batch, maxBytes })
  if (end === 'too_large' && deliveries.length === 0) return { deliveries, end: await ask({ batch: 1 }) }
  return { deliveries, end }
}

/**
 * Makes a consumer to read with; whoever opens it closes it.
 * Throws `refused_by_jetstream` where the stream's retention does not allow it.
 */
export async function openReader(
  connection: Connection,
  stream: string,
  config: JetStreamConfig,
): Promise<ConsumerReader> {
  const client = await connection.client()
  const asked = readerConfig(config)
  const target = { client, stream, consumer: asked.name }
  const close = () => {
    if (!client.isClosed()) void deleteConsumer(connection, stream, asked.name, client).catch(() => undefined)
  }
  try {
    const info = await createConsumer(connection, stream, asked, client)
    return { info, read: (request) => readRun(target, connection.timeoutMs, request), close }
  } catch (err) {
    // It may have been made although no answer came.
    close()
    throw explainRefusal(err)
  }
}

/** Makes a consumer, lets `use` read from it, and deletes it whatever happens. Throws as `openReader`. */
export async function withReader<Result>(
  connection: Connection,
  { stream, config }: { stream: string; config: JetStreamConfig },
  use: (reader: ConsumerReader) => Promise<Result>,
): Promise<Result> {
  const reader = await openReader(connection, stream, config)
  try {
    return await use(reader)
  } finally {
    reader.close()
  }
}

/** `JetStream.getBatchByConsumer`. At most 1,000 messages and about 1 MiB, whatever was asked. */
export async function getBatchByConsumer(
  connection: Connection,
  stream: string,
  request: BatchRequest,
): Promise<Batch> {
  const { from, filter } = request
  const start =
    'time' in from
      ? { deliver_policy: 'by_start_time', opt_start_time: startTime(from.time) }
      : { deliver_policy: 'by_start_sequence', opt_start_seq: Math.max(1, from.seq) }
  const config = { ...start, ...(filter === undefined ? {} : { filter_subject: filter }) }
  const { deliveries } = await withReader(connection, { stream, config }, ({ read }) => read(request))
  return { messages: deliveries.map(withoutDelivery), numPending: deliveries.at(-1)?.numPending ?? 0 }
}

/** Whether Direct Get cannot serve this, so that a consumer has to. */
export const needsConsumer = (thrown: unknown): boolean => hasCode(thrown, 'not_supported')
