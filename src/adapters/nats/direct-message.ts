/** Owns a message as a batched Direct Get gives it. Source: NATS ADR-31, JetStream Direct Get. */
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

/** Takes the messages of one batch apart. */
export type ReadDirectMessage = (received: Msg, block: HeaderBlock) => DirectMessage

/** What Direct Get appends, with the empty line that ends the block: as nats-server writes it. */
const APPENDED =
  /\r\nNats-Stream: [!-~]+\r\nNats-Subject: ([!-~]+)\r\nNats-Sequence: (\d{1,16})\r\nNats-Time-Stamp: (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{0,8}[1-9])?Z)\r\nNats-Num-Pending: (\d{1,16})\r\n(?:Nats-Last-Sequence: \d+\r\n)?\r\n/y
const APPENDED_FROM = '\r\nNats-Stream: '
const VERSION_LENGTH = 'NATS/1.0'.length

/**
 * A reader for the messages of one batch. Their payloads are views of the received frames, which hold their neighbours
 * of the same page: for pages, that live as long as a response.
 */
export function createDirectReader(): ReadDirectMessage {
  return (received, block) => {
    const { buffer, byteOffset, byteLength } = block.bytes
    const found = findAppended(textOf(buffer), byteOffset + VERSION_LENGTH, byteOffset + byteLength)
    if (!found) return readAnyBlock(received, block)
    const [, subject = '', seq, time = '', numPending] = found
    const headers = readOwnHeaders(block.bytes, found.index - byteOffset)
    const message = { subject, seq: exactSeq(Number(seq)), time, headers, payload: received.data }
    return { message, numPending: Number(numPending) }
  }
}

/** What was appended to a block that has its first header at `from`: behind a publisher's own, named the same or not. */
function findAppended(text: string, from: number, end: number): RegExpExecArray | undefined {
  const plain = matchUpTo(end, text, from)
  if (plain) return plain
  const at = text.lastIndexOf(APPENDED_FROM, end)
  return at > from ? matchUpTo(end, text, at) : undefined
}

function matchUpTo(end: number, text: string, from: number): RegExpExecArray | undefined {
  APPENDED.lastIndex = from
  const found = APPENDED.exec(text)
  return found && APPENDED.lastIndex === end ? found : undefined
}

function readOwnHeaders(block: Uint8Array, length: number): MessageHeaders {
  if (length === VERSION_LENGTH) return NO_HEADERS
  return toRecord(parseHeaderBlock(block.subarray(0, length)).values)
}

/** One for all batches: a frame holds messages of many where many are read at once, and comes as a whole. */
const textOf = createFrameReader()

/**
 * Frames as text, a character for each byte; each is made text once, since it holds many messages. It is let go as soon as they
 * are taken apart, which nats.ws does in one go: V8 keeps a text of this size for long if it is there when it collects garbage.
 */
function createFrameReader(): (frame: ArrayBufferLike) => string {
  let last: ArrayBufferLike | undefined
  let text = ''
  const letGo = () => {
    last = undefined
    text = ''
  }
  return (frame) => {
    if (frame === last) return text
    last = frame
    text = Buffer.from(frame).toString('latin1')
    queueMicrotask(letGo)
    return text
  }
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
