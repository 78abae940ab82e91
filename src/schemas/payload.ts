/** Payloads as text: UTF-8 where they are that, base64 where they are not, and JSON as it was written. */

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

/** The JSON value; undefined, which JSON does not have, where the text is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** JSON as it stands, on one line: a line break stands between tokens alone, in a string it is escaped. */
export const toOneLine = (json: string): string => json.replace(/[\r\n]+/g, ' ')
