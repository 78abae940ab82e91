/** A page as bytes: one JSON document, or a line for each message. */
import type { CursorScope, MessageForm, Page } from '../reading.ts'
import { createEventEncoder } from '../schemas/cloud-event-out.ts'
import { createMessageEncoder, isLargeMessage, messageParts } from '../schemas/message.ts'
import { pageCursors } from '../tokens/cursor.ts'

/** How the messages of a read are written. */
export interface PageForm {
  readonly stream: string
  readonly scope: CursorScope
  readonly form: MessageForm
}

type Pieces = Generator<Uint8Array<ArrayBuffer>, void, undefined>

/** A page as JSON, piece by piece. `cursor`: the one right after it. */
export function* encodePage(page: Page, form: PageForm, cursor: string): Pieces {
  const writer = createWriter()
  writer.write('{"messages":[')
  yield* writeMessages(page, form, { writer, between: ',', after: '' })
  const gap = page.gap ? `,"gap":${encodeGap(page)}` : ''
  writer.write(`],"cursor":"${cursor}","up_to_date":${page.upToDate}${gap}}`)
  yield* writer.end()
}

/** The messages of a page as an array of CloudEvents: what else there is to say of it has no place there. */
export function* encodeEventBatch({ messages }: Page, stream: string): Pieces {
  const writer = createWriter()
  const encode = createEventEncoder(stream)
  for (const [index, message] of messages.entries()) {
    writer.write(`${index === 0 ? '[' : ','}${encode(message)}`)
    if (writer.hasPiece) yield* writer.take()
  }
  writer.write(messages.length === 0 ? '[]' : ']')
  yield* writer.end()
}

/** A page as lines, piece by piece. `isLast`: with the line that ends the answer. */
export function* encodeLines(page: Page, form: PageForm, isLast: boolean): Pieces {
  const writer = createWriter()
  if (page.gap) writer.write(`{"gap":${encodeGap(page)}}\n`)
  yield* writeMessages(page, form, { writer, between: '', after: '\n' })
  if (isLast) {
    const end = { cursor: form.scope.seal(page.position), up_to_date: page.upToDate }
    writer.write(`${JSON.stringify(end)}\n`)
  }
  yield* writer.end()
}

function encodeGap({ gap }: Page): string {
  return JSON.stringify({ from_seq: gap?.fromSeq, to_seq: gap?.toSeq, reason: 'removed' })
}

/** Each message with the cursor right after it. */
function* writeMessages(
  page: Page,
  { stream, scope, form }: PageForm,
  { writer, between, after }: { writer: Writer; between: string; after: string },
): Pieces {
  const { messages } = page
  const cursors = pageCursors(scope, page)
  const encode = createMessageEncoder(stream, form)
  const restOf = (at: number) => `"cursor":"${cursors[at]}"`
  /** Writes messages from there on, until a piece is full or one is large. As a generator it takes a tenth more of a page's time. */
  const writeSome = (from: number): number => {
    for (let at = from; at < messages.length; at += 1) {
      const message = messages[at]
      if (!message) break
      if (writer.hasPiece || isLargeMessage(message, form)) return at
      writer.write(`${at > 0 ? between : ''}${encode(message, restOf(at))}${after}`)
    }
    return messages.length
  }
  for (let at = 0; at < messages.length; ) {
    at = writeSome(at)
    if (writer.hasPiece) yield* writer.take()
    const message = messages[at]
    if (!message) break
    if (!isLargeMessage(message, form)) continue
    if (at > 0) writer.write(between)
    for (const part of messageParts(stream, form, { message, rest: restOf(at) })) {
      writer.write(part)
      if (writer.hasPiece) yield* writer.take()
    }
    writer.write(after)
    at += 1
  }
}

const UTF8 = new TextEncoder()
/** Texts are made bytes so many characters at a time: one string of a whole page would leave the processor's caches. */
const GROUP_CHARS = 16_384
const PIECE_BYTES = 262_144
/** Pieces that are kept to be written again. */
const MAX_SPARE = 8
/** UTF-8 takes at most so many bytes for one unit of a string. */
const MAX_BYTES_PER_CHAR = 3

const spare: Buffer<ArrayBuffer>[] = []

/**
 * Joins the pieces of one answer, which must not be used any more: their memory is written again. Where each page takes new
 * memory for its pieces, V8 collects garbage more often, at a seventh of a page's time.
 */
export function joined(pieces: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const whole = Buffer.concat(pieces)
  for (const { buffer } of pieces)
    if (buffer.byteLength === PIECE_BYTES && spare.length < MAX_SPARE) spare.push(Buffer.from(buffer))
  return whole
}

interface Writer {
  readonly write: (text: string) => void
  /** Whether a piece is full. */
  readonly hasPiece: boolean
  /** The pieces that are full. */
  take(): Uint8Array<ArrayBuffer>[]
  /** All that was written and not taken. */
  end(): Uint8Array<ArrayBuffer>[]
}

function createWriter(): Writer {
  let pieces: Uint8Array<ArrayBuffer>[] = []
  let piece = Buffer.alloc(0)
  let used = 0
  let group = ''

  const endPiece = () => {
    if (used > 0) pieces.push(piece.subarray(0, used))
    used = 0
  }
  const encodeGroup = () => {
    const needed = group.length * MAX_BYTES_PER_CHAR
    if (needed > PIECE_BYTES || (used === 0 && group.length < GROUP_CHARS)) {
      endPiece()
      pieces.push(UTF8.encode(group))
    } else {
      if (used === 0 || used + needed > PIECE_BYTES) {
        endPiece()
        piece = spare.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES)
      }
      used += piece.write(group, used)
    }
    group = ''
  }
  return {
    write(text) {
      group += text
      if (group.length >= GROUP_CHARS) encodeGroup()
    },
    get hasPiece() {
      return pieces.length > 0
    },
    take() {
      const taken = pieces
      pieces = []
      return taken
    },
    end() {
      if (group !== '') encodeGroup()
      endPiece()
      return pieces
    },
  }
}
