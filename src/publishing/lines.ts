/** Cutting a body into its lines as it comes, never keeping more of it than a chunk and one line. */
import { BridgeError, refuse } from '../errors.ts'

/** A line as text, without its end; or why it is none. */
export type Line = string | BridgeError

const NEWLINE = 10
const LINE_ENDS = /\n+/
// A byte order mark may stand before the first line.
const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Hears how many bytes are kept of a line that has not ended. A promise is waited for before more is read; where it rejects,
 * reading ends with that.
 */
export type CountRest = (bytes: number) => Promise<void> | undefined

/**
 * The lines of a body, those that come together in one array; empty ones are left out. The last line needs no end. One
 * of more than `maxBytes` is told as too large, and the rest of it passed over. Throws what the body fails with, and then
 * gives nothing of a line that has not ended.
 */
export async function* readLines(
  body: AsyncIterable<Uint8Array>,
  maxBytes: number,
  countRest: CountRest = () => undefined,
): AsyncGenerator<readonly Line[], void, undefined> {
  const rest = new LineRest(maxBytes)
  for await (const chunk of body) {
    const lines = rest.cut(chunk)
    if (lines.length > 0) yield lines
    const counting = countRest(rest.keptBytes)
    if (counting) await counting
  }
  const lines = rest.end(new Uint8Array())
  if (lines.length > 0) yield lines
}

/** Of bytes that end with a line: its lines. */
function cut(bytes: Uint8Array): readonly Line[] {
  try {
    const text = utf8.decode(bytes)
    // A body of nothing but line ends would cost an empty line for each byte.
    return text.split(text.includes('\n\n') ? LINE_ENDS : '\n').filter(isSaid)
  } catch {
    return cutOneByOne(bytes)
  }
}

/** Where one of them is no UTF-8. */
function cutOneByOne(bytes: Uint8Array): readonly Line[] {
  const lines: Line[] = []
  for (let from = 0; from < bytes.length; ) {
    const end = bytes.indexOf(NEWLINE, from)
    lines.push(decode(bytes.subarray(from, end)))
    from = end + 1
  }
  return lines.filter((line) => typeof line !== 'string' || isSaid(line))
}

const isSaid = (line: string) => line !== '' && line.trim() !== ''

function decode(bytes: Uint8Array): Line {
  try {
    return utf8.decode(bytes)
  } catch {
    return refuse('line', 'must be UTF-8')
  }
}

/** What has come of a line that has not ended. */
class LineRest {
  readonly #maxBytes: number
  #chunks: Uint8Array[] = []
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** What is in memory of it: nothing where it is too long. */
  get keptBytes(): number {
    return this.#bytes > this.#maxBytes ? 0 : this.#bytes
  }

  /** The lines that end in a chunk. */
  cut(chunk: Uint8Array): readonly Line[] {
    const first = chunk.indexOf(NEWLINE)
    const last = chunk.lastIndexOf(NEWLINE)
    const lines =
      first === -1 ? [] : [...this.end(chunk.subarray(0, first)), ...cut(chunk.subarray(first + 1, last + 1))]
    this.add(chunk.subarray(last + 1))
    return lines
  }

  add(chunk: Uint8Array): void {
    this.#bytes += chunk.length
    if (this.#bytes > this.#maxBytes) this.#chunks = []
    else if (chunk.length > 0) this.#chunks.push(chunk)
  }

  /** The line with this at its end: one, or none where it is empty. */
  end(chunk: Uint8Array): readonly Line[] {
    this.add(chunk)
    const bytes = this.#bytes
    const line = bytes > this.#maxBytes ? tooLong(this.#maxBytes) : decode(Buffer.concat(this.#chunks))
    this.#chunks = []
    this.#bytes = 0
    return typeof line !== 'string' || isSaid(line) ? [line] : []
  }
}

const tooLong = (maxBytes: number) =>
  new BridgeError('payload_too_large', `A line may have ${maxBytes} bytes.`)
