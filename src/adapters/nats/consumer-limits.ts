/** What a consumer lets a pull ask for, as far as this connection has seen it. */
import type { ConsumerInfo } from '../../jetstream.ts'
import { nanosToMs } from '../../schemas/time.ts'
import type { Connection } from './connection.ts'

/** The limits of a consumer, and how much of them was used when it was last looked at. */
export interface ConsumerLimits {
  /** Deliveries that may be unsettled at a time; Infinity: any number. */
  readonly maxAckPending: number
  readonly ackPending: number
  /** It delivers nothing for now, whatever is there. */
  readonly isPaused: boolean
  /** It delivers at the pace in which the messages were stored: what it holds back is not at hand. */
  readonly isPaced: boolean
  /**
   * How far it had delivered when it had nothing to deliver, and a request waited at it; undefined: it was not so. At
   * nats-server 2.10 a request that wants to hear at once waits there in silence where it met a message past `max_deliver`.
   */
  readonly idleAt: number | undefined
  readonly maxBatch: number
  readonly maxBytes: number
  readonly maxExpiresMs: number
  /** How long it took to look. */
  readonly roundTripMs: number
}

/** Consumers that a connection remembers the limits of. */
const REMEMBERED = 1_000

const seen = new WeakMap<Connection, Map<string, ConsumerLimits>>()

const keyOf = (stream: string, consumer: string): string => `${stream}.${consumer}`

/** A limit of the configuration, which has 0, -1 or nothing where there is none. */
const limitOf = (value: unknown): number =>
  typeof value === 'number' && value > 0 ? value : Number.POSITIVE_INFINITY

/** What the server has just said of a consumer's limits. */
function limitsOf(info: ConsumerInfo) {
  const { config, num_ack_pending: ackPending, paused = false } = info
  const isIdle = info.num_pending === 0 && info.num_waiting > 0 && info.num_redelivered > 0
  return {
    maxAckPending: config.ack_policy === 'none' ? Number.POSITIVE_INFINITY : limitOf(config.max_ack_pending),
    ackPending,
    isPaused: paused,
    isPaced: config.replay_policy === 'original',
    idleAt: isIdle ? info.delivered.consumer_seq : undefined,
    maxBatch: limitOf(config.max_batch),
    maxBytes: limitOf(config.max_bytes),
    maxExpiresMs: nanosToMs(limitOf(config.max_expires)),
  }
}

/** Remembers what the server has just said of a consumer; the oldest of too many is forgotten. */
export function rememberLimits(
  connection: Connection,
  info: ConsumerInfo,
  roundTripMs: number,
): ConsumerLimits {
  const known = seen.get(connection) ?? new Map<string, ConsumerLimits>()
  seen.set(connection, known)
  const key = keyOf(info.stream_name, info.name)
  const limits = { ...limitsOf(info), roundTripMs }
  known.delete(key)
  known.set(key, limits)
  const [oldest] = known.size > REMEMBERED ? known.keys() : []
  if (oldest !== undefined) known.delete(oldest)
  return limits
}

/** What was seen of a consumer. Undefined: nothing yet. */
export const knownLimits = (connection: Connection, stream: string, consumer: string) =>
  seen.get(connection)?.get(keyOf(stream, consumer))

/** Counts what was delivered since the consumer was looked at. */
export function countPending(
  connection: Connection,
  { stream, consumer }: { readonly stream: string; readonly consumer: string },
  deliveries: number,
): void {
  const limits = knownLimits(connection, stream, consumer)
  if (!limits) return
  seen
    .get(connection)
    ?.set(keyOf(stream, consumer), { ...limits, ackPending: limits.ackPending + deliveries })
}

/** How many more messages the consumer may deliver before some are settled. */
export const roomOf = ({ isPaused, maxAckPending, ackPending }: ConsumerLimits): number =>
  isPaused ? 0 : Math.max(0, maxAckPending - ackPending)
