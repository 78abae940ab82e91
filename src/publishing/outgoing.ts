/** Reading messages to be published out of JSON text. */
import { refuse } from '../errors.ts'
import type { OutgoingMessage } from '../jetstream.ts'
import { parseInput } from '../router.ts'
import { parseExactly } from '../schemas/exact-json.ts'
import { requireBoundedJson } from '../schemas/json-bounds.ts'
import type { MessageIdOf } from '../schemas/names.ts'
import { outgoingSchema, readPlain, toOutgoing } from '../schemas/outgoing.ts'

/** The message that a line is. Throws `invalid_request` naming what is wrong with it, `subject_not_found`. */
export function readLine(text: string, toId: MessageIdOf): OutgoingMessage {
  requireBoundedJson(text, 'line')
  const value = parseLine(text)
  if (typeof value !== 'object' || value === null) throw refuse('line', 'must be a JSON object')
  return readOutgoing('json' in value ? { ...value, json: jsonOf(parseExactly(text)) } : value, toId)
}

/** What is stored as JSON keeps its digits, also those that a number here would not have; other members are numbers. */
const jsonOf = (exact: unknown): unknown => (exact as { readonly json?: unknown }).json

/** Messages of a batch, of which `values` were parsed out of `text`, with the digits of what is to be stored as JSON. */
export function withExactJson(values: readonly unknown[], text: string): readonly unknown[] {
  if (!values.some(hasJson)) return values
  const { messages } = parseExactly(text) as { readonly messages: readonly unknown[] }
  return values.map((value, index) => (hasJson(value) ? { ...value, json: jsonOf(messages[index]) } : value))
}

const hasJson = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && 'json' in value

/** The message that a parsed value is. Throws as `readLine`. */
export function readOutgoing(value: unknown, toId: MessageIdOf): OutgoingMessage {
  const plain = typeof value === 'object' && value !== null ? readPlain(value, toId) : undefined
  if (plain) return plain
  return toOutgoing(parseInput(outgoingSchema, value), toId)
}

function parseLine(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw refuse('line', 'must be JSON')
  }
}
