/** The test that what passes for plain acknowledgements is what their schema takes, unchanged. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { acksSchema, isPlain } from '../../src/schemas/ack.ts'

const ack = fc.record(
  {
    token: fc.oneof(fc.constantFrom('a1.k.x', ''), fc.anything()),
    action: fc.oneof(fc.constantFrom('ack', 'nak', 'progress', 'term', 'toString'), fc.anything()),
    delay_ms: fc.constantFrom(1, -1),
    reason: fc.constantFrom('done', '\n'),
    __proto__: fc.constant({}),
    other: fc.anything(),
  },
  { requiredKeys: ['token', 'action'] },
)
const plainAck = fc.record({
  token: fc.string({ minLength: 1 }),
  action: fc.constantFrom('ack', 'nak', 'progress', 'term'),
})
const body = fc.oneof(
  fc.record({ acks: fc.array(fc.oneof({ weight: 9, arbitrary: plainAck }, ack), { maxLength: 5 }) }),
  fc.record({ acks: fc.array(plainAck), other: fc.anything() }, { requiredKeys: ['acks'] }),
  fc.constantFrom(999, 1_000, 1_001).map((length) => ({
    acks: Array.from({ length }, () => ({ token: 'x', action: 'ack' })),
  })),
  fc.anything(),
)

describe('settleDeliveries', () => {
  it('what is plain is what the schema takes, unchanged', () => {
    let plain = 0
    fc.assert(
      fc.property(body, (said) => {
        // As it comes: out of a JSON text.
        const text = JSON.stringify(said)
        const parsed: unknown = text === undefined ? undefined : JSON.parse(text)
        if (!isPlain(parsed)) return
        plain += 1
        expect(acksSchema.parse(parsed)).toEqual(parsed)
      }),
      { numRuns: 1_000 },
    )
    expect(plain).toBeGreaterThan(100)
  })

  it('tokens and actions alone are plain', () => {
    fc.assert(
      fc.property(fc.array(plainAck, { minLength: 1 }), (acks) => {
        expect(isPlain({ acks })).toBe(true)
      }),
    )
  })
})
