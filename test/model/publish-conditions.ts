/** The conditions of a simulated publish, in the order in which JetStream looks at them. */
import type { OutgoingMessage } from '../../src/jetstream.ts'
import {
  EXPECTED_LAST_MSG_ID,
  EXPECTED_LAST_SEQ,
  EXPECTED_LAST_SUBJECT_SEQ,
  EXPECTED_LAST_SUBJECT_SEQ_SUBJECT,
  EXPECTED_STREAM,
  MSG_ID,
} from '../../src/schemas/nats-headers.ts'
import { refuse, type SimulatedStream } from './simulated-stream.ts'

/**
 * Throws what a condition refuses; answers whether the message is a duplicate. One replica looks at the sequences before
 * the key, several look at the key before.
 */
export function refusedBy(stream: SimulatedStream, message: OutgoingMessage, hasKey: boolean): boolean {
  checkStream(stream, message)
  const isReplicated = stream.config.num_replicas > 1
  if (isReplicated && hasKey) return true
  checkSequences(stream, message)
  if (hasKey) return true
  checkLastId(stream, message)
  return false
}

function checkStream({ config: { name } }: SimulatedStream, { headers }: OutgoingMessage): void {
  const expected = headers[EXPECTED_STREAM]?.[0]
  if (expected !== undefined && expected !== name)
    refuse({ code: 400, err_code: 10060, description: 'expected stream does not match' }, name)
}

function checkSequences(stream: SimulatedStream, { subject, headers }: OutgoingMessage): void {
  const ofStream = headers[EXPECTED_LAST_SEQ]?.[0]
  if (ofStream !== undefined && Number(ofStream) !== stream.lastSeq) refuseSequence(stream.lastSeq)
  const ofSubject = headers[EXPECTED_LAST_SUBJECT_SEQ]?.[0]
  if (ofSubject === undefined) return
  const last = stream.lastOf(headers[EXPECTED_LAST_SUBJECT_SEQ_SUBJECT]?.[0] ?? subject)?.seq ?? 0
  if (Number(ofSubject) !== last) refuseSequence(last)
}

const refuseSequence = (actual: number) =>
  refuse({ code: 400, err_code: 10071, description: `wrong last sequence: ${actual}` })

function checkLastId(stream: SimulatedStream, { headers }: OutgoingMessage): void {
  const expected = headers[EXPECTED_LAST_MSG_ID]?.[0]
  if (expected === undefined) return
  const last = stream.log.findLast(({ removedAs }) => removedAs !== 'lost')?.headers[MSG_ID]?.[0] ?? ''
  if (last !== expected) refuse({ code: 400, err_code: 10070, description: `wrong last msg ID: ${last}` })
}
