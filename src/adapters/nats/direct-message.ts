/** A message as a batched Direct Get gives it. Source: NATS ADR-31, JetStream Direct Get. */
import type { Msg } from 'nats.ws'
import type { MessageHeaders, StoredMessage } from '../../jetstream.ts'
import { exactSeq } from './exact-seq.ts'
import { type HeaderBlock, lastOf, parseHeaderBlock, toRecord, withoutLast } from './headers.ts'
import { normalTime } from './messages.ts'

/** What Direct Get appends to a message's own headers. */
const DIRECT_HEADERS = [
  'Nats-Stream',
  'Nats-Subject',
  'Nats-Sequence',
  'Nats-Time-Stamp',
  'Nats-Num-Pending',
  'Nats-Last-Sequence',
]
const NO_HEADERS: MessageHeaders = Object.freeze({})

/** `numPending` is undefined where the server knows no batches. */
export interface DirectMessage {
  readonly message: StoredMessage
  readonly numPending: number | undefined
}

/** What Direct Get appends, with the empty line that ends the block: as nats-server writes it. */
const APPENDED =
  /\r\nNats-Stream: [!-~]+\r\nNats-Subject: ([!-~]+)\r\nNats-Sequence: (\d{1,16})\r\nNats-Time-Stamp: (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,8}[1-9])?Z)\r\nNats-Num-Pending: (\d{1,16})\r\n(?:Nats-Last-Sequence: \d+\r\n)?\r\n/y
const APPENDED_FROM = '\r\nNats-Stream: '
const VERSION_LENGTH = 'NATS/1.0'.length

/**
 * Takes a message of a batch apart. Its payload is a view of the received frame, which holds its neighbours of the same page: for
 * pages, that live as long as a response.
 */
export function readDirectMessage(received: Msg, block: HeaderBlock): DirectMessage {
  // One character for each byte.
  const text = block.bytes.toString('latin1')
  const found = findAppended(text)
  if (!found) return readAnyBlock(received, block)
  const [, subject = '', seq, time = '', numPending] = found
  const headers = readOwnHeaders(block.bytes, found.index)
  const message = { subject, seq: exactSeq(Number(seq)), time, headers, payload: received.data }
  return { message, numPending: Number(numPending) }
}

/** What was appended to a block: behind a publisher's own headers, named the same or not. */
function findAppended(text: string): RegExpExecArray | undefined {
  const plain = matchFrom(VERSION_LENGTH, text)
  if (plain) return plain
  const at = text.lastIndexOf(APPENDED_FROM)
  return at > VERSION_LENGTH ? matchFrom(at, text) : undefined
}

/** What was appended stands at the end. */
function matchFrom(from: number, text: string): RegExpExecArray | undefined {
  APPENDED.lastIndex = from
  const found = APPENDED.exec(text)
  return found && APPENDED.lastIndex === text.length ? found : undefined
}

function readOwnHeaders(block: Buffer, length: number): MessageHeaders {
  if (length === VERSION_LENGTH) return NO_HEADERS
  return toRecord(parseHeaderBlock(block.subarray(0, length)).values)
}

/** A publisher may have set any header, those that Direct Get appends among them. */
function readAnyBlock(received: Msg, block: HeaderBlock): DirectMessage {
  const numPending = lastOf(block, 'Nats-Num-Pending')
  return {
    message: {
      subject: lastOf(block, 'Nats-Subject') ?? '',
      seq: exactSeq(Number(lastOf(block, 'Nats-Sequence'))),
      time: normalTime(lastOf(block, 'Nats-Time-Stamp') ?? ''),
      headers: withoutLast(block, DIRECT_HEADERS),
      payload: received.data,
    },
    numPending: numPending === undefined ? undefined : Number(numPending),
  }
}
