/** How token contents are packed: texts and numbers one after another, small and in a fixed order. */

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

// biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII is meant.
const ASCII = /^[\x00-\x7f]*$/

/**
 * Packs texts as length-prefixed UTF-8, 65,535 bytes each at most.
 * A format's version is in its token's purpose, so the order of the fields is the format.
 */
export function packFields(fields: readonly string[]): Uint8Array {
  // Nearly all are short and ASCII: then one text of them all is encoded at once.
  let text = ''
  for (const field of fields) text += String.fromCharCode(field.length >> 8, field.length & 0xff) + field
  if (ASCII.test(text)) return Buffer.from(text, 'latin1')
  const encoded = fields.map((field) => encoder.encode(field))
  const packed = new Uint8Array(encoded.reduce((size, field) => size + 2 + field.length, 0))
  let at = 0
  for (const field of encoded) {
    packed[at] = field.length >> 8
    packed[at + 1] = field.length & 0xff
    packed.set(field, at + 2)
    at += 2 + field.length
  }
  return packed
}

/** Undoes `packFields`. Undefined where the bytes do not hold exactly `count` fields. */
export function unpackFields(packed: Uint8Array, count: number): string[] | undefined {
  const { buffer, byteOffset, length } = packed
  const text = Buffer.from(buffer, byteOffset, length).toString('latin1')
  const isAscii = ASCII.test(text)
  const fields: string[] = []
  let at = 0
  while (at + 2 <= length) {
    const from = at + 2
    at = from + ((packed[at] ?? 0) << 8) + (packed[at + 1] ?? 0)
    if (at > length) return undefined
    fields.push(isAscii ? text.slice(from, at) : decoder.decode(packed.subarray(from, at)))
  }
  return at === length && fields.length === count ? fields : undefined
}
