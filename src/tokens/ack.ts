/** Owns ack tokens: one delivery of one message, sealed, so that any instance can settle it. */
import { packFields, unpackFields } from './fields.ts'
import { createSealer, type Keyring } from './seal.ts'

/** Version 1 of the fields below, in their order. */
const PURPOSE = 'a1'
const FIELD_COUNT = 6

/** One delivery, and until when it is this client's to settle. */
export interface DeliveryClaim {
  readonly stream: string
  readonly consumer: string
  /** The consumer's creation time: it and its stream may be deleted and made again under the same names. */
  readonly consumerCreated: string
  /** Which delivery of the message it is, from 1: a backoff has a step for each. */
  readonly deliveryCount: number
  /** Where JetStream takes the acknowledgement. Never taken from a client in the clear. */
  readonly replySubject: string
  /** Unix milliseconds; Infinity where JetStream never delivers again. */
  readonly deadlineMs: number
}

export interface AckTokens {
  seal(claim: DeliveryClaim): string
  /** Undefined: forged, damaged or of another tenant. */
  open(token: string): DeliveryClaim | undefined
}

export function createAckTokens(keyring: Keyring, tenant: string): AckTokens {
  const sealer = createSealer(keyring, PURPOSE, tenant)
  return {
    seal: (claim) =>
      sealer.seal(
        packFields([
          claim.stream,
          claim.consumer,
          claim.consumerCreated,
          String(claim.deliveryCount),
          claim.replySubject,
          String(claim.deadlineMs),
        ]),
      ),
    open(token) {
      const packed = sealer.open(token)
      const fields = packed && unpackFields(packed, FIELD_COUNT)
      if (!fields) return undefined
      const [stream = '', consumer = '', consumerCreated = '', count = '', replySubject = '', deadline = ''] =
        fields
      return {
        stream,
        consumer,
        consumerCreated,
        deliveryCount: Number(count),
        replySubject,
        deadlineMs: Number(deadline),
      }
    },
  }
}
