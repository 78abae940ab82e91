/** The test that JSON keeps its numbers as they were written. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseExactly, stringifyExactly } from '../../src/schemas/exact-json.ts'

const digits = (minLength: number, maxLength = 25) =>
  fc.string({ unit: fc.constantFrom(...'0123456789'), minLength, maxLength })

/** A number in every way that JSON can write it. */
const numberText = fc
  .tuple(
    fc.constantFrom('', '-'),
    digits(1).map((whole) => whole.replace(/^0+(?=\d)/, '')),
    fc.option(digits(1), { nil: undefined }),
    fc.option(fc.tuple(fc.constantFrom('e', 'E', 'e+', 'e-'), digits(1, 3)), { nil: undefined }),
  )
  .map(
    ([sign, whole, fraction, exponent]) =>
      `${sign}${whole}${fraction === undefined ? '' : `.${fraction}`}${exponent?.join('') ?? ''}`,
  )

describe('parseExactly', () => {
  it.each([
    '12345678901234567890',
    '9007199254740993',
    '1e400',
    '-1E-400',
    '0.1234567890123456789',
    '0.0000001',
    '5.00',
    '-0',
    '-0.0',
    '1e3',
    '42',
  ])('keeps %s wherever it stands', (number) => {
    for (const text of [number, `[${number}]`, `{"a":${number},"b":[0,{"c":${number}}],"d":"${number}"}`]) {
      expect(stringifyExactly(parseExactly(text))).toBe(text)
    }
    expect(stringifyExactly(parseExactly(`{ "a" :\n\t${number} }`))).toBe(`{"a":${number}}`)
  })

  it('keeps every number that JSON can write', () => {
    fc.assert(
      fc.property(fc.array(numberText, { minLength: 1 }), (numbers) => {
        const text = `[${numbers.join(',')}]`
        expect(stringifyExactly(parseExactly(text))).toBe(text)
      }),
    )
  })

  it('gives plain values where a double prints the same', () => {
    expect(parseExactly('{"a":[1,-2.5,"1e400"],"b":null}')).toEqual({ a: [1, -2.5, '1e400'], b: null })
    expect(parseExactly('{"a":1,"b":1e400}')).toMatchObject({ a: 1 })
  })

  it('takes no text for a number, and no number for a text', () => {
    const value = { a: '1e400', '1e400': ['-0', '5.00"', '\\1.50', ' 1.50'], 'b:1.50': '"', c: '\\' }
    const text = JSON.stringify(value).replace('"c"', '"d":1.50,"c"')
    expect(stringifyExactly(parseExactly(text))).toBe(text)
  })

  it('is what JSON.parse takes, and prints, for any JSON', () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom('1.50', '-0.0', '1E5'), (json, number) => {
        const text = `[${number},${JSON.stringify(JSON.parse(json))}]`
        const [, again] = JSON.parse(text)
        expect(stringifyExactly(parseExactly(`[${number},${json}]`)).startsWith(`[${number},`)).toBe(true)
        expect(JSON.parse(stringifyExactly(parseExactly(`[${number},${json}]`)))[1]).toEqual(again)
      }),
    )
  })

  it('keeps a member named __proto__', () => {
    expect(stringifyExactly(parseExactly('{"__proto__":{"a":1e400}}'))).toBe('{"__proto__":{"a":1e400}}')
  })

  it.each([
    '',
    '{',
    '[1e400',
    "{'a':1}",
    '01',
    '1e400 2',
    '{1e400:1}',
    '{1e400 \n: 1}',
    '[1.50 1]',
    '[01.50]',
    '[1.]',
    '[-]',
    '[1e+]',
    '[+1.50]',
    '[.50]',
    'tr1e400ue',
    '1e400"a"',
    '["a"1e400]',
    '[1e400-1]',
    '[1.5.0]',
    '[--1.50]',
  ])('refuses %j, which is not JSON', (text) => {
    expect(() => parseExactly(text)).toThrow('body: must be JSON')
  })

  it('refuses what is nested too deeply to be walked', () => {
    const nest = (inner: string) => '['.repeat(100_000) + inner + ']'.repeat(100_000)
    expect(() => parseExactly(nest('1e400'))).toThrow('body: must not be nested more than 1000 deep')
    expect(() => stringifyExactly(parseExactly(nest('1')))).toThrow(
      'body: must not be nested more than 1000 deep',
    )
  })
})
