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
  const writer = new Writer()
  writer.write('{"messages":[')
  yield* writeMessages(page, form, { writer, between: ',', after: '' })
  const gap = page.gap ? `,"gap":${encodeGap(page)}` : ''
  writer.write(`],"cursor":"${cursor}","up_to_date":${page.upToDate}${gap}}`)
  yield* writer.end()
}

/** The messages of a page as an array of CloudEvents: what else there is to say of it has no place there. */
export function* encodeEventBatch({ messages }: Page, stream: string): Pieces {
  const writer = new Writer()
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
  const writer = new Writer()
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

/** Writes texts as bytes, piece by piece. */
class Writer {
  #pieces: Uint8Array<ArrayBuffer>[] = []
  #piece: Buffer<ArrayBuffer> | undefined
  #used = 0
  #group = ''

  write(text: string): void {
    this.#group += text
    if (this.#group.length >= GROUP_CHARS) this.#encodeGroup()
  }

  /** Whether a piece is full. */
  get hasPiece(): boolean {
    return this.#pieces.length > 0
  }

  /** The pieces that are full. */
  take(): Uint8Array<ArrayBuffer>[] {
    const taken = this.#pieces
    this.#pieces = []
    return taken
  }

  /** All that was written and not taken. */
  end(): Uint8Array<ArrayBuffer>[] {
    if (this.#group !== '') this.#encodeGroup()
    this.#endPiece()
    return this.#pieces
  }

  #encodeGroup(): void {
    const group = this.#group
    this.#group = ''
    const needed = group.length * MAX_BYTES_PER_CHAR
    if (needed > PIECE_BYTES || (!this.#piece && group.length < GROUP_CHARS)) {
      this.#endPiece()
      this.#pieces.push(UTF8.encode(group))
      return
    }
    if (this.#used + needed > PIECE_BYTES) this.#endPiece()
    this.#piece ??= spare.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES)
    this.#used += this.#piece.write(group, this.#used)
  }

  #endPiece(): void {
    if (this.#piece) this.#pieces.push(this.#piece.subarray(0, this.#used))
    this.#piece = undefined
    this.#used = 0
  }
}
