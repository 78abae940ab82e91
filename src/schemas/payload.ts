/** Owns payloads as text: UTF-8 where they are that, base64 where they are not. */

// `ignoreBOM` keeps a byte order mark: a payload is given back byte for byte.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The payload as text; undefined where it is not valid UTF-8. */
export function decodeText(payload: Uint8Array): string | undefined {
  try {
    return utf8.decode(payload)
  } catch {
    return undefined
  }
}

export function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
