/** Large messages are written part by part, as an encoder would write them whole. */
import { expect, test } from 'vitest'
import { createMessageEncoder, isLargeMessage, messageParts } from '../../src/schemas/message.ts'

const KIB = 1_024
const rest = '"cursor":"c"'
const message = (payload: Uint8Array) => ({
  subject: 'a."data":""',
  seq: 7,
  time: '2026-11-27T10:00:00.123456789Z',
  headers: { 'Content-Type': ['"data":""'] },
  payload,
})

test.each([
  ['control characters', Buffer.alloc(200 * KIB, 1)],
  ['characters of two bytes', Buffer.from('é'.repeat(60_001))],
  ['characters of three bytes', Buffer.from(`x${'€'.repeat(40_000)}`)],
  ['characters of four bytes', Buffer.from(`xy${'😀'.repeat(40_000)}`)],
  ['a byte order mark in the middle', Buffer.from(`${'x'.repeat(49_152)}\u{feff}${'y'.repeat(49_152)}`)],
  ['bytes that are no text', Buffer.alloc(200_001, 0xff)],
  ['text that ends in the middle of a character', Buffer.from('€'.repeat(40_000)).subarray(0, -1)],
])('%s', (_, payload) => {
  for (const form of ['text', 'base64'] as const) {
    expect(isLargeMessage(message(payload), form)).toBe(true)
    const parts = [...messageParts('S', form, { message: message(payload), rest })]
    expect(parts.length).toBeGreaterThan(3)
    expect(parts.join('')).toBe(createMessageEncoder('S', form)(message(payload), rest))
  }
})
