/** Owns idempotency keys: whether a stream has seen one, and with which message. */
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
  if (!stored || keyOf(message) !== stored.headers[MSG_ID]?.[0] || isSame(message, stored)) return
  const isPayload = !hasSameContent(message, stored)
  if (!isPayload && (await isRenaming(jetstream, ack.stream))) return
  throw new BridgeError(
    'idempotency_conflict',
    `The key was used for another ${isPayload ? 'payload' : 'subject'}, at sequence ${ack.seq} of stream "${ack.stream}".`,
  )
}

/** Whether a stored message is one with this subject, content and key. */
export function isSame(message: OutgoingMessage, stored: StoredMessage): boolean {
  const hasSameKey = keyOf(message) === stored.headers[MSG_ID]?.[0]
  return hasSameKey && stored.subject === message.subject && hasSameContent(message, stored)
}

/** What is stored of a counter is its new value. */
function hasSameContent({ payload, headers }: OutgoingMessage, stored: StoredMessage): boolean {
  if (headers[INCR] !== undefined) return headers[INCR][0] === stored.headers[INCR]?.[0]
  return Buffer.compare(payload, stored.payload) === 0
}

async function isRenaming(jetstream: JetStream, stream: string): Promise<boolean> {
  const info = await ifPermitted(jetstream.streamInfo(stream))
  return info === undefined || info.config.subject_transform !== undefined
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
  const stream = key && (await ifPermitted(jetstream.streamOf(message.subject)))
  const info = stream ? await ifPermitted(jetstream.streamInfo(stream)) : undefined
  if (!key || !stream || !info) return undefined
  const isReplicated = info.config.num_replicas !== 1
  if (!isReplicated || (await jetstream.server()).apiLevel >= LEVEL_OF_2_12) {
    const never = isReplicated ? NEVER_OF_REPLICAS : { [EXPECTED_LAST_MSG_ID]: [crypto.randomUUID()] }
    const found = await askForKey(jetstream, message.subject, { [MSG_ID]: [key], ...never })
    if (found) return found
  }
  const last = await ifPermitted(jetstream.getMessage(stream, { lastBySubject: message.subject }))
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
