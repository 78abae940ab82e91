/** The wire form of a message to be published, in JSON: one of a batch, or a line of a stream of them. */
import { refuse } from '../errors.ts'
import type { MessageHeaders, OutgoingMessage } from '../jetstream.ts'
import { boundedRecord, MAX_DURATION_MS, MAX_PAYLOAD_CHARS, shortText } from './bounds.ts'
import { stringifyExactly } from './exact-json.ts'
import { MAX_HEADER_BYTES, MAX_HEADERS, requireBoundedHeaders } from './header-bounds.ts'
import {
  idempotencyKey,
  integer,
  keyFault,
  type MessageIdOf,
  subject,
  subjectFault,
  subjectFilter,
} from './names.ts'
import {
  checkNatsHeaders,
  EXPECTED_LAST_MSG_ID,
  EXPECTED_LAST_SEQ,
  EXPECTED_LAST_SUBJECT_SEQ,
  EXPECTED_LAST_SUBJECT_SEQ_SUBJECT,
  EXPECTED_STREAM,
  INCR,
  MSG_ID,
  ROLLUP,
  SCHEDULE,
  SCHEDULE_NEXT,
  SCHEDULE_ROLLUP,
  SCHEDULE_SOURCE,
  SCHEDULE_TARGET,
  SCHEDULE_TIME_ZONE,
  SCHEDULE_TTL,
  SCHEDULER,
  spelledNatsHeader,
  TTL,
} from './nats-headers.ts'
import { isReserved, reservedSubject } from './reserved-subjects.ts'
import { jetStreamTime } from './times.ts'
import * as z from './zod.ts'

/** JetStream's shortest time to live, ms. */
const MIN_TTL_MS = 1_000
const MS_PER_SECOND = 1_000
/** Cron without its field of seconds. */
const MINUTE_FIELDS = 5

/** A sign and a hundred digits. */
const MAX_INCR_CHARS = 101
const NO_INCR = 'must be a whole number, such as "+1"'

const wholeText = z
  .string()
  .max(MAX_PAYLOAD_CHARS)
  .refine((text) => text.isWellFormed(), 'must not hold lone surrogates')
const headerValue = z
  .string()
  .max(MAX_HEADER_BYTES)
  .refine((value) => value.trim() === value, 'must not begin or end with white space')
  .refine((value) => value.isWellFormed(), 'must not hold lone surrogates')
const ttlMs = integer(MIN_TTL_MS, MAX_DURATION_MS)

export const outgoingSchema = z
  .strictObject({
    subject,
    data: wholeText.optional().openapi({ description: 'The payload as text.', example: '{"id":7}' }),
    data_base64: z
      .base64()
      .max(MAX_PAYLOAD_CHARS)
      .optional()
      .openapi({ description: 'The payload in base64.', example: '/wD+' }),
    json: z
      .unknown()
      .optional()
      .openapi({ description: 'The payload as JSON, stored as `application/json`.' }),
    headers: boundedRecord(z.union([headerValue, z.array(headerValue).max(MAX_HEADERS)]), {
      members: MAX_HEADERS,
      nameChars: MAX_HEADER_BYTES,
    })
      .optional()
      .openapi({
        description: 'Headers by their names, `Nats-*` ones as on a publish of one message.',
        example: { 'Content-Type': ['application/json'] },
      }),
    id: idempotencyKey
      .optional()
      .openapi({ description: "The idempotency key: stored once within the stream's duplicate window." }),
    expected_stream: shortText.min(1).optional().openapi({ description: 'The stream that must store it.' }),
    expected_last_seq: integer(0)
      .optional()
      .openapi({ description: 'The last sequence of the stream must be this one.' }),
    expected_last_subject_seq: integer(0).optional().openapi({
      description: 'The last sequence of the subject must be this one; 0: it has no message yet.',
    }),
    expected_last_subject_seq_subject: subjectFilter.optional().openapi({
      description: 'The subject, or a filter, that `expected_last_subject_seq` is of; NATS 2.12.',
    }),
    expected_last_msg_id: shortText.min(1).optional().openapi({
      description: 'The last message of the stream must have this `Nats-Msg-Id`, as reads show it.',
    }),
    ttl_ms: ttlMs
      .optional()
      .openapi({ description: 'How long the message lives, rounded up to whole seconds; NATS 2.11.' }),
    rollup: z
      .enum(['sub', 'all'])
      .optional()
      .openapi({ description: 'Removes what came before it: in its subject, or in the whole stream.' }),
    incr: z
      .string()
      .max(MAX_INCR_CHARS, { abort: true, error: NO_INCR })
      .regex(/^[+-]?\d{1,100}$/, NO_INCR)
      .optional()
      .openapi({ description: 'Adds to the counter of the subject; NATS 2.12.', example: '+1' }),
    deliver_at: jetStreamTime
      .optional()
      .openapi({ description: 'Keeps the message and publishes it to `schedule_target` then; NATS 2.12.' }),
    cron: shortText
      .min(1)
      .optional()
      .openapi({
        description:
          'Publishes the message to `schedule_target` again and again: five fields of cron, or six with seconds in front, ' +
          '`@every 5m`, `@hourly`; NATS 2.14.',
        example: '30 9 * * mon-fri',
      }),
    time_zone: shortText.min(1).optional().openapi({
      description: 'The time zone of `cron`; UTC where there is none.',
      example: 'Europe/Amsterdam',
    }),
    schedule_target: subject
      .optional()
      .openapi({ description: 'The subject of the same stream that the schedule publishes to.' }),
    schedule_ttl_ms: ttlMs
      .optional()
      .openapi({ description: 'How long the messages live that the schedule publishes.' }),
    schedule_source: subject.optional().openapi({
      description: 'The schedule publishes the last message of this subject instead of its own; NATS 2.14.',
    }),
    schedule_rollup: z.literal('sub').optional().openapi({
      description: 'The messages that the schedule publishes remove those before them; NATS 2.14.',
    }),
    cancel_schedule: subject.optional().openapi({
      description: 'Ends the schedule at this subject, in one step with storing this message; NATS 2.14.',
    }),
  })
  .openapi('OutgoingMessage', {
    description:
      'A message to be published. One of `data`, `data_base64` and `json`, or none for an empty payload. A schedule stands ' +
      'at its own `subject`, one a subject; to delete that message ends it.',
  })

/** A message as a client says it. */
type Said = z.output<typeof outgoingSchema>

const UTF8 = new TextEncoder()
const NO_BYTES = new Uint8Array()

/** The header that each of these members is, and how its value reads there. */
const AS_HEADERS: readonly (readonly [keyof Said, string, (value: never) => string])[] = [
  ['expected_stream', EXPECTED_STREAM, String],
  ['expected_last_seq', EXPECTED_LAST_SEQ, String],
  ['expected_last_subject_seq', EXPECTED_LAST_SUBJECT_SEQ, String],
  ['expected_last_subject_seq_subject', EXPECTED_LAST_SUBJECT_SEQ_SUBJECT, String],
  ['expected_last_msg_id', EXPECTED_LAST_MSG_ID, String],
  ['ttl_ms', TTL, toDuration],
  ['rollup', ROLLUP, String],
  ['incr', INCR, String],
  ['deliver_at', SCHEDULE, (time: string) => `@at ${time}`],
  ['cron', SCHEDULE, withSeconds],
  ['time_zone', SCHEDULE_TIME_ZONE, String],
  ['schedule_target', SCHEDULE_TARGET, String],
  ['schedule_ttl_ms', SCHEDULE_TTL, toDuration],
  ['schedule_source', SCHEDULE_SOURCE, String],
  ['schedule_rollup', SCHEDULE_ROLLUP, String],
  ['cancel_schedule', SCHEDULER, String],
]

/** JetStream passes over parts of a second, so that a message would go before its time. */
function toDuration(ms: number): string {
  return `${Math.ceil(ms / MS_PER_SECOND)}s`
}

/** JetStream's cron has a field of seconds in front, which crontab has not. */
function withSeconds(cron: string): string {
  const fields = cron.trim()
  return !fields.startsWith('@') && fields.split(/\s+/).length === MINUTE_FIELDS ? `0 ${fields}` : fields
}

/** The message that a client says. Throws `invalid_request` for what does not go together, `subject_not_found`. */
export function toOutgoing(said: Said, toId: MessageIdOf): OutgoingMessage {
  const named = (header: string) => memberOf(header, said)
  const payload = payloadOf(said)
  const headers = toHeaders(said.headers ?? {})
  if (said.json !== undefined && !hasContentType(headers)) headers['Content-Type'] = ['application/json']
  for (const [member, name, write] of AS_HEADERS) {
    const value = said[member]
    if (value === undefined) continue
    if (headers[name] !== undefined)
      throw refuse(member, `must not be given together with ${otherThan(member, name, said)}`)
    headers[name] = [write(value as never)]
  }
  if (said.cancel_schedule !== undefined) headers[SCHEDULE_NEXT] = ['purge']
  if (said.id !== undefined) headers[MSG_ID] = [toId(said.id)]
  checkNatsHeaders(headers, named)
  return addressed(said.subject, payload, headers)
}

/** A message to a subject that may be a client's, with headers within their bounds. Throws `subject_not_found`, `invalid_request`. */
export function addressed(subject: string, payload: Uint8Array, headers: MessageHeaders): OutgoingMessage {
  requireBoundedHeaders(headers)
  if (isReserved(subject)) throw reservedSubject(subject)
  return { subject, payload, headers }
}

const hasContentType = (headers: MessageHeaders) =>
  Object.keys(headers).some((name) => name.toLowerCase() === 'content-type')

const PAYLOAD_MEMBERS = ['data', 'data_base64', 'json'] as const

function payloadOf(said: Said): Uint8Array {
  const [first, second] = PAYLOAD_MEMBERS.filter((member) => said[member] !== undefined)
  if (second !== undefined) throw refuse(second, `must not be given together with ${first}`)
  if (said.data !== undefined) return UTF8.encode(said.data)
  if (said.data_base64 !== undefined) return Buffer.from(said.data_base64, 'base64')
  return said.json === undefined ? NO_BYTES : UTF8.encode(stringifyExactly(said.json))
}

/** What the client called a header; where it did not, what it could have called it. */
function memberOf(header: string, said: Said): string {
  const members = AS_HEADERS.filter(([, name]) => name === header).map(([member]) => member)
  const own = Object.keys(said.headers ?? {}).find((name) => spelledNatsHeader(name) === header)
  if (own !== undefined) return `headers.${own}`
  const saidOnes = members.filter((member) => said[member] !== undefined)
  return (saidOnes.length > 0 ? saidOnes : members).join(' or ') || `headers.${header}`
}

/** Of two members, or a member and a header, that say one thing: the other one. */
function otherThan(member: string, header: string, said: Said): string {
  const [other] = AS_HEADERS.filter(([, name]) => name === header)
    .map(([one]) => one)
    .filter((one) => one !== member && said[one] !== undefined)
  return other ?? memberOf(header, said)
}

function toHeaders(said: NonNullable<Said['headers']>): Record<string, readonly string[]> {
  // Without a prototype, where there would be a `constructor` and a `toString` already.
  const headers: Record<string, readonly string[]> = Object.create(null)
  for (const [name, value] of Object.entries(said)) {
    const own = /^nats-/i.test(name) ? spelledNatsHeader(name) : name
    if (own === undefined) throw refuse(`headers.${name}`, 'is not a header that a publisher may set')
    if (headers[own] !== undefined) throw refuse(`headers.${name}`, 'is there twice')
    headers[own] = typeof value === 'string' ? [value] : value
  }
  return headers
}

const PLAIN_MEMBERS: ReadonlySet<string> = new Set(['subject', 'data', 'id'])
const NO_HEADERS: MessageHeaders = Object.freeze({})

/** A message that is no more than a subject, text and perhaps a key, which needs no schema; undefined: ask that. */
export function readPlain(value: object, toId: MessageIdOf): OutgoingMessage | undefined {
  for (const member in value) if (!PLAIN_MEMBERS.has(member)) return undefined
  const { subject, data, id } = value as Readonly<Record<string, unknown>>
  if (typeof subject !== 'string' || typeof data !== 'string') return undefined
  if (subjectFault(subject) !== undefined || !data.isWellFormed()) return undefined
  if (id === undefined) return addressed(subject, UTF8.encode(data), NO_HEADERS)
  if (typeof id !== 'string' || keyFault(id) !== undefined) return undefined
  return addressed(subject, UTF8.encode(data), { [MSG_ID]: [toId(id)] })
}
