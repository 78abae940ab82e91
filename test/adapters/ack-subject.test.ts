/** The tests of reading a delivery's reply subject. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAckSubject, parseAckSubject } from '../../src/adapters/nats/ack-subject.ts'
import { fromNanos, fromNanosText } from '../../src/schemas/time.ts'

const NUMBERS = '2.41.7.1763676000123456789.12'
const READ = {
  deliveryCount: 2,
  streamSeq: 41,
  consumerSeq: 7,
  time: '2025-11-20T22:00:00.123456789Z',
  numPending: 12,
}

describe('the reply subject of a delivery', () => {
  it.each([`$JS.ACK.S.c.${NUMBERS}`, `$JS.ACK.hub.A1.S.c.${NUMBERS}`, `$JS.ACK._.A1.S.c.${NUMBERS}.x7.more`])(
    'read: %s',
    (subject) => {
      expect(parseAckSubject(subject)).toEqual(READ)
      expect(isAckSubject(subject)).toBe(true)
    },
  )

  it.each([
    '',
    'orders.eu',
    '$JS.ACK',
    `$JS.API.S.c.${NUMBERS}`,
    `x.$JS.ACK.S.c.${NUMBERS}`,
    `$JS.ACK.S.${NUMBERS}`,
    `$JS.ACK.S.c.${NUMBERS}.x`,
    `$JS.ACK.S.c.2.41.x.1.12`,
    `$JS.ACK.S.c.2.41..1.12`,
  ])('not one: %s', (subject) => {
    expect(parseAckSubject(subject)).toBeUndefined()
    expect(isAckSubject(subject)).toBe(false)
  })

  it('its nanoseconds are printed as those of a number are', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 8_640_000_000_000_000_000_000n }), (nanos) => {
        expect(fromNanosText(nanos.toString())).toBe(fromNanos(nanos))
      }),
    )
  })
})
