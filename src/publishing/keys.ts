/** Idempotency keys: whether a stream has seen one, and with which message. */
import { BridgeError } from '../errors.ts'
import type { JetStream, MessageHeaders, OutgoingMessage, PubAck, StoredMessage } from '../jetstream.ts'
import {
  EXPECTED_LAST_MSG_ID,
  EXPECTED_LAST_SEQ,
  INCR,
  LEVEL_OF_2_12,
  MSG_ID,
} from '../schemas/nats-headers.ts'

/** The id of a message that has a key. */
export const keyOf = ({ headers }: OutgoingMessage): string | undefined => headers[MSG_ID]?.[0]

/**
 * Checks that what the stream has under the key of a message is that message, as far as it still has it, or the
 * credential may look. Throws `idempotency_conflict`.
 */
export async function requireSame(
  jetstream: JetStream,
  message: OutgoingMessage,
  ack: PubAck,
): Promise<void> {
  const stored = await ifPermitted(jetstream.getMessage(ack.stream, { seq: ack.seq }))
  if (!stored || !hasSameKey(message, stored)) return
  const isPayload = !hasSameContent(message, stored)
  if (!isPayload && (await createSubjectCheck(jetstream, ack.stream)(message, stored))) return
  throw new BridgeError(
    'idempotency_conflict',
    `The key was used for another ${isPayload ? 'payload' : 'subject'}, at sequence ${ack.seq} of stream "${ack.stream}".`,
  )
}

/** Whether a stored message is this one. */
type IsSame = (message: OutgoingMessage, stored: StoredMessage) => Promise<boolean>

/** Compares key, content and subject with what `stream` has stored. */
export function createComparison(jetstream: JetStream, stream: string): IsSame {
  const isOfSubject = createSubjectCheck(jetstream, stream)
  return async (message, stored) =>
    hasSameKey(message, stored) && hasSameContent(message, stored) && (await isOfSubject(message, stored))
}

const hasSameKey = (message: OutgoingMessage, stored: StoredMessage) =>
  keyOf(message) === stored.headers[MSG_ID]?.[0]

/** An account may map a subject to several by their weights: so often is asked what becomes of it. */
const LOOKS = 8

/** Whether a stored message may have been published to the subject of a message: it may be mapped or transformed on the way. */
function createSubjectCheck(jetstream: JetStream, stream: string): IsSame {
  let renames: Promise<boolean> | undefined
  return async ({ subject }, stored) => {
    if (stored.subject === subject) return true
    let isSure = true
    for (let look = 0; look < LOOKS; look += 1) {
      const end = await ifPermitted(jetstream.lookUpSubject(subject))
      if (end?.lastSeq === undefined) {
        isSure = false
        break
      }
      const last =
        end.lastSeq === 0
          ? undefined
          : await ifPermitted(jetstream.getMessage(end.stream, { seq: end.lastSeq }))
      if (last?.subject === stored.subject) return true
      if (end.lastSeq > 0 && !last) isSure = false
    }
    if (isSure) return false
    renames ??= mayRename(jetstream, stream)
    return await renames
  }
}

/** What is stored of a counter is its new value. */
function hasSameContent({ payload, headers }: OutgoingMessage, stored: StoredMessage): boolean {
  if (headers[INCR] !== undefined) return headers[INCR][0] === stored.headers[INCR]?.[0]
  return Buffer.compare(payload, stored.payload) === 0
}

async function mayRename(jetstream: JetStream, stream: string): Promise<boolean> {
  const info = await ifPermitted(jetstream.streamInfo(stream))
  return info === undefined || info.config.subject_transform !== undefined
}

/** The stream that takes what is published to a subject, also where an account maps it; undefined: none, or it may not be asked. */
export async function findStreamOf(jetstream: JetStream, subject: string): Promise<string | undefined> {
  const listening = await ifPermitted(jetstream.streamOf(subject))
  return listening ?? (await ifPermitted(jetstream.lookUpSubject(subject)))?.stream
}

/**
 * Where the stream has the key of a message; undefined: nowhere, or the credential may not look.
 *
 * A publish is refused by its condition before its key is looked at where the stream has one replica (nats-server 2.11 to
 * 2.15), so a retry of what was stored has to be found. The stream is asked with the key and a condition that never
 * holds and is looked at after it: which, depends on its replicas. A key that it has forgotten may still stand at the last
 * message of the subject.
 */
export async function findByKey(jetstream: JetStream, message: OutgoingMessage): Promise<PubAck | undefined> {
  const key = keyOf(message)
  const stream = key && (await findStreamOf(jetstream, message.subject))
  const info = stream ? await ifPermitted(jetstream.streamInfo(stream)) : undefined
  if (!key || !stream || !info) return undefined
  const isReplicated = info.config.num_replicas !== 1
  if (!isReplicated || (await jetstream.server()).apiLevel >= LEVEL_OF_2_12) {
    const never = isReplicated ? NEVER_OF_REPLICAS : { [EXPECTED_LAST_MSG_ID]: [crypto.randomUUID()] }
    const found = await askForKey(jetstream, message.subject, { [MSG_ID]: [key], ...never })
    if (found) return found
  }
  const end = await ifPermitted(jetstream.lookUpSubject(message.subject))
  const lookup = end?.lastSeq ? { seq: end.lastSeq } : { lastBySubject: message.subject }
  const last = await ifPermitted(jetstream.getMessage(stream, lookup))
  return last?.headers[MSG_ID]?.[0] === key ? { stream, seq: last.seq, duplicate: true } : undefined
}

/** Replicas look at this one before they agree on anything: any later one would leave the key behind as one in process. */
const NEVER_OF_REPLICAS: MessageHeaders = { [EXPECTED_LAST_SEQ]: [String(Number.MAX_SAFE_INTEGER)] }

async function askForKey(
  jetstream: JetStream,
  subject: string,
  headers: MessageHeaders,
): Promise<PubAck | undefined> {
  try {
    return await jetstream.publish({ subject, payload: new Uint8Array(), headers })
  } catch (failure) {
    if (failure instanceof BridgeError && failure.code === 'precondition_failed') return undefined
    throw failure
  }
}

/** Undefined also where the credential may not ask. */
export async function ifPermitted<Answer>(asked: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await asked
  } catch (failure) {
    if (failure instanceof BridgeError && failure.code === 'forbidden') return undefined
    throw failure
  }
}
