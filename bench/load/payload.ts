/** What is published: text of a fixed size, JSON as most messages are, and the number that readers check. */

/** Begins the number of a message; it stands nowhere else in a payload or in what Sluice and nchan write around it. */
export const MARK = 126
export const NUMBER_DIGITS = 9
const UNNUMBERED = `~${'0'.repeat(NUMBER_DIGITS)}`
const DIGIT_ZERO = 48

const fitted = (bytes: number, document: (note: string) => object): string => {
  const write = (note: string) => JSON.stringify(document(note))
  return write('x'.repeat(bytes - write('').length))
}

/** A JSON document of exactly `bytes` bytes, 64 at least. */
export const makePayload = (bytes: number): string =>
  fitted(bytes, (note) => ({ id: 123_456, region: 'eu', state: 'paid', note }))

/** The same with a number to come; 96 bytes at least, so that more follows on the number than may be cut off it. */
export const makeNumbered = (bytes: number): Buffer =>
  Buffer.from(fitted(bytes, (note) => ({ id: UNNUMBERED, region: 'eu', state: 'paid', note })))

/** Text of exactly `bytes` bytes, 32 at least, that stands in a JSON string as it is. */
export const makeText = (bytes: number): string => 'id=123456 region=eu state=paid '.padEnd(bytes, 'x')

/** Writes the number behind the mark at `at`. */
export const writeNumber = (payload: Buffer, at: number, number: number): void => {
  let rest = number
  for (let digit = NUMBER_DIGITS; digit > 0; digit--) {
    payload[at + digit] = DIGIT_ZERO + (rest % 10)
    rest = Math.floor(rest / 10)
  }
}

/** Reads the number behind the mark at `at`; -1 where something else stands among its digits. */
export const readNumber = (data: Buffer, at: number): number => {
  let number = 0
  for (let digit = 1; digit <= NUMBER_DIGITS; digit++) {
    const value = (data[at + digit] ?? 0) - DIGIT_ZERO
    if (value < 0 || value > 9) return -1
    number = number * 10 + value
  }
  return number
}
