/** What a refusal names of the faults that a schema finds, and how many it says there are. */
import { describe, expect, it } from 'vitest'
import { BridgeError, MAX_FIELD_ERRORS } from '../src/errors.ts'
import { parseInput } from '../src/router.ts'
import { outgoingSchema } from '../src/schemas/outgoing.ts'
import * as z from '../src/schemas/zod.ts'

const refusalOf = (schema: z.ZodType, input: unknown): BridgeError => {
  try {
    parseInput(schema, input)
  } catch (failure) {
    if (failure instanceof BridgeError) return failure
    throw failure
  }
  throw new Error('It was taken.')
}

describe('parseInput', () => {
  it('gives what the schema makes of an input', () => {
    expect(
      parseInput(z.object({ a: z.string().transform(Number), b: z.boolean().default(true) }), { a: '1' }),
    ).toEqual({
      a: 1,
      b: true,
    })
  })

  it('words each fault as zod does', () => {
    for (const input of [
      {},
      null,
      [],
      { subject: 1 },
      { subject: 'a..b', ttl_ms: 1, unknown: 1 },
      { subject: 'a', headers: { A: [1] } },
    ]) {
      const { issues = [] } = outgoingSchema.safeParse(input).error ?? {}
      const worded = issues.flatMap((issue) =>
        issue.code === 'unrecognized_keys'
          ? issue.keys.map((key) => ({ field: key, message: 'is not known here' }))
          : [{ field: issue.path.join('.') || 'body', message: issue.message }],
      )
      expect(refusalOf(outgoingSchema, input).errors).toEqual(worded)
    }
  })

  it.each([
    ['elements', z.array(z.string().min(1)).max(1_000), Array(1_000).fill('')],
    [
      'unknown members',
      z.strictObject({}),
      Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`m${n}`, 1])),
    ],
  ])('names 20 of a thousand wrong %s, and says how many more there are', (_, schema, input) => {
    const { errors, message } = refusalOf(schema, input)

    expect(errors).toHaveLength(MAX_FIELD_ERRORS)
    expect(message).toContain('(980 more faults are not named)')
  })

  it('looks at no element of an array that is too long', () => {
    let looked = 0
    const element = z.custom(() => {
      looked += 1
      return false
    })

    expect(refusalOf(z.array(element).max(10), Array(100_000).fill(''))).toMatchObject({
      errors: [{ field: 'body' }],
    })
    expect(looked).toBe(0)
  })
})
