/** Names: streams, consumers, subjects and subject filters, and the limits JetStream has on them. */
import * as z from './zod.ts'

/** JetStream's limit on stream and consumer names, bytes. */
const MAX_NAME_BYTES = 255
/** A subject must fit the server's control line of 4,096 bytes together with what stands around it. */
export const MAX_SUBJECT_BYTES = 3_800
/** Subject filters in one read. */
export const MAX_FILTERS = 32

// Separators, wildcards, white space and control characters: the server itself lets some of them through.
const NOT_IN_NAMES = /[.*>/\\\s\p{C}]/u
const NOT_IN_SUBJECTS = /[\s\p{C}]/u

const NAME_TOO_LONG = `must be at most ${MAX_NAME_BYTES} bytes`
const SUBJECT_TOO_LONG = `must be at most ${MAX_SUBJECT_BYTES} bytes`

const bytesOf = (text: string) => new TextEncoder().encode(text).length

const assetName = (kind: string) =>
  z
    .string()
    .min(1)
    .max(MAX_NAME_BYTES, { abort: true, error: NAME_TOO_LONG })
    .refine((name) => bytesOf(name) <= MAX_NAME_BYTES, NAME_TOO_LONG)
    .refine((name) => !NOT_IN_NAMES.test(name), 'must not hold . * > / \\, white space or control characters')
    .openapi({ description: `Name of the ${kind}.` })

export const streamName = assetName('stream').openapi({ example: 'ORDERS' })
export const consumerName = assetName('consumer').openapi({ example: 'billing' })

/** Most subjects are of these characters, a byte each, and need no closer look. */
const PLAIN_SUBJECT = /^[\w-]+(?:\.[\w-]+)*$/

/** Why `text` is no subject to publish to; undefined where it is one. */
export function subjectFault(text: string): string | undefined {
  if (text.length <= MAX_SUBJECT_BYTES && PLAIN_SUBJECT.test(text)) return undefined
  if (text.length > MAX_SUBJECT_BYTES) return SUBJECT_TOO_LONG
  if (NOT_IN_SUBJECTS.test(text)) return 'must not hold white space or control characters'
  if (bytesOf(text) > MAX_SUBJECT_BYTES) return SUBJECT_TOO_LONG
  const tokens = text.split('.')
  if (tokens.includes('')) return 'must not have an empty token'
  if (tokens.includes('*') || tokens.includes('>')) return 'must not have a wildcard'
  return undefined
}

/** JetStream takes it for a literal token, which is hardly what its author means. */
const isHalfWildcard = (token: string) => token.length > 1 && /[*>]/.test(token)

export function filterFault(text: string): string | undefined {
  if (text.length > MAX_SUBJECT_BYTES) return SUBJECT_TOO_LONG
  const tokens = text.split('.')
  const tail = tokens.indexOf('>')
  if (tail !== -1 && tail !== tokens.length - 1) return '> must be the last token'
  if (tokens.some(isHalfWildcard))
    return 'must have * and > as whole tokens: inside of one they match nothing else'
  return subjectFault(tokens.map((token) => (token === '*' || token === '>' ? 'any' : token)).join('.'))
}

/** Refuses what is longer than `most` characters, else with the reason that `fault` gives. */
function withoutFault(most: number, tooLong: string, fault: (text: string) => string | undefined) {
  return z
    .string()
    .max(most, { abort: true, error: tooLong })
    .superRefine((text, context) => {
      const message = fault(text)
      if (message !== undefined) context.addIssue({ code: 'custom', message })
    })
}

export const subject = withoutFault(MAX_SUBJECT_BYTES, SUBJECT_TOO_LONG, subjectFault).openapi({
  description: 'A subject without wildcards.',
  example: 'orders.eu.42',
})

export const subjectFilter = withoutFault(MAX_SUBJECT_BYTES, SUBJECT_TOO_LONG, filterFault).openapi({
  description: 'A subject, in which * stands for one token and > for all that follow.',
  example: 'orders.eu.>',
})

/** Characters of an idempotency key. */
const MAX_KEY_CHARS = 1_024
// Lone surrogates, which UTF-8 cannot hold, and control characters, which headers cannot.
const NOT_IN_KEYS = /[\p{Cc}\p{Cs}]/u

const KEY_LENGTH = `must have from 1 to ${MAX_KEY_CHARS} characters`

/** Why `text` is no idempotency key: JetStream and readers pass over white space around a header's value. */
export function keyFault(text: string): string | undefined {
  if (text === '' || text.length > MAX_KEY_CHARS) return KEY_LENGTH
  if (text.trim() !== text) return 'must not begin or end with white space'
  return NOT_IN_KEYS.test(text) ? 'must not hold control characters or lone surrogates' : undefined
}

/** The `Nats-Msg-Id` of an idempotency key, which tells it from those of others. */
export type MessageIdOf = (key: string) => string

export const idempotencyKey = withoutFault(MAX_KEY_CHARS, KEY_LENGTH, keyFault).openapi({
  minLength: 1,
  maxLength: MAX_KEY_CHARS,
  example: 'order-7',
})

/** A query in which lists may be named as axios, jQuery and PHP name them: `subject[]` is `subject`. */
export function withLists<Query extends z.ZodObject>(names: readonly string[], query: Query): Query {
  const merging = z.preprocess((said) => {
    if (typeof said !== 'object' || said === null) return said
    const merged: Record<string, unknown> = { ...said }
    for (const name of names) {
      const { [`${name}[]`]: bracketed, [name]: plain = [] } = merged
      if (bracketed === undefined) continue
      delete merged[`${name}[]`]
      merged[name] = [plain, bracketed].flat()
    }
    return merged
  }, query)
  // Routes take it as the query that it is behind the first step.
  return merging as unknown as Query
}

/** A list in a query, by repeating the parameter. */
export const subjectFilters = z
  .preprocess((said) => (said === undefined ? [] : [said].flat()), z.array(subjectFilter).max(MAX_FILTERS))
  .openapi({
    type: 'array',
    items: { type: 'string' },
    description: `Subject filter, wildcards allowed; repeat it for several, at most ${MAX_FILTERS}. Absent: every message.`,
    example: ['orders.eu.>'],
  })

const MAX_INTEGER_CHARS = 16
const NO_INTEGER = 'must be a whole number'

/** A whole number in a query or path. */
export function queryInteger(smallest: number, largest: number) {
  return z
    .string()
    .max(MAX_INTEGER_CHARS, { abort: true, error: NO_INTEGER })
    .regex(/^\d+$/, NO_INTEGER)
    .transform(Number)
    .refine((value) => value >= smallest && value <= largest, `must be from ${smallest} to ${largest}`)
    .openapi({ type: 'integer', minimum: smallest, maximum: largest })
}

/** A whole number in a JSON body. */
export const integer = (smallest: number, largest: number = Number.MAX_SAFE_INTEGER) =>
  z.number().int().min(smallest).max(largest)

export const seq = integer(1).openapi({ description: 'Sequence in the stream.', example: 42 })
