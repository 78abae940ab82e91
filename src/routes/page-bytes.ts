/** Owns a page as bytes: one JSON document, or a line for each message. */
import type { CursorScope, MessageForm, Page } from '../reading.ts'
import { createEventEncoder } from '../schemas/cloud-event-out.ts'
import { createMessageEncoder } from '../schemas/message.ts'
import { pageCursors } from '../tokens/cursor.ts'

/** How the messages of a read are written. */
export interface PageForm {
  readonly stream: string
  readonly scope: CursorScope
  readonly form: MessageForm
}

/** A page as JSON. `cursor`: the one right after it. */
export function encodePage(page: Page, form: PageForm, cursor: string): Uint8Array<ArrayBuffer> {
  const writer = createWriter()
  writer.write('{"messages":[')
  writeMessages(page, form, { write: writer.write, between: ',', after: '' })
  const gap = page.gap ? `,"gap":${encodeGap(page)}` : ''
  writer.write(`],"cursor":"${cursor}","up_to_date":${page.upToDate}${gap}}`)
  return Buffer.concat(writer.end())
}

/** The messages of a page as an array of CloudEvents: what else there is to say of it has no place there. */
export function encodeEventBatch(page: Page, stream: string): Uint8Array<ArrayBuffer> {
  const writer = createWriter()
  const encode = createEventEncoder(stream)
  for (const [index, message] of page.messages.entries())
    writer.write(`${index === 0 ? '[' : ','}${encode(message)}`)
  writer.write(page.messages.length === 0 ? '[]' : ']')
  return Buffer.concat(writer.end())
}

/** A page as lines, in a few pieces. `isLast`: with the line that ends the answer. */
export function encodeLines(page: Page, form: PageForm, isLast: boolean): readonly Uint8Array[] {
  const writer = createWriter()
  if (page.gap) writer.write(`{"gap":${encodeGap(page)}}\n`)
  writeMessages(page, form, { write: writer.write, between: '', after: '\n' })
  if (isLast) {
    const end = { cursor: form.scope.seal(page.position), up_to_date: page.upToDate }
    writer.write(`${JSON.stringify(end)}\n`)
  }
  return writer.end()
}

function encodeGap({ gap }: Page): string {
  return JSON.stringify({ from_seq: gap?.fromSeq, to_seq: gap?.toSeq, reason: 'removed' })
}

/** Each message with the cursor right after it. */
function writeMessages(
  page: Page,
  { stream, scope, form }: PageForm,
  { write, between, after }: { write: (text: string) => void; between: string; after: string },
): void {
  const cursors = pageCursors(scope, page)
  const encode = createMessageEncoder(stream, form)
  let before = ''
  for (const [index, message] of page.messages.entries()) {
    write(`${before}${encode(message, `"cursor":"${cursors[index]}"`)}${after}`)
    before = between
  }
}

const UTF8 = new TextEncoder()
/** Texts are made bytes so many characters at a time: one string of a whole page would leave the processor's caches. */
const GROUP_CHARS = 16_384
const PIECE_BYTES = 262_144
/** UTF-8 takes at most so many bytes for one unit of a string. */
const MAX_BYTES_PER_CHAR = 3

interface Writer {
  readonly write: (text: string) => void
  /** All that was written. */
  end(): Uint8Array<ArrayBuffer>[]
}

function createWriter(): Writer {
  const pieces: Uint8Array<ArrayBuffer>[] = []
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
        piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
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
    end() {
      if (group !== '') encodeGroup()
      endPiece()
      return pieces
    },
  }
}
