/** Bounds of a JSON text, looked at before it is parsed: how many values it has, and how deeply they are nested. */
import { type BridgeError, refuse } from '../errors.ts'

/** Values of one JSON text: of a body, or of one line of a stream of lines. */
export const MAX_JSON_VALUES = 100_000
/** V8 writes JSON by recursion, which ends at some thousand levels. */
export const MAX_JSON_DEPTH = 1_000

export const QUOTE = 0x22
const COMMA = 0x2c
const OPENING_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSING_BRACKET = 0x5d
const OPENING_BRACE = 0x7b
const CLOSING_BRACE = 0x7d

/**
 * Throws `invalid_request` naming `field` where a text has more values than it may, or deeper ones. In one pass that stops
 * at the bound, and steps over strings: a small body can inflate to millions of values, each many times its own size.
 * Answers how many it has at most.
 */
export function requireBoundedJson(text: string, field: string): number {
  // So short a text can neither be that deep nor have so many.
  if (text.length <= MAX_JSON_DEPTH) return text.length
  let values = 1
  let depth = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) at = endOfString(text, at)
    else if (code === COMMA) values += 1
    else if (code === OPENING_BRACKET || code === OPENING_BRACE) {
      values += 1
      depth += 1
      if (depth > MAX_JSON_DEPTH) throw tooDeep(field)
    } else if (code === CLOSING_BRACKET || code === CLOSING_BRACE) depth -= 1
    if (values > MAX_JSON_VALUES) throw refuse(field, `must have at most ${MAX_JSON_VALUES} JSON values`)
  }
  return values
}

/** What a value takes in memory at most beside its text, bytes: measured at 79, of objects that share no name. */
const VALUE_BYTES = 96
/** Of a UTF-16 unit. */
const CHAR_BYTES = 2

/** What a text takes in memory once it is parsed, at most, with the strings in it. */
export const parsedBytes = (text: string, values: number): number =>
  CHAR_BYTES * text.length + VALUE_BYTES * values

export const tooDeep = (field: string): BridgeError =>
  refuse(field, `must not be nested more than ${MAX_JSON_DEPTH} deep`)

/** Where the string that begins at `start` ends, or the text. Most have no escapes: then the next quote ends it. */
export function endOfString(text: string, start: number): number {
  const quote = text.indexOf('"', start + 1)
  if (quote === -1) return text.length
  if (text.charCodeAt(quote - 1) !== BACKSLASH) return quote
  for (let at = start + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) return at
    if (code === BACKSLASH) at += 1
  }
  return text.length
}
