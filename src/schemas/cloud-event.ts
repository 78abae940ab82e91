/** The wire form of a CloudEvent in JSON, and what a publish makes of one: a message, its key and its subject. */
import { BridgeError, refuse } from '../errors.ts'
import type { MessageHeaders, OutgoingMessage } from '../jetstream.ts'
import { MAX_PAYLOAD_CHARS } from './bounds.ts'
import {
  claimsEvent,
  EVENT_TYPE,
  encodeValue,
  eventHeaderFault,
  isEventType,
  isJsonType,
  readEventHeaders,
  toHeaderName,
} from './cloud-event-headers.ts'
import { stringifyExactly } from './exact-json.ts'
import { MAX_HEADER_BYTES } from './header-bounds.ts'
import { MAX_SUBJECT_BYTES, subjectFault } from './names.ts'
import { isTime } from './time.ts'
import * as z from './zod.ts'

/** The specification advises 20, and has no limit. */
const MAX_NAME_LENGTH = 64
/** Far more than events have. */
const MAX_ATTRIBUTES = 256
const MAX_TIME_CHARS = 64
const ATTRIBUTE_NAME = new RegExp(`^[a-z0-9]{1,${MAX_NAME_LENGTH}}$`)
/** Members that are no attributes. */
const PAYLOAD_MEMBERS: ReadonlySet<string> = new Set(['data', 'data_base64'])

/** A keyword of OpenAPI 3.1: the library's types know those of 3.0 alone. */
const BASE64: object = { contentEncoding: 'base64' }

// Lone surrogates, which UTF-8 cannot hold, and what the specification's type system leaves out of a String.
const NOT_IN_ATTRIBUTES = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u
const MEDIA_TYPE = /^[\w!#$&^.+*-]+\/[\w!#$&^.+*-]+ *(?:;[ -~]*)?$/

const text = z
  .string('must be a non-empty string')
  .max(MAX_HEADER_BYTES, { abort: true, error: `must be at most ${MAX_HEADER_BYTES} characters` })
  .refine(
    (value) => !NOT_IN_ATTRIBUTES.test(value),
    'must not hold control characters, noncharacters or lone surrogates',
  )
const attribute = text.min(1, 'must be a non-empty string')

const required = {
  specversion: z.literal('1.0', 'must be "1.0"').openapi({ description: 'The version of CloudEvents.' }),
  id: attribute.openapi({ description: 'Names the event within its source.', example: 'A234-1234' }),
  source: attribute.regex(/^\S*$/, 'must not hold white space').openapi({
    description: 'Where the event is from, a URI-reference; no two events have the same `source` and `id`.',
    example: '/shop/eu',
  }),
  type: attribute.openapi({ description: 'What happened.', example: 'com.example.order.placed' }),
}

const extension = z.union(
  [text, z.boolean(), z.int32().openapi({ type: 'integer', format: 'int32' }), z.null()],
  'must be a string, a boolean or a 32-bit integer',
)

const members = {
  ...required,
  subject: attribute.nullish().openapi({
    description: 'What the event is about, in the words of its source.',
    example: 'orders.eu.42',
  }),
  time: z
    .string('must be an RFC 3339 time')
    .max(MAX_TIME_CHARS, { abort: true, error: 'must be an RFC 3339 time' })
    .refine((value) => isTime(value, { leapSeconds: true }), 'must be an RFC 3339 time')
    .nullish()
    .openapi({ format: 'date-time', description: 'When it happened.', example: '2026-11-20T10:00:00Z' }),
  datacontenttype: attribute
    .regex(MEDIA_TYPE, 'must be a media type')
    .nullish()
    .openapi({ description: 'The media type of the data; none is JSON.', example: 'application/json' }),
  dataschema: attribute.nullish().openapi({ description: 'The schema of the data, a URI.' }),
  data: z.unknown().optional().openapi({ description: 'The data: JSON, or text of its type.' }),
  data_base64: z
    .base64('must be base64')
    .max(MAX_PAYLOAD_CHARS)
    .nullish()
    .openapi({ description: 'The data, where it is bytes.', ...BASE64 }),
}

// Extensions are looked at below: a schema of theirs would make generated clients refuse data that is no such value.
export const cloudEventSchema = z
  .looseObject(members)
  .superRefine((event, context) => {
    for (const [name, message] of faultsOf(event)) context.addIssue({ code: 'custom', path: [name], message })
  })
  .openapi('CloudEvent', {
    description:
      'One event, as the CloudEvents JSON Event Format has it; any other member is an extension attribute, a string, ' +
      'boolean or 32-bit integer. An attribute that is null is absent.',
  })

/** What a schema of single members cannot see. */
function faultsOf(event: Readonly<Record<string, unknown>>): [name: string, message: string][] {
  const entries = Object.entries(event)
  // One event in so many parts would otherwise be looked at part by part.
  if (entries.length > MAX_ATTRIBUTES) return [['body', `must have at most ${MAX_ATTRIBUTES} attributes`]]
  const faults = entries
    .filter(([name]) => !Object.hasOwn(members, name))
    .flatMap(([name, value]): [string, string][] => {
      const fault = extensionFault(name, value)
      return fault === undefined ? [] : [[name, fault]]
    })
  if (event.data !== undefined && typeof event.data_base64 === 'string') {
    faults.push(['data_base64', 'must not be given together with data'])
  }
  return faults
}

const NAME_RULE = `must be named by 1 to ${MAX_NAME_LENGTH} of a to z and 0 to 9`

/** Throws `invalid_request` for a member that the schema of an object would not see, and lose. */
export function requireSeenMembers(event: unknown): void {
  if (typeof event === 'object' && event !== null && Object.hasOwn(event, '__proto__'))
    throw refuse('__proto__', NAME_RULE)
}

function extensionFault(name: string, value: unknown): string | undefined {
  if (!ATTRIBUTE_NAME.test(name)) return NAME_RULE
  return extension.safeParse(value).error?.issues[0]?.message
}

/** An event that the schema took. */
export type CloudEvent = z.output<typeof cloudEventSchema>

/** Throws `invalid_request` where the attributes cannot all be headers: encoded they are no shorter. */
function requireShortAttributes(event: CloudEvent): void {
  let chars = 0
  for (const [name, value] of attributesOf(event)) chars += name.length + value.length
  if (chars > MAX_HEADER_BYTES) throw refuse('headers', `must be at most ${MAX_HEADER_BYTES} bytes together`)
}

/** The message that an event is stored as, in binary mode: its data, byte for byte, and a header for each attribute. */
export function toMessage(event: CloudEvent, subject: string): OutgoingMessage {
  // An event as the data of another would be taken for the event itself, were it not for structured mode.
  if (isEventType(event.datacontenttype ?? '')) {
    return {
      subject,
      payload: encodeUtf8(stringifyExactly(event)),
      headers: { 'Content-Type': [EVENT_TYPE] },
    }
  }
  requireShortAttributes(event)
  const headers = attributesOf(event).map(([name, value]) => [
    toHeaderName(name),
    [name === 'datacontenttype' ? value : encodeValue(value)],
  ])
  return { subject, payload: toPayload(event), headers: Object.fromEntries(headers) }
}

const encodeUtf8 = (text: string) => new TextEncoder().encode(text)

function toPayload({ data, data_base64: base64, datacontenttype }: CloudEvent): Uint8Array {
  if (typeof base64 === 'string') return Buffer.from(base64, 'base64')
  if (data === undefined) return new Uint8Array()
  if (typeof data !== 'string' || isJsonType(datacontenttype ?? undefined)) {
    return encodeUtf8(stringifyExactly(data))
  }
  if (!data.isWellFormed()) throw refuse('data', 'must not hold lone surrogates')
  return encodeUtf8(data)
}

/** The attributes that are there, each as its canonical text. */
function attributesOf(event: CloudEvent): [name: string, value: string][] {
  return Object.entries(event).flatMap(([name, value]): [string, string][] =>
    PAYLOAD_MEMBERS.has(name) || value === null || value === undefined ? [] : [[name, String(value)]],
  )
}

/** What makes an event the same event wherever it comes again, and no other: encoded, neither holds a space. */
export const keyOf = ({ source, id }: { readonly source: string; readonly id: string }): string =>
  `${encodeValue(source)} ${encodeValue(id)}`

/**
 * The key of the event that headers hold in binary mode; undefined where they hold none. The rules are those of an event
 * in JSON. Throws `invalid_request` naming the header.
 */
export function readBinaryEvent(headers: MessageHeaders): string | undefined {
  if (!claimsEvent(headers)) return undefined
  const { attributes } = readEventHeaders(headers)
  for (const [name, [value = '']] of Object.entries(headers)) {
    const fault = eventHeaderFault(name, value)
    if (fault !== undefined) throw refuse(name, fault)
  }
  const { data: event, error } = cloudEventSchema.safeParse(attributes)
  if (event) return keyOf(event)
  const errors = error.issues.map(({ path, message }) => ({ field: headerOf(path.join('.')), message }))
  const detail = errors.map(({ field, message }) => `${field}: ${message}`).join('; ')
  throw new BridgeError('invalid_request', detail, { errors })
}

const headerOf = (attribute: string) => (attribute === 'body' ? 'headers' : toHeaderName(attribute))

/** Where nothing is said of the NATS subject, it is the event's own. */
const DEFAULT_SUBJECT = '{subject}'
const TEMPLATE = /^(?:[^{}]|\{[a-z0-9]+\})*$/
const PLACEHOLDER = /\{([a-z0-9]+)\}/g

/**
 * What gives an event its NATS subject: a template, in which `{type}` stands for the attribute `type`, and so for each.
 * Both it and what it gives throw `invalid_request`; whether the subject is reserved is not looked at.
 */
export function compileSubject(template: string = DEFAULT_SUBJECT): (event: CloudEvent) => string {
  if (!TEMPLATE.test(template)) throw refuse('subject', 'must have the name of an attribute in each { }')
  return (event) => {
    const attributes = new Map(attributesOf(event))
    let left = MAX_SUBJECT_BYTES - template.length
    const subject = template.replace(PLACEHOLDER, (placeholder, name: string) => {
      const value = attributes.get(name)
      if (value === undefined) throw refuse(name, `must be there: the subject is made by "${template}"`)
      // Counted as it grows: a short template can name a long attribute again and again.
      left -= value.length - placeholder.length
      if (left < 0) throw refuse('subject', `must be at most ${MAX_SUBJECT_BYTES} bytes`)
      return value
    })
    const fault = subjectFault(subject)
    if (fault !== undefined) throw refuse('subject', fault)
    return subject
  }
}
