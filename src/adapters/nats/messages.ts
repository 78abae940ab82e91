/** Owns the forms in which JetStream hands out a stored message, and makes one form of them. */
import type { Msg } from 'nats.ws'
import type { MessageLookup, StoredMessage } from '../../jetstream.ts'
import { fromNanos, toNanos } from '../../schemas/time.ts'
import { type AckSubject, parseAckSubject } from './ack-subject.ts'
import { callApi } from './api.ts'
import type { Connection } from './connection.ts'
import { hasCode } from './errors.ts'
import { type HeaderBlock, headersOf, lastOf, parseHeaderBlock, toRecord, withoutLast } from './headers.ts'
import { checkedName } from './names.ts'

const NO_BYTES = new Uint8Array(0)

/** What Direct Get appends to a message's own headers. Source: NATS ADR-31, JetStream Direct Get. */
const DIRECT_GET_HEADERS = ['Nats-Stream', 'Nats-Subject', 'Nats-Sequence', 'Nats-Time-Stamp']
const DIRECT_BATCH_HEADERS = [...DIRECT_GET_HEADERS, 'Nats-Num-Pending', 'Nats-Last-Sequence']

/** A message read by a batched Direct Get; `numPending` is undefined where the server knows no batches. */
export interface DirectMessage {
  readonly message: StoredMessage
  readonly numPending: number | undefined
}

/** One time has one text, whichever way the message is read: UTC, no trailing zeros. */
const normalTime = (time: string): string => {
  const nanos = toNanos(time)
  return nanos === undefined ? time : fromNanos(nanos)
}

/**
 * A message of a batched Direct Get. Its payload is a view of the received frame, which holds its neighbours of the
 * same page: for pages, that live as long as a response.
 */
export function fromDirectGet(received: Msg, block: HeaderBlock): DirectMessage {
  const numPending = lastOf(block, 'Nats-Num-Pending')
  return {
    message: {
      subject: lastOf(block, 'Nats-Subject') ?? '',
      seq: Number(lastOf(block, 'Nats-Sequence')),
      time: normalTime(lastOf(block, 'Nats-Time-Stamp') ?? ''),
      headers: withoutLast(block, DIRECT_BATCH_HEADERS),
      payload: received.data,
    },
    numPending: numPending === undefined ? undefined : Number(numPending),
  }
}

/** A message that a consumer delivered, and where it stands. Undefined: it is no delivery. */
export function fromConsumer(
  received: Msg,
  block: HeaderBlock = headersOf(received),
): { message: StoredMessage; ack: AckSubject } | undefined {
  const ack = parseAckSubject(received.reply ?? '')
  if (!ack) return undefined
  const { subject, data: payload } = received
  const headers = toRecord(block.values)
  return { message: { subject, seq: ack.streamSeq, time: ack.time, headers, payload }, ack }
}

/** A copy that does not keep the received frame in memory, for messages that may stay. */
export function detached(message: StoredMessage): StoredMessage {
  return { ...message, payload: message.payload.slice() }
}

const fromBase64 = (text: string): Uint8Array =>
  Uint8Array.from(atob(text), (character) => character.charCodeAt(0))

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
      seq: message.seq,
      time: normalTime(message.time),
      headers: message.hdrs ? toRecord(parseHeaderBlock(fromBase64(message.hdrs)).values) : {},
      payload: message.data ? fromBase64(message.data) : NO_BYTES,
    }
  } catch (err) {
    if (hasCode(err, 'message_not_found')) return undefined
    throw err
  }
}
