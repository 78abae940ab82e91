/** What a refused condition of a publish tells its client: how things really are. */
import { BridgeError, type ProblemMembers } from '../errors.ts'
import type { JetStream, MessageHeaders, OutgoingMessage } from '../jetstream.ts'
import {
  EXPECTED_LAST_SEQ,
  EXPECTED_LAST_SUBJECT_SEQ,
  EXPECTED_LAST_SUBJECT_SEQ_SUBJECT,
} from '../schemas/nats-headers.ts'
import { findStreamOf, ifPermitted } from './keys.ts'

/** How things are: what a condition is about, and its actual value. */
interface Actual {
  readonly text: string
  readonly members: ProblemMembers
}

/**
 * The refusal with the actual value in it. Undefined: the condition holds by now, since what it was refused for was
 * still being applied; to publish again is safe.
 */
export async function explainCondition(
  jetstream: JetStream,
  message: OutgoingMessage,
  refusal: BridgeError,
): Promise<BridgeError | undefined> {
  const told = refusal.members
  const actual =
    told.current_stream !== undefined || told.current_msg_id !== undefined
      ? describeTold(message, told)
      : await findSequence(jetstream, message, told.current_seq as number | undefined)
  return (
    actual && new BridgeError('precondition_failed', actual.text, { cause: refusal, members: actual.members })
  )
}

function describeTold(message: OutgoingMessage, told: ProblemMembers): Actual {
  const text =
    told.current_stream === undefined
      ? `The last message of the stream has ${told.current_msg_id === '' ? 'no id' : `the id "${told.current_msg_id}"`}.`
      : `The stream of "${message.subject}" is "${told.current_stream}".`
  return { text, members: told }
}

const expected = (headers: MessageHeaders, name: string): number | undefined => {
  const value = headers[name]?.[0]
  return value === undefined ? undefined : Number(value)
}

/** `told`: the sequence that the refusal names, of the subject or of the stream. */
async function findSequence(
  jetstream: JetStream,
  { subject, headers }: OutgoingMessage,
  told: number | undefined,
): Promise<Actual | undefined> {
  const ofStream = expected(headers, EXPECTED_LAST_SEQ)
  const ofSubject = expected(headers, EXPECTED_LAST_SUBJECT_SEQ)
  const filter = headers[EXPECTED_LAST_SUBJECT_SEQ_SUBJECT]?.[0] ?? subject
  // A refusal that names what one condition asks for is of the other.
  const isOfStream = ofSubject === undefined || (ofStream !== undefined && told === ofSubject)
  const wanted = isOfStream ? ofStream : ofSubject
  const current = told ?? (await lastSequence(jetstream, subject, isOfStream ? undefined : filter))
  if (told === undefined && current !== undefined && current === wanted) return undefined
  const what = isOfStream ? 'the stream' : `"${filter}"`
  return current === undefined
    ? { text: `The last sequence of ${what} is another.`, members: {} }
    : { text: `The last sequence of ${what} is ${current}.`, members: { current_seq: current } }
}

/** The last sequence of a filter, or of the whole stream that has `subject`; undefined where it may not be asked. */
async function lastSequence(
  jetstream: JetStream,
  subject: string,
  filter: string | undefined,
): Promise<number | undefined> {
  if (filter === subject) {
    const end = await ifPermitted(jetstream.lookUpSubject(subject))
    if (end?.lastSeq !== undefined) return end.lastSeq
  }
  const stream = await findStreamOf(jetstream, subject)
  if (stream === undefined) return undefined
  if (filter === undefined) return (await ifPermitted(jetstream.streamInfo(stream)))?.state.last_seq
  return await ifPermitted(
    jetstream.getMessage(stream, { lastBySubject: filter }).then((message) => message?.seq ?? 0),
  )
}
