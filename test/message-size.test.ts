/** The tests of how large messages are as JSON: never larger than they are taken for. */
import { expect, test } from 'vitest'
import { escapedBytes, MOST_ESCAPED_GROWTH } from '../src/message-size.ts'

const BYTES = Array.from({ length: 128 }, (_, byte) => byte)

test.each(BYTES)(
  'a text of the character %i takes no more than it is counted for, and no more than any may',
  (byte) => {
    const text = String.fromCharCode(byte).repeat(9)
    const counted = escapedBytes(Buffer.from(text))
    expect(Buffer.byteLength(JSON.stringify(text)) - 2).toBeLessThanOrEqual(counted)
    expect(counted).toBeLessThanOrEqual(MOST_ESCAPED_GROWTH * text.length)
  },
)

test('what is no text is counted as base64, longer text by its bytes', () => {
  expect(escapedBytes(new Uint8Array(9).fill(255))).toBe(12)
  expect(escapedBytes(Buffer.from('é"'.repeat(100)))).toBe(400)
})
