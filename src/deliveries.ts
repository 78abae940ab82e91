/** Owns what a client is handed of a consumer: its ack tokens and deadlines, and the return of what it did not get. */
import type { Session } from './context.ts'
import type { ConsumerInfo, Delivery, JetStream } from './jetstream.ts'
import type { Metrics } from './metrics.ts'
import type { PayloadForm } from './reading.ts'
import { encodeMessage } from './schemas/message.ts'
import { fromMs, nanosToMs } from './schemas/time.ts'

/** JetStream's own default. */
const DEFAULT_ACK_WAIT_MS = 30_000
/** A claim ends this much before JetStream delivers again, so that no ack on its way completes the next delivery. */
const MARGIN_MS = 250
const MARGIN_SHARE = 0.1

/**
 * Until when a delivery is its receiver's, Unix milliseconds. `from`: when it was handed out, or its claim renewed.
 * Infinity where JetStream never takes it back.
 */
export function deadlineOf({ config }: ConsumerInfo, deliveryCount: number, from: number): number {
  if (config.ack_policy === 'none') return Number.POSITIVE_INFINITY
  const steps = Array.isArray(config.backoff) ? config.backoff.map(Number) : []
  const step = steps[Math.min(deliveryCount, steps.length) - 1]
  const ackWait = typeof config.ack_wait === 'number' ? nanosToMs(config.ack_wait) : DEFAULT_ACK_WAIT_MS
  const waitMs = step === undefined ? ackWait : nanosToMs(step)
  return from + waitMs - Math.min(MARGIN_MS, Math.floor(waitMs * MARGIN_SHARE))
}

/** A deadline on the wire; null where there is none. */
export function encodeDeadline(deadlineMs: number): string | null {
  return Number.isFinite(deadlineMs) ? fromMs(deadlineMs) : null
}

/** Writes the deliveries of one consumer, each as one line of JSON. */
export function deliveryEncoder(
  { ackTokens }: Session,
  consumer: ConsumerInfo,
  form: PayloadForm,
): (delivery: Delivery) => string {
  const { stream_name: stream, name, created: consumerCreated } = consumer
  const deadline = deadlines(consumer)
  return (delivery) => {
    const { deliveryCount, replySubject } = delivery
    const { ms: deadlineMs, text: ack_deadline } = deadline(delivery)
    const claim = { stream, consumer: name, consumerCreated, deliveryCount, replySubject, deadlineMs }
    const rest = { ack_token: ackTokens.seal(claim), delivery_count: deliveryCount, ack_deadline }
    return encodeMessage(stream, delivery, form, rest)
  }
}

interface Deadline {
  readonly ms: number
  readonly text: string | null
}

/** Tells the deadline of each delivery: those that came together mostly have the one of the delivery before. */
function deadlines(consumer: ConsumerInfo): (delivery: Delivery) => Deadline {
  let last: (Deadline & { readonly count: number; readonly from: number }) | undefined
  return ({ deliveryCount: count, receivedAt: from }) => {
    if (last?.count === count && last.from === from) return last
    const ms = deadlineOf(consumer, count, from)
    last = { count, from, ms, text: encodeDeadline(ms) }
    return last
  }
}

/** Counts what a client is handed. */
export function countDeliveries(
  metrics: Metrics,
  via: 'pull' | 'push',
  deliveries: readonly Delivery[],
): void {
  metrics.deliveries[via].add(deliveries.length)
  metrics.redeliveries.add(deliveries.filter(({ deliveryCount }) => deliveryCount > 1).length)
}

/** Whether a pull was ended neither by its client, whose signal is given, nor by a failure: its host shuts down. */
export const isDismissed = (failure: unknown, client: AbortSignal): boolean =>
  failure instanceof DOMException && failure.name === 'AbortError' && !client.aborted

/**
 * Gives deliveries back, so that another client has them at once; what cannot be given back returns after the ack wait. A delivery
 * whose time is over is left alone: JetStream would take back what another client has by now. `consumer`: where it is
 * known, and so how long that is.
 */
export async function giveBack(
  jetstream: JetStream,
  deliveries: readonly Delivery[],
  consumer: ConsumerInfo | undefined,
): Promise<void> {
  const endOf = ({ deliveryCount, receivedAt }: Delivery) =>
    consumer ? deadlineOf(consumer, deliveryCount, receivedAt) : receivedAt + MARGIN_MS
  const now = Date.now()
  const own = deliveries.filter((delivery) => now < endOf(delivery))
  await Promise.allSettled(own.map(({ replySubject }) => jetstream.settle(replySubject, { action: 'nak' })))
}
