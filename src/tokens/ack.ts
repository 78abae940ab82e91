/** Ack tokens: one delivery of one message, sealed, so that any instance can settle it. */
import { packFields, unpackFields } from './fields.ts'
import { createSealer, type Keyring } from './seal.ts'

/** The fields below in their order; those that were sealed first end before `deliveredMs`. */
const PURPOSE = 'a2'
const FIELD_COUNT = 10
const FIRST_FIELD_COUNT = 9
/** Version 1 ends before `endMs`, and its deadline is by the clock of the host that sealed it. */
const EARLIER_PURPOSE = 'a1'
const EARLIER_FIELD_COUNT = 6
/** In the place of the time of a renewal: there was none, or its time is not told. */
const NOT_RENEWED = '0'
const RENEWED = '1'

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
  /** Unix milliseconds by the server's clock; Infinity where JetStream never delivers again. */
  readonly deadlineMs: number
  /** When JetStream may deliver it again, by the same clock; it comes after the deadline. */
  readonly endMs?: number
  /** Which delivery of the consumer it is. */
  readonly consumerSeq?: number
  /** Whether its time counts from a `progress`, not from the delivery. */
  readonly isRenewed?: boolean
  /** When it was renewed, by the same clock, at the earliest. */
  readonly renewedMs?: number
  /** When it was delivered, by the same clock, at the earliest. */
  readonly deliveredMs?: number
}

export interface AckTokens {
  seal(claim: DeliveryClaim): string
  /** Undefined: forged, damaged or of another tenant. */
  open(token: string): DeliveryClaim | undefined
}

/** The fields that both versions have. */
function claimOf(fields: readonly string[]): DeliveryClaim {
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
}

export function createAckTokens(keyring: Keyring, tenant: string): AckTokens {
  const sealer = createSealer(keyring, PURPOSE, tenant)
  const earlier = createSealer(keyring, EARLIER_PURPOSE, tenant)
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
          String(claim.endMs ?? claim.deadlineMs),
          String(claim.consumerSeq ?? 0),
          claim.isRenewed ? String(claim.renewedMs ?? RENEWED) : NOT_RENEWED,
          String(claim.deliveredMs ?? ''),
        ]),
      ),
    open(token) {
      if (token.startsWith(`${EARLIER_PURPOSE}.`)) {
        const packed = earlier.open(token)
        const fields = packed && unpackFields(packed, EARLIER_FIELD_COUNT)
        return fields && claimOf(fields)
      }
      const packed = sealer.open(token)
      const fields = packed && (unpackFields(packed, FIELD_COUNT) ?? unpackFields(packed, FIRST_FIELD_COUNT))
      if (!fields) return undefined
      const [end, consumerSeq, renewed = NOT_RENEWED, delivered = ''] = fields.slice(EARLIER_FIELD_COUNT)
      return {
        ...claimOf(fields),
        endMs: Number(end),
        consumerSeq: Number(consumerSeq),
        isRenewed: renewed !== NOT_RENEWED,
        ...(renewed === NOT_RENEWED || renewed === RENEWED ? {} : { renewedMs: Number(renewed) }),
        ...(delivered === '' ? {} : { deliveredMs: Number(delivered) }),
      }
    },
  }
}
