/** What becomes of a publish: stored, stored before, refused for a reason that is told, and when it is tried again. */
import { BridgeError, isPassing } from '../errors.ts'
import type { JetStream, OutgoingMessage, PubAck } from '../jetstream.ts'
import { delay } from '../turns.ts'
import { explainCondition } from './conditions.ts'
import { findByKey, keyOf, requireSame } from './keys.ts'

/** Pauses between tries, ms, after a first one at once: an election takes seconds, another connection less. */
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1_000
/** How long a condition is tried that was refused for what was still being applied, and the pause between tries, ms. */
const CONDITION_MS = 3_000
const CONDITION_PAUSE_MS = 10

export interface Publisher {
  /** Publishes, again and again where it has a key, until the deadline. Throws as `attempt`. */
  publish(message: OutgoingMessage): Promise<PubAck>
  /**
   * Publishes once; calls are sent in their order. Throws as `JetStream.publish`, `precondition_failed` with the actual
   * value, `idempotency_conflict`.
   */
  attempt(message: OutgoingMessage): Promise<PubAck>
  /** Publishes again after `failure`, where that may pass and a key makes it safe. Throws the last failure. */
  insist(message: OutgoingMessage, failure: unknown): Promise<PubAck>
}

export interface PublisherOptions {
  /** How long a publish with a key is tried, ms; no try begins later. */
  readonly deadlineMs: number
  readonly now: () => number
}

export function createPublisher(jetstream: JetStream, { deadlineMs, now }: PublisherOptions): Publisher {
  const attempt = async (message: OutgoingMessage): Promise<PubAck> => {
    let ack: PubAck
    try {
      ack = await jetstream.publish(message)
    } catch (failure) {
      ack = await afterFailure(jetstream, message, { failure, giveUpAt: now() + CONDITION_MS, now })
    }
    if (ack.duplicate) await requireSame(jetstream, message, ack)
    return ack
  }

  const insist = async (message: OutgoingMessage, first: unknown): Promise<PubAck> => {
    const giveUpAt = now() + deadlineMs
    let failure = first
    let unconfirmed = isUnconfirmed(first) ? first : undefined
    for (let pauseMs = 0; mayInsist(message, failure); pauseMs = nextPause(pauseMs)) {
      if (now() + pauseMs > giveUpAt) throw unconfirmed ?? failure
      if (pauseMs > 0) await delay(pauseMs)
      try {
        return await attempt(message)
      } catch (next) {
        failure = next
        if (isUnconfirmed(next)) unconfirmed = next
      }
    }
    throw isOfThisMessage(failure) ? failure : (unconfirmed ?? failure)
  }

  return {
    attempt,
    insist,
    async publish(message) {
      try {
        return await attempt(message)
      } catch (failure) {
        return await insist(message, failure)
      }
    },
  }
}

const nextPause = (pauseMs: number) => Math.min(Math.max(2 * pauseMs, FIRST_PAUSE_MS), LONGEST_PAUSE_MS)

const isUnconfirmed = (failure: unknown) =>
  failure instanceof BridgeError && failure.code === 'publish_unconfirmed_keyed'

/** What is told by the message or its key itself: anything else says nothing of a try before it, which may be stored. */
const isOfThisMessage = (failure: unknown) =>
  failure instanceof BridgeError &&
  (failure.code === 'idempotency_conflict' || failure.code === 'precondition_failed')

/** What may pass by itself, but for a stream that is full: that is for the client to wait for. */
const mayInsist = (message: OutgoingMessage, failure: unknown): boolean =>
  keyOf(message) !== undefined &&
  isPassing(failure) &&
  !(failure instanceof BridgeError && failure.code === 'stream_full')

interface Failed {
  readonly failure: unknown
  readonly giveUpAt: number
  readonly now: () => number
}

/** A refused condition is looked at again: the message may be stored already, and the client wants to know how things are. */
async function afterFailure(
  jetstream: JetStream,
  message: OutgoingMessage,
  { failure, giveUpAt, now }: Failed,
): Promise<PubAck> {
  let refusal = failure
  while (isRefusedCondition(refusal)) {
    const stored = await findByKey(jetstream, message)
    if (stored) return stored
    const explained = await explainCondition(jetstream, message, refusal)
    if (explained) throw explained
    if (now() > giveUpAt)
      throw new BridgeError('jetstream_unavailable', 'Other publishes to the subject are being applied.', {
        cause: refusal,
      })
    await delay(CONDITION_PAUSE_MS)
    try {
      return await jetstream.publish(message)
    } catch (next) {
      refusal = next
    }
  }
  throw refusal
}

const isRefusedCondition = (failure: unknown): failure is BridgeError =>
  failure instanceof BridgeError && failure.code === 'precondition_failed'
