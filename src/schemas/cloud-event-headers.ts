/** How the attributes of a CloudEvent stand in headers: the binary mode of HTTP and of NATS. */
import type { MessageHeaders } from '../jetstream.ts'
import { isServable, mediaTypeOf } from '../media-types.ts'

/** The media types of an event, and of an array of them, as JSON. */
export const EVENT_TYPE = 'application/cloudevents+json'
export const EVENT_BATCH_TYPE = 'application/cloudevents-batch+json'

/** Attributes by name, as text. */
export type Attributes = Readonly<Record<string, string>>

/** What a message's headers say of an event. `isStructured`: the payload is to be a whole event. */
export interface EventHeaders {
  readonly attributes: Attributes
  readonly isStructured: boolean
}

/** What every CloudEvent has. */
const REQUIRED = ['specversion', 'id', 'source', 'type']

const PREFIX = 'ce-'
const ATTRIBUTE = /^[a-z0-9]+$/

/** The header of an attribute, as HTTP's binding has it: `datacontenttype` has one of its own. */
export const toHeaderName = (attribute: string): string =>
  attribute === 'datacontenttype' ? 'Content-Type' : PREFIX + attribute

/** Percent-encodes what a header may not hold as it is. Source: CloudEvents HTTP Protocol Binding, HTTP Header Values. */
export const encodeValue = (text: string): string =>
  text.replace(/[^!-~]|["%]/gu, (character) => encodeURIComponent(character))

/** Undoes `encodeValue`, and the quotes that older senders put around; what is no valid encoding stays as it is. */
function decodeValue(text: string): string {
  const [, quoted] = /^"((?:[^"\\]|\\.)*)"$/.exec(text) ?? []
  const bare = quoted === undefined ? text : quoted.replace(/\\(.)/g, '$1')
  return bare.replace(ESCAPES, (run) => decodeRun(run) ?? run)
}

const ESCAPES = /(?:%[\da-f]{2})+/gi

function decodeRun(run: string): string | undefined {
  try {
    return decodeURIComponent(run)
  } catch {
    return undefined
  }
}

/** Why a header of an event is not one that holds an attribute; undefined where it does, or is none of the event's. */
export function eventHeaderFault(header: string, value: string): string | undefined {
  const name = header.toLowerCase()
  if (!name.startsWith(PREFIX)) return undefined
  if (!ATTRIBUTE.test(name.slice(PREFIX.length))) return 'must name an attribute by a to z and 0 to 9'
  if (toAttribute(name) === undefined) return 'is no attribute: the data is the body'
  return value.match(ESCAPES)?.some((run) => decodeRun(run) === undefined)
    ? 'must be UTF-8 where it is percent-encoded'
    : undefined
}

/** The attribute that a header holds; undefined where it holds none. */
function toAttribute(header: string): string | undefined {
  const name = header.toLowerCase()
  if (!name.startsWith(PREFIX)) return undefined
  const attribute = name.slice(PREFIX.length)
  // An attribute must not be named `data`: in JSON that is the payload.
  return ATTRIBUTE.test(attribute) && attribute !== 'data' ? attribute : undefined
}

/**
 * Reads the attributes in headers, their names in any case. `datacontenttype` is `ce-datacontenttype`, which the NATS
 * binding has, before `Content-Type`, which HTTP's has.
 */
export function readEventHeaders(headers: MessageHeaders): EventHeaders {
  const attributes: Record<string, string> = {}
  let contentType = ''
  for (const [name, [value = '']] of Object.entries(headers)) {
    const attribute = toAttribute(name)
    if (attribute !== undefined) attributes[attribute] = decodeValue(value)
    else if (name.toLowerCase() === 'content-type') contentType = value
  }
  const datacontenttype = attributes.datacontenttype || contentType
  if (datacontenttype !== '') attributes.datacontenttype = datacontenttype
  return { attributes, isStructured: isEventType(contentType) }
}

const VERSION_HEADER = 'ce-specversion'

/** Whether headers, their names in any case, say that they are those of an event. */
export function claimsEvent(headers: MessageHeaders): boolean {
  for (const name in headers)
    if (name.length === VERSION_HEADER.length && name.toLowerCase() === VERSION_HEADER) return true
  return false
}

/** Whether an event has all that it must have. */
export const isEvent = (members: Readonly<Record<string, unknown>>): boolean =>
  REQUIRED.every((name) => typeof members[name] === 'string' && members[name] !== '')

/** The headers that answer a stored message in HTTP's binary mode, `Content-Type` among them; none where it is no binary event. */
export function toBinaryHeaders(headers: MessageHeaders): Attributes {
  const { attributes, isStructured } = readEventHeaders(headers)
  if (isStructured || !isEvent(attributes)) return {}
  const { datacontenttype = '' } = attributes
  const sent = Object.entries(headers).flatMap(([name, [value = '']]) => {
    const attribute = toAttribute(name)
    return attribute === undefined || attribute === 'datacontenttype'
      ? []
      : [[toHeaderName(attribute), toVisible(value)]]
  })
  if (isServable(datacontenttype)) sent.push(['Content-Type', datacontenttype])
  const chars = sent.reduce((sum, [name = '', value = '']) => sum + name.length + value.length, 0)
  return chars > MAX_SENT_CHARS ? {} : Object.fromEntries(sent)
}

/** More than that no client takes in the headers of one answer: the event is there as JSON. */
const MAX_SENT_CHARS = 8_192

/** What HTTP can carry of a value that a publisher may have stored by NATS alone. */
const toVisible = (value: string) => (/^[!-~]*$/.test(value) ? value : encodeValue(decodeValue(value)))

/** Whether a content type says that the data is JSON; none says so as well. Source: CloudEvents JSON Event Format. */
export const isJsonType = (contentType: string | undefined): boolean =>
  contentType === undefined || /^[^/]+\/(?:.*\+)?json$/.test(mediaTypeOf(contentType))

/** Whether a content type says that the data is text. */
export const isTextType = (contentType: string): boolean =>
  /^text\/|^[^/]+\/(?:.*\+)?xml$/.test(mediaTypeOf(contentType)) || /;\s*charset=/i.test(contentType)

const EVENT_TYPES: ReadonlySet<string> = new Set([EVENT_TYPE, 'application/cloudevents'])

/** Whether a content type says that the payload is a whole event; the NATS binding names the shorter one. */
export const isEventType = (contentType: string): boolean => EVENT_TYPES.has(mediaTypeOf(contentType))
