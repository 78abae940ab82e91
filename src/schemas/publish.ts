/** Owns the wire form of a publish: its headers, which of them become the message's, and its answer. */

import { refuse } from '../errors.ts'
import type { MessageHeaders, PubAck } from '../jetstream.ts'
import { cursorText } from './message.ts'
import { seq, streamName } from './names.ts'
import * as z from './zod.ts'

export const publishHeaders = z.object({
  'idempotency-key': z.string().min(1).max(1_024).optional().openapi({
    description: "Within the stream's duplicate window the same key is stored once: `Nats-Msg-Id`.",
  }),
  'if-match': z
    .string()
    .regex(/^"\d{1,16}"$/, 'must be one quoted sequence, such as "41"')
    .optional()
    .openapi({ description: 'The last sequence of the subject must be this one.', example: '"41"' }),
  'if-none-match': z
    .literal('*', 'must be *')
    .optional()
    .openapi({ description: 'The subject must have no message yet.' }),
  'nats-ttl': z.string().optional().openapi({
    description: 'How long the message lives: seconds, or such as `1h`; NATS 2.11.',
    example: '1h',
  }),
  'nats-rollup': z
    .enum(['sub', 'all'])
    .optional()
    .openapi({ description: 'Removes what came before it: in its subject, or in the whole stream.' }),
  'nats-expected-stream': z
    .string()
    .optional()
    .openapi({ description: 'The stream that must store it.', example: 'ORDERS' }),
  'nats-expected-last-sequence': z
    .string()
    .optional()
    .openapi({ description: 'The last sequence of the stream must be this one.', example: '41' }),
  'nats-expected-last-subject-sequence': z.string().optional().openapi({
    description: "The last sequence of the subject must be this one: JetStream's word for `If-Match`.",
    example: '41',
  }),
  'nats-expected-last-subject-sequence-subject': z.string().optional().openapi({
    description: 'The subject, or a filter, that the expected last subject sequence is of; NATS 2.12.',
    example: 'orders.eu.>',
  }),
  'nats-expected-last-msg-id': z
    .string()
    .optional()
    .openapi({ description: 'The last message of the stream must have this `Nats-Msg-Id`.' }),
  'nats-incr': z
    .string()
    .optional()
    .openapi({ description: 'Adds to the counter of the subject; NATS 2.12.', example: '+1' }),
  traceparent: z.string().optional().openapi({ description: 'W3C trace context, stored with the message.' }),
  tracestate: z.string().optional().openapi({ description: 'W3C trace state, stored with the message.' }),
})

/** The headers that the schema looks at. */
export const CHECKED_HEADERS: ReadonlySet<string> = new Set(Object.keys(publishHeaders.shape))

export const publishedSchema = z
  .object({
    stream: streamName,
    seq,
    duplicate: z.boolean().openapi({ description: 'The stream had it already, at this sequence.' }),
    cursor: cursorText.openapi({ description: 'The position right after this message.' }),
  })
  .openapi('Published', { description: "JetStream's confirmation of a publish." })

/** Writes the answer to a publish. */
export function encodePublished({ stream, seq, duplicate }: PubAck, cursor: string): string {
  return `{"stream":${JSON.stringify(stream)},"seq":${seq},"duplicate":${duplicate},"cursor":"${cursor}"}`
}

/** JetStream's API level that a header needs: an older server would store it and not heed it. */
const REQUIRED_LEVELS: Readonly<Record<string, number>> = { 'Nats-TTL': 1, 'Nats-Incr': 2 }
/** The server release that brought an API level. */
export const RELEASE_OF_LEVEL: Readonly<Record<number, string>> = { 1: '2.11', 2: '2.12', 4: '2.14' }

const NATS_HEADERS = new Map(
  [
    'Nats-TTL',
    'Nats-Rollup',
    'Nats-Incr',
    'Nats-Expected-Stream',
    'Nats-Expected-Last-Sequence',
    'Nats-Expected-Last-Subject-Sequence',
    'Nats-Expected-Last-Subject-Sequence-Subject',
    'Nats-Expected-Last-Msg-Id',
  ].map((name) => [name.toLowerCase(), name]),
)
const PASSED_AS_THEY_ARE = new Set(['traceparent', 'tracestate'])
const OWN_PREFIX = 'natsh-'
const CLOUDEVENT_PREFIX = 'ce-'
const NATS_PREFIX = 'nats-'

/** The API level that these headers need of the server, and for which of them; undefined where any serves. */
export function requiredLevel(headers: MessageHeaders): { level: number; header: string } | undefined {
  const needs = Object.keys(headers).map((header) => ({ header, level: REQUIRED_LEVELS[header] ?? 0 }))
  const most = needs.reduce((a, b) => (b.level > a.level ? b : a), { header: '', level: 0 })
  return most.level > 0 ? most : undefined
}

/**
 * The message's headers out of the request's, `sent`, with their names in lower case. HTTP does not keep the case of a name, so `NatsH-order-id` becomes
 * `Order-Id`. Throws `invalid_request` for a `Nats-*` name that a publisher may not set.
 */
export function toMessageHeaders(sent: readonly (readonly [string, string])[]): MessageHeaders {
  const headers: Record<string, string[]> = {}
  for (const [name, value] of sent) {
    const ownName = toMessageHeaderName(name)
    if (ownName !== undefined) headers[ownName] = [toText(value)]
  }
  return headers
}

function toMessageHeaderName(name: string): string | undefined {
  if (name.startsWith(OWN_PREFIX)) {
    const own = name.slice(OWN_PREFIX.length)
    if (own === '' || own.startsWith(NATS_PREFIX))
      throw refuse(name, 'is not a header that a publisher may set')
    return own.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase())
  }
  if (name.startsWith(NATS_PREFIX)) {
    const own = NATS_HEADERS.get(name)
    if (own === undefined) throw refuse(name, 'is not a header that a publisher may set')
    return own
  }
  if (name === 'content-type') return 'Content-Type'
  return name.startsWith(CLOUDEVENT_PREFIX) || PASSED_AS_THEY_ARE.has(name) ? name : undefined
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** HTTP gives header bytes as Latin-1: where they are UTF-8, as nearly all senders mean them, they are read as that. */
function toText(value: string): string {
  if (!/[\x80-\xff]/.test(value) || /[^\0-\xff]/.test(value)) return value
  try {
    return utf8.decode(Buffer.from(value, 'latin1'))
  } catch {
    return value
  }
}
