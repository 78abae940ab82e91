/** Bounds of the headers of one message: how many a publisher may set, and how long all of them may be. */
import { refuse } from '../errors.ts'
import type { MessageHeaders } from '../jetstream.ts'

/** Header values of one message, over all names. */
export const MAX_HEADERS = 1_000
/** Bytes of all names and values, with the four that stand around each value. */
export const MAX_HEADER_BYTES = 65_536

const AROUND_A_VALUE = 4
/** Of a UTF-16 unit in UTF-8, at most. */
const BYTES_PER_CHAR = 3

/** Throws `invalid_request` where there are too many headers, or too long ones. Stops where the bound is passed. */
export function requireBoundedHeaders(headers: MessageHeaders): void {
  let count = 0
  let chars = 0
  for (const name in headers)
    for (const value of headers[name] ?? []) {
      count += 1
      chars += name.length + value.length + AROUND_A_VALUE
      if (count > MAX_HEADERS) throw refuse('headers', `must be at most ${MAX_HEADERS}`)
      if (chars > MAX_HEADER_BYTES) throw tooLong()
    }
  if (chars * BYTES_PER_CHAR > MAX_HEADER_BYTES && bytesOf(headers) > MAX_HEADER_BYTES) throw tooLong()
}

const tooLong = () => refuse('headers', `must be at most ${MAX_HEADER_BYTES} bytes together`)

function bytesOf(headers: MessageHeaders): number {
  let bytes = 0
  for (const name in headers)
    for (const value of headers[name] ?? [])
      bytes += Buffer.byteLength(name) + Buffer.byteLength(value) + AROUND_A_VALUE
  return bytes
}
