/** The reply subject of a delivered message, in which JetStream tells where the message stands. */
import { fromNanosText } from '../../schemas/time.ts'

/** What the reply subject of a delivery says. `numPending`: matching messages after this one. */
export interface AckSubject {
  readonly deliveryCount: number
  readonly streamSeq: number
  readonly consumerSeq: number
  readonly time: string
  readonly numPending: number
}

/**
 * `$JS.ACK.<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<ns>.<pending>`, also in its later form with domain
 * and account before the stream, and perhaps more behind. Source: NATS ADR-15, JetStream Subjects.
 */
const ACK_SUBJECT = /^\$JS\.ACK(?:\.[^.]*){2}\.(\d+)\.(\d+)\.(\d+)\.(\d+)\.(\d+)$/
const ACK_SUBJECT_WITH_ACCOUNT = /^\$JS\.ACK(?:\.[^.]*){4}\.(\d+)\.(\d+)\.(\d+)\.(\d+)\.(\d+)(?:\.|$)/

/** Whether a subject is the reply subject of a delivery. */
export const isAckSubject = (subject: string): boolean =>
  ACK_SUBJECT.test(subject) || ACK_SUBJECT_WITH_ACCOUNT.test(subject)

/** Reads what the reply subject of a delivery says. Undefined: it is not one. */
export function parseAckSubject(subject: string): AckSubject | undefined {
  const found = ACK_SUBJECT.exec(subject) ?? ACK_SUBJECT_WITH_ACCOUNT.exec(subject)
  if (!found) return undefined
  const [, count, streamSeq, consumerSeq, nanos = '0', pending] = found
  return {
    deliveryCount: Number(count),
    streamSeq: Number(streamSeq),
    consumerSeq: Number(consumerSeq),
    time: fromNanosText(nanos),
    numPending: Number(pending),
  }
}
