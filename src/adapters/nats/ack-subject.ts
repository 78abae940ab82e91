/** Owns the reply subject of a delivered message, in which JetStream tells where the message stands. */
import { fromNanos } from '../../schemas/time.ts'

/** What the reply subject of a delivery says. `numPending`: matching messages after this one. */
export interface AckSubject {
  readonly deliveryCount: number
  readonly streamSeq: number
  readonly consumerSeq: number
  readonly time: string
  readonly numPending: number
}

const TOKENS = 9
const TOKENS_WITH_ACCOUNT = 11
const NUMBERS_START = 4
const NUMBERS_START_WITH_ACCOUNT = 6

/**
 * Reads `$JS.ACK.<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<ns>.<pending>`, also in its later form with
 * domain and account before the stream. Undefined: it is not one. Source: NATS ADR-15, JetStream Subjects.
 */
export function parseAckSubject(subject: string): AckSubject | undefined {
  const tokens = subject.split('.')
  if (tokens[0] !== '$JS' || tokens[1] !== 'ACK') return undefined
  if (tokens.length !== TOKENS && tokens.length < TOKENS_WITH_ACCOUNT) return undefined
  const start = tokens.length === TOKENS ? NUMBERS_START : NUMBERS_START_WITH_ACCOUNT
  const numbers = tokens.slice(start, start + 5)
  if (!numbers.every((token) => /^\d+$/.test(token))) return undefined
  const [count, streamSeq, consumerSeq, nanos = '0', pending] = numbers
  return {
    deliveryCount: Number(count),
    streamSeq: Number(streamSeq),
    consumerSeq: Number(consumerSeq),
    time: fromNanos(BigInt(nanos)),
    numPending: Number(pending),
  }
}
