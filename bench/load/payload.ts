/** Owns what is published: JSON text of a fixed size, as most messages are. */

/** A JSON document of exactly `bytes` bytes, 64 at least. */
export const makePayload = (bytes: number): string => {
  const document = (note: string) => JSON.stringify({ id: 123_456, region: 'eu', state: 'paid', note })
  return document('x'.repeat(bytes - document('').length))
}
