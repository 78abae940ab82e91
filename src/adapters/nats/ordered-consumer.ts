/** What an ordered consumer is to JetStream, and the words in which it answers. Source: NATS ADR-17, Ordered Consumer. */
import type { Msg, NatsConnection, Subscription } from 'nats.ws'
import { msToNanos } from '../../schemas/time.ts'

const INACTIVE_MS = 10_000

/** Statuses of its answers. */
export const HEARTBEAT = 100
export const NOT_FOUND = 404
export const TIMED_OUT = 408
export const CONFLICT = 409
export const TOO_LARGE = 'Message Size Exceeds MaxBytes'

/** It goes by itself, should nobody be left to delete it. */
export const orderedConsumer = (name: string, fromSeq: number) => ({
  name,
  deliver_policy: 'by_start_sequence',
  opt_start_seq: fromSeq,
  ack_policy: 'none',
  max_deliver: 1,
  replay_policy: 'instant',
  mem_storage: true,
  num_replicas: 1,
  inactive_threshold: msToNanos(INACTIVE_MS),
})

/** One consumer of the several that a subscription may have one after the other. */
export interface Session {
  readonly client: NatsConnection
  readonly consumer: string
  readonly subscription: Subscription
  /** Each request is answered below it, under its own number. */
  readonly inbox: string
  nextConsumerSeq: number
  /** The request that stands: which one, and what it may still bring. Undefined: nobody wants more just now. */
  window: Window | undefined
  requests: number
  /** Until it is known that the stream is still the same one. */
  held: Msg[] | undefined
}

/** The server sends this much and no more before it is asked again, so that what is on its way is bounded. */
interface Window {
  readonly id: number
  messages: number
  bytes: number
}
