/** How much memory messages take: as they are, and as JSON. */
import type { StoredMessage } from './jetstream.ts'

const QUOTE = 34
const BACKSLASH = 92
const SPACE = 32
/** Of a control character, written as `\\u0001`. */
const ESCAPED_BYTES = 6

/** Of a payload as a JSON string, or as base64 where it is no text. */
export function escapedBytes(payload: Uint8Array): number {
  let bytes = payload.length
  for (const byte of payload) {
    if (byte < SPACE) bytes += ESCAPED_BYTES - 1
    else if (byte === QUOTE || byte === BACKSLASH) bytes += 1
  }
  return Math.max(bytes, Math.ceil(payload.length / 3) * 4)
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
