/** Owns what a client is handed of a consumer: its ack tokens and deadlines, and the return of what it did not get. */
import type { Session } from './context.ts'
import type { ConsumerInfo, Delivery, JetStream } from './jetstream.ts'
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

/** Writes a delivery as one line of JSON. */
export function encodeDelivery(
  { ackTokens }: Session,
  consumer: ConsumerInfo,
  delivery: Delivery,
  form: PayloadForm,
): string {
  const deadlineMs = deadlineOf(consumer, delivery.deliveryCount, delivery.receivedAt)
  const ack_token = ackTokens.seal({
    stream: consumer.stream_name,
    consumer: consumer.name,
    consumerCreated: consumer.created,
    deliveryCount: delivery.deliveryCount,
    replySubject: delivery.replySubject,
    deadlineMs,
  })
  const { deliveryCount: delivery_count } = delivery
  const ack_deadline = encodeDeadline(deadlineMs)
  return encodeMessage(consumer.stream_name, delivery, form, { ack_token, delivery_count, ack_deadline })
}

/** Gives deliveries back, so that another client has them at once. What cannot be given back returns after the ack wait. */
export async function giveBack(jetstream: JetStream, deliveries: readonly Delivery[]): Promise<void> {
  await Promise.allSettled(
    deliveries.map(({ replySubject }) => jetstream.settle(replySubject, { action: 'nak' })),
  )
}
