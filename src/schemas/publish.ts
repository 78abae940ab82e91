/** The wire form of a publish: its headers, which of them become the message's, and its answer. */

import { refuse } from '../errors.ts'
import type { MessageHeaders, PubAck } from '../jetstream.ts'
import { MAX_PASSED_CHARS } from './bounds.ts'
import { cursorText } from './message.ts'
import { idempotencyKey, seq, streamName } from './names.ts'
import { natsHeaderSchemas, spelledNatsHeader } from './nats-headers.ts'
import * as z from './zod.ts'

/** A sequence of up to 16 digits, and its quotes. */
const MAX_IF_MATCH_CHARS = 18
const NO_SEQUENCE = 'must be one quoted sequence, such as "41"'
const passedText = z.string().max(MAX_PASSED_CHARS)

export const publishHeaders = z.object({
  'idempotency-key': idempotencyKey.optional().openapi({
    description:
      "Within the stream's duplicate window the same key is stored once: `Nats-Msg-Id`, which ends with it and, where callers " +
      'have credentials of their own, begins with what tells them apart.',
  }),
  'if-match': z
    .string()
    .max(MAX_IF_MATCH_CHARS, { abort: true, error: NO_SEQUENCE })
    .regex(/^"\d+"$/, NO_SEQUENCE)
    .optional()
    .openapi({ description: 'The last sequence of the subject must be this one.', example: '"41"' }),
  'if-none-match': z
    .literal('*', 'must be *')
    .optional()
    .openapi({ description: 'The subject must have no message yet.' }),
  ...natsHeaderSchemas,
  traceparent: passedText.optional().openapi({ description: 'W3C trace context, stored with the message.' }),
  tracestate: passedText.optional().openapi({ description: 'W3C trace state, stored with the message.' }),
})

/** The headers that the schema looks at. */
export const CHECKED_HEADERS: ReadonlySet<string> = new Set(Object.keys(publishHeaders.shape))

/** What JetStream says of a message that it has. */
export const storedShape = {
  stream: streamName,
  seq,
  duplicate: z.boolean().openapi({ description: 'The stream had it already, at this sequence.' }),
  val: z
    .string()
    .optional()
    .openapi({ description: 'The new value, where it was added to a counter.', example: '42' }),
  duplicate_window_ms: z.number().optional().openapi({
    description: 'Of a publish with a key: how long the stream remembers the key.',
    example: 120_000,
  }),
}

export const publishedSchema = z
  .object({
    ...storedShape,
    cursor: cursorText.openapi({ description: 'The position right after this message.' }),
  })
  .openapi('Published', { description: "JetStream's confirmation of a publish." })

/** Writes the answer to a publish. */
export function encodePublished(ack: PubAck, cursor: string, duplicateWindowMs?: number): string {
  return `{${encodeStored(ack, duplicateWindowMs)},"cursor":"${cursor}"}`
}

/** Writes the members of `storedShape`. */
export function encodeStored({ stream, seq, duplicate, val }: PubAck, duplicateWindowMs?: number): string {
  const counted = val === undefined ? '' : `,"val":${JSON.stringify(val)}`
  const window = duplicateWindowMs === undefined ? '' : `,"duplicate_window_ms":${duplicateWindowMs}`
  return `"stream":${JSON.stringify(stream)},"seq":${seq},"duplicate":${duplicate}${counted}${window}`
}

const PASSED_AS_THEY_ARE = new Set(['traceparent', 'tracestate'])
const OWN_PREFIX = 'natsh-'
const CLOUDEVENT_PREFIX = 'ce-'
const NATS_PREFIX = 'nats-'

/**
 * The message's headers out of the request's, `sent`, with their names in lower case. HTTP does not keep the case of a name, so `NatsH-order-id` becomes
 * `Order-Id`. Throws `invalid_request` for a `Nats-*` name that a publisher may not set.
 */
export function toMessageHeaders(sent: readonly (readonly [string, string])[]): MessageHeaders {
  // No name that comes out of `toMessageHeaderName` is one of an object's own. One without a prototype is much slower.
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
    // A record cannot hold the name of its own prototype: the message would be stored without it.
    if (own === '' || own === '__proto__' || own.startsWith(NATS_PREFIX))
      throw refuse(name, 'is not a header that a publisher may set')
    return own.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase())
  }
  if (name.startsWith(NATS_PREFIX)) {
    const own = spelledNatsHeader(name)
    if (own === undefined) throw refuse(name, 'is not a header that a publisher may set')
    return own
  }
  if (name === 'content-type') return 'Content-Type'
  return name.startsWith(CLOUDEVENT_PREFIX) || PASSED_AS_THEY_ARE.has(name) ? name : undefined
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** HTTP gives header bytes as Latin-1: where they are UTF-8, as nearly all senders mean them, they are read as that. */
export function toText(value: string): string {
  if (!/[\x80-\xff]/.test(value) || /[^\0-\xff]/.test(value)) return value
  try {
    return utf8.decode(Buffer.from(value, 'latin1'))
  } catch {
    return value
  }
}
