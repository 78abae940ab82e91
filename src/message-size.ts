/** How much memory messages take: as they are, and as JSON. */
import type { StoredMessage } from './jetstream.ts'

const QUOTE = 34
const BACKSLASH = 92
const CONTROLS = 32
/** JSON writes a control character as `\u0001`: a byte becomes six. */
export const MOST_ESCAPED_GROWTH = 6

/** How many more bytes JSON takes for each byte. By a table: to look at a byte by comparisons takes several times as long. */
const ESCAPES = new Uint8Array(256).fill(MOST_ESCAPED_GROWTH - 1, 0, CONTROLS)
ESCAPES[QUOTE] = 1
ESCAPES[BACKSLASH] = 1

/** Of a payload as a JSON string, or as base64 where it is no text. */
export function escapedBytes(payload: Uint8Array): number {
  const { length } = payload
  let bytes = length
  for (let at = 0; at < length; at += 1) bytes += ESCAPES[payload[at] ?? 0] ?? 0
  return Math.max(bytes, Math.ceil(length / 3) * 4)
}

/** Payload and headers of a message, bytes. */
export function messageBytes({ payload, headers }: Pick<StoredMessage, 'payload' | 'headers'>): number {
  let bytes = payload.length
  for (const name in headers) {
    bytes += name.length
    for (const value of headers[name] ?? []) bytes += value.length
  }
  return bytes
}

/** What a message takes besides its bytes. */
const OVERHEAD_BYTES = 200

/** What messages take in memory together, bytes. */
export function heldBytes(messages: readonly StoredMessage[]): number {
  let bytes = OVERHEAD_BYTES * messages.length
  for (const message of messages) bytes += messageBytes(message)
  return bytes
}
