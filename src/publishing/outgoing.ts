/** Owns reading messages to be published out of JSON text. */
import { refuse } from '../errors.ts'
import type { OutgoingMessage } from '../jetstream.ts'
import { parseInput } from '../router.ts'
import { parseExactly } from '../schemas/exact-json.ts'
import { outgoingSchema, readPlain, toOutgoing } from '../schemas/outgoing.ts'
import type { MessageIdOf } from '../tokens/message-id.ts'

/** The message that a line is. Throws `invalid_request` naming what is wrong with it, `subject_not_found`. */
export function readLine(text: string, toId: MessageIdOf): OutgoingMessage {
  const value = parseLine(text)
  if (typeof value !== 'object' || value === null) throw refuse('line', 'must be a JSON object')
  // What is stored as JSON keeps its digits, also those that a number here would not have.
  return readOutgoing('json' in value ? parseExactly(text) : value, toId)
}

/** The message that a parsed value is. Throws as `readLine`. */
export function readOutgoing(value: unknown, toId: MessageIdOf): OutgoingMessage {
  const plain = typeof value === 'object' && value !== null ? readPlain(value, toId) : undefined
  return plain ?? toOutgoing(parseInput(outgoingSchema, value), toId)
}

function parseLine(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw refuse('line', 'must be JSON')
  }
}
