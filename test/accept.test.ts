/** Properties of `chooseType`: what RFC 9110 says of `Accept`, for any header. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chooseType } from '../src/accept.ts'

const OFFERED = ['application/json', 'application/x-ndjson', 'text/event-stream']
const range = fc.constantFrom(...OFFERED, 'application/*', 'text/*', '*/*', 'image/png')
const weight = fc.integer({ min: 0, max: 1_000 }).map((thousandths) => thousandths / 1_000)
const ranges = fc.uniqueArray(fc.tuple(range, weight), { minLength: 1, selector: ([type]) => type })
const write = (said: readonly (readonly [string, number])[]) =>
  said.map(([type, q]) => `${type};q=${q}`).join(', ')

/** The weight that the most specific range gives. */
const weightOf = (type: string, said: readonly (readonly [string, number])[]) => {
  const covering = [type, type.replace(/\/.*/, '/*'), '*/*']
  return covering.map((one) => said.find(([range]) => range === one)?.[1]).find((q) => q !== undefined) ?? 0
}

describe('chooseType', () => {
  test('chooses a type of the greatest weight, and none of weight 0', () => {
    fc.assert(
      fc.property(ranges, (said) => {
        const weights = OFFERED.map((type) => weightOf(type, said))
        const chosen = chooseType(write(said), OFFERED)
        const greatest = Math.max(...weights)
        if (greatest === 0) expect(chosen).toBeUndefined()
        else expect(weightOf(chosen ?? '', said)).toBe(greatest)
      }),
    )
  })

  test('answers with an offered type or none, whatever the header is', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (accept) => {
        expect([...OFFERED, undefined]).toContain(chooseType(accept, OFFERED))
      }),
    )
  })

  test.each([
    ['text/event-stream;q="0", */*', 'application/json'],
    ['application/json ; q=0.2 , text/event-stream; q=0.3', 'text/event-stream'],
    [',,, text/event-stream ,', 'text/event-stream'],
    ['text/event-stream;level="a,b;q=0"', 'text/event-stream'],
  ])('%s: %s', (accept, type) => {
    expect(chooseType(accept, OFFERED)).toBe(type)
  })
})
