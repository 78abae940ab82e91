/** JSON that keeps every number as it was written: digits beyond a double's, 1e400, 5.00. */
import { refuse } from '../errors.ts'
import { endOfString, QUOTE, tooDeep } from './json-bounds.ts'

/** What `JSON.stringify` prints as it is; TypeScript's own types lack it yet. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown }

/**
 * Whether there may be a number that `JSON.stringify` prints otherwise: 16 characters or more, an exponent, a fraction
 * that ends in 0 or begins with six of them, or -0. Most texts have none, and parse without a call for each value.
 */
const MAY_PRINT_OTHERWISE =
  /(?:^|[\s:,[])(?:-0(?!\.)|-?(?:\d[\d.]{15}|\d+(?:\.\d+)?e|\d+\.\d*0(?!\d)|0\.0{6}))/i

/** Begins the texts that stand for numbers while a text is parsed: nobody else knows it. Workers make nothing random before a request. */
let mark = ''
const MARK_CHARS = 18

/**
 * Parses JSON so that `stringifyExactly` gives every number back as it was written. A number that a double would print
 * otherwise becomes an object, so a schema for numbers refuses it. Throws `invalid_request`.
 */
export function parseExactly(text: string): unknown {
  try {
    if (!MAY_PRINT_OTHERWISE.test(text)) return JSON.parse(text)
    mark ||= crypto.randomUUID().slice(0, MARK_CHARS)
    return unmark(JSON.parse(markNumbers(text)))
  } catch (failure) {
    throw failure instanceof RangeError ? tooDeep('body') : refuse('body', 'must be JSON')
  }
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?$/i
/** The characters of a number, and what stands between it and the colon that would make it a name. */
const IN_NUMBER = /[\d.e+-]*/iy
const BEFORE_COLON = /\s*:/y

/**
 * The text with a marked string in the place of each number that a double would print otherwise. To have `JSON.parse` hand
 * out the source of each value takes ten times as long.
 */
function markNumbers(text: string): string {
  let marked = ''
  let from = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) at = endOfString(text, at)
    else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      IN_NUMBER.lastIndex = at
      const [number = ''] = IN_NUMBER.exec(text) ?? []
      const end = at + number.length
      if (String(Number(number)) !== number && NUMBER.test(number) && !isName(text, end)) {
        marked += `${text.slice(from, at)}"${mark}${number}"`
        from = end
      }
      at = end - 1
    }
  }
  return from === 0 ? text : marked + text.slice(from)
}

const MINUS = 0x2d
const ZERO = 0x30
const NINE = 0x39

/** A number is no name; as a string it would be one. */
function isName(text: string, end: number): boolean {
  BEFORE_COLON.lastIndex = end
  return BEFORE_COLON.test(text)
}

/** Puts the numbers in the place of their marks. */
function unmark(value: unknown): unknown {
  if (typeof value === 'string') return value.startsWith(mark) ? rawJSON(value.slice(MARK_CHARS)) : value
  if (typeof value !== 'object' || value === null) return value
  const members = value as Record<string, unknown>
  for (const name of Object.keys(members)) {
    const member = members[name]
    // What is no text and no object stays.
    if (typeof member === 'string' || typeof member === 'object') members[name] = unmark(member)
  }
  return value
}

/** The JSON text of what `parseExactly` gave. Throws `invalid_request`. */
export function stringifyExactly(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch (failure) {
    throw failure instanceof RangeError ? tooDeep('body') : failure
  }
}
