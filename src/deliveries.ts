/** What a client is handed of a consumer: its ack tokens and deadlines, and the return of what it did not get. */
import type { Session } from './context.ts'
import type { ConsumerInfo, Delivery } from './jetstream.ts'
import type { Metrics } from './metrics.ts'
import type { PayloadForm } from './reading.ts'
import { encodeMessage } from './schemas/message.ts'
import { fromMs, nanosToMs } from './schemas/time.ts'
import { type ClockOffset, offsetOf, roundTripMs } from './server-clock.ts'
import { deliveryKey, type Reset } from './tokens/settled.ts'

/** JetStream's own default. */
const DEFAULT_ACK_WAIT_MS = 30_000
/** A claim ends this much before JetStream delivers again, so that no ack on its way completes the next delivery. */
const MARGIN_MS = 250
const MARGIN_SHARE = 0.1
/** The longest margin that a slow connection makes, as a share of the wait. */
const LONGEST_MARGIN_SHARE = 0.5
/** A settling takes two round trips: the consumer is looked at before. */
const ROUND_TRIPS = 2

/** A consumer as its server has just described it, and what that tells of the server's clock. */
export interface Look {
  readonly info: ConsumerInfo
  readonly offset: ClockOffset
}

/** Asks what a consumer is. */
export async function lookAt(
  { jetstream, serverClock }: Session,
  { stream, consumer }: { readonly stream: string; readonly consumer: string },
): Promise<Look> {
  const askedMs = Date.now()
  const info = await jetstream.consumerInfo(stream, consumer)
  const offset = offsetOf(info.ts, askedMs, Date.now())
  serverClock.hear(offset)
  return { info, offset }
}

/** How long JetStream waits for this delivery's ack before it delivers again, ms; Infinity where it never does. */
export function waitOf({ config }: ConsumerInfo, deliveryCount: number): number {
  if (config.ack_policy === 'none') return Number.POSITIVE_INFINITY
  const steps = Array.isArray(config.backoff) ? config.backoff.map(Number) : []
  const step = steps[Math.min(deliveryCount, steps.length) - 1]
  const ackWait = typeof config.ack_wait === 'number' ? nanosToMs(config.ack_wait) : DEFAULT_ACK_WAIT_MS
  return step === undefined ? ackWait : nanosToMs(step)
}

/** Until when a delivery is its receiver's, and when JetStream may deliver it again; both by the server's clock. */
export interface Lease {
  readonly deadlineMs: number
  readonly endMs: number
}

/** `from`: when it was handed out, or its claim renewed, at the earliest; by the server's clock. */
export function leaseOf({ info, offset }: Look, deliveryCount: number, from: number): Lease {
  const waitMs = waitOf(info, deliveryCount)
  const usual = Math.min(MARGIN_MS, Math.floor(waitMs * MARGIN_SHARE))
  const slow = Math.min(ROUND_TRIPS * roundTripMs(offset), Math.floor(waitMs * LONGEST_MARGIN_SHARE))
  const endMs = from + waitMs
  return { deadlineMs: endMs - Math.max(usual, slow), endMs }
}

/**
 * When JetStream delivered at the earliest, by its clock. What was there when it was asked for was delivered after that,
 * however long this machine took to hear of it; for what came later there is the time that the server tells of its
 * last delivery, and else that of its arrival. What a reset consumer delivers since comes after the reset.
 */
function deliveredFrom(
  { info, offset }: Look,
  last: Delivery | undefined,
  reset: Reset | undefined,
): (delivery: Delivery) => number {
  const { consumer_seq, last_active } = info.delivered
  const told = last?.consumerSeq === consumer_seq ? Date.parse(last_active ?? '') : Number.NaN
  const latest = Number.isNaN(told) ? Number.POSITIVE_INFINITY : told
  return ({ askedAt, receivedAt }) => {
    const from = Math.min(
      latest,
      askedAt === undefined
        ? receivedAt + offset.leastMs - roundTripMs(offset) / 2
        : askedAt + offset.leastMs,
    )
    const isSinceReset = reset !== undefined && receivedAt >= reset.askedMs
    return isSinceReset ? Math.max(from, reset.serverMs) : from
  }
}

/** A deadline on the wire; null where there is none. */
export function encodeDeadline(deadlineMs: number): string | null {
  return Number.isFinite(deadlineMs) ? fromMs(deadlineMs) : null
}

/** Writes the deliveries of one pull, each as one line of JSON. `last`: of those. */
export function deliveryEncoder(
  { ackTokens, settled }: Session,
  {
    look,
    last,
    form,
  }: { readonly look: Look; readonly last: Delivery | undefined; readonly form: PayloadForm },
): (delivery: Delivery) => string {
  const { stream_name: stream, name: consumer, created: consumerCreated } = look.info
  const leases = leasesOf(deliveredFrom(look, last, settled.resetOf(stream, consumer)), look)
  return (delivery) => {
    const { deliveryCount, replySubject, consumerSeq } = delivery
    const { deadlineMs, endMs, from: deliveredMs, text: ack_deadline } = leases(delivery)
    const claim = {
      stream,
      consumer,
      consumerCreated,
      deliveryCount,
      replySubject,
      deadlineMs,
      endMs,
      consumerSeq,
      deliveredMs,
    }
    const rest = { ack_token: ackTokens.seal(claim), delivery_count: deliveryCount, ack_deadline }
    return encodeMessage(stream, delivery, form, rest)
  }
}

/** Tells the lease of each delivery: those that came together mostly have the one of the delivery before. */
function leasesOf(from: (delivery: Delivery) => number, look: Look) {
  let last:
    | (Lease & { readonly text: string | null; readonly count: number; readonly from: number })
    | undefined
  return (delivery: Delivery) => {
    const { deliveryCount: count } = delivery
    const at = from(delivery)
    if (last?.count === count && last.from === at) return last
    const lease = leaseOf(look, count, at)
    last = { ...lease, count, from: at, text: encodeDeadline(lease.deadlineMs) }
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
 * whose time is over is left alone: JetStream would take back what another client has by now. Their tokens settle
 * nothing here from then on. `look`: where the consumer is known, and so how long that is.
 */
export async function giveBack(
  { jetstream, settled }: Session,
  deliveries: readonly Delivery[],
  look: Look | undefined,
): Promise<void> {
  const now = Date.now()
  const reset = look && settled.resetOf(look.info.stream_name, look.info.name)
  const from = look && deliveredFrom(look, deliveries.at(-1), reset)
  const isOwn = (delivery: Delivery) =>
    look && from
      ? now + look.offset.mostMs < leaseOf(look, delivery.deliveryCount, from(delivery)).deadlineMs
      : now < delivery.receivedAt + MARGIN_MS
  const own = deliveries.filter(isOwn)
  if (look) {
    const { created: consumerCreated } = look.info
    for (const { replySubject } of own)
      settled.remember(deliveryKey({ consumerCreated, replySubject }, reset), { ending: 'nak', isSure: true })
  }
  await Promise.allSettled(own.map(({ replySubject }) => jetstream.settle(replySubject, { action: 'nak' })))
}
