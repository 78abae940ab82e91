/** Owns JSON that keeps every number as it was written: digits beyond a double's, 1e400, 5.00. */
import { refuse } from '../errors.ts'
import { tooDeep } from './json-bounds.ts'

/** The source text of numbers, as ECMAScript's `JSON.parse` and `JSON.rawJSON` have it; TypeScript's own types lack it yet. */
interface SourceTextAccess {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown
  /** What `JSON.stringify` prints as it is. */
  rawJSON(text: string): unknown
}
const json = JSON as unknown as SourceTextAccess

/**
 * Whether there may be a number that `JSON.stringify` prints otherwise: 16 characters or more, an exponent, a fraction
 * that ends in 0 or begins with six of them, or -0. Most texts have none, and parse without a call for each value.
 */
const MAY_PRINT_OTHERWISE =
  /(?:^|[\s:,[])(?:-0(?!\.)|-?(?:\d[\d.]{15}|\d+(?:\.\d+)?e|\d+\.\d*0(?!\d)|0\.0{6}))/i

const keepNumber = (_key: string, value: unknown, { source }: { readonly source?: string }) =>
  typeof value === 'number' && source !== undefined && String(value) !== source ? json.rawJSON(source) : value

/**
 * Parses JSON so that `stringifyExactly` gives every number back as it was written. A number that a double would print
 * otherwise becomes an object, so a schema for numbers refuses it. Throws `invalid_request`.
 */
export function parseExactly(text: string): unknown {
  try {
    return MAY_PRINT_OTHERWISE.test(text) ? json.parse(text, keepNumber) : JSON.parse(text)
  } catch (failure) {
    throw failure instanceof RangeError ? tooDeep('body') : refuse('body', 'must be JSON')
  }
}

/** The JSON text of what `parseExactly` gave. Throws `invalid_request`. */
export function stringifyExactly(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (failure) {
    throw failure instanceof RangeError ? tooDeep('body') : failure
  }
}
