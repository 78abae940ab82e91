/** The forms in which JetStream hands out a stored message, and makes one form of them. */
import type { Msg } from 'nats.ws'
import type { MessageLookup, StoredMessage } from '../../jetstream.ts'
import { fromNanos, toNanos } from '../../schemas/time.ts'
import { type AckSubject, isAckSubject, parseAckSubject } from './ack-subject.ts'
import { callApi } from './api.ts'
import type { Connection } from './connection.ts'
import { hasCode } from './errors.ts'
import { exactSeq } from './exact-seq.ts'
import { type HeaderBlock, headersOf, parseHeaderBlock, toRecord } from './headers.ts'
import { checkedName } from './names.ts'

const NO_BYTES = new Uint8Array(0)

/**
 * One time has one text, whichever way the message is read: UTC, no trailing zeros. What is no time is told as 1970's
 * first moment, so that a text that is not of this form is never handed on.
 */
export const normalTime = (time: string): string => fromNanos(toNanos(time) ?? 0n)

/** A message that a consumer delivered, and where it stands. Undefined: it is no delivery. */
export function fromConsumer(
  received: Msg,
  block: HeaderBlock = headersOf(received),
): { message: StoredMessage; ack: AckSubject } | undefined {
  const ack = parseAckSubject(received.reply ?? '')
  if (!ack) return undefined
  const { subject, data: payload } = received
  const headers = toRecord(block.values)
  return { message: { subject, seq: exactSeq(ack.streamSeq), time: ack.time, headers, payload }, ack }
}

/**
 * Whether a consumer sent this instead of a message. A stored message may begin its headers with a status as well, which
 * its publisher wrote: what is to be acknowledged is a message.
 */
export const isStatus = (received: Msg, { status }: HeaderBlock): boolean =>
  status !== 0 && !isAckSubject(received.reply ?? '')

/** A copy that does not keep the received frame in memory, for messages that may stay. */
export function detached(message: StoredMessage): StoredMessage {
  return { ...message, payload: message.payload.slice() }
}

/** In one go: character by character, a message of a megabyte would cost tens of them, and as many milliseconds. */
const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'))

interface StoredMessageReply {
  readonly message: {
    readonly subject: string
    readonly seq: number
    readonly time: string
    readonly data?: string
    readonly hdrs?: string
  }
}

const lookupBody = (lookup: MessageLookup): object => {
  if ('lastBySubject' in lookup) return { last_by_subj: lookup.lastBySubject }
  const { seq } = lookup
  return 'nextBySubject' in lookup ? { seq, next_by_subj: lookup.nextBySubject } : { seq }
}

/** `JetStream.getMessage`. */
export async function getMessage(
  connection: Connection,
  stream: string,
  lookup: MessageLookup,
): Promise<StoredMessage | undefined> {
  try {
    const path = `STREAM.MSG.GET.${checkedName('stream', stream)}`
    const { message } = await callApi<StoredMessageReply>(connection, path, lookupBody(lookup))
    return {
      subject: message.subject,
      seq: exactSeq(message.seq),
      time: normalTime(message.time),
      headers: message.hdrs ? toRecord(parseHeaderBlock(fromBase64(message.hdrs)).values) : {},
      payload: message.data ? fromBase64(message.data) : NO_BYTES,
    }
  } catch (err) {
    if (hasCode(err, 'message_not_found')) return undefined
    throw err
  }
}
