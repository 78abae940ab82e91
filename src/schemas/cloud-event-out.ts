/** Stored messages as CloudEvents in JSON: every message is one, and no payload is altered. */
import type { StoredMessage } from '../jetstream.ts'
import { type Attributes, isEvent, isJsonType, isTextType, readEventHeaders } from './cloud-event-headers.ts'
import { decodeText, parseJson, toBase64, toOneLine } from './payload.ts'

/** The type of a message that is no event by itself. */
const MESSAGE_TYPE = 'io.nats.jetstream.message'

/** Writes a message as one line of JSON, a CloudEvent. */
export type EncodeEvent = (message: StoredMessage) => string

/** An encoder for messages of one stream. */
export function createEventEncoder(stream: string): EncodeEvent {
  const source = `/v1/streams/${encodeURIComponent(stream)}`
  return (message) => {
    const { attributes, isStructured } = readEventHeaders(message.headers)
    const whole = isStructured ? readStructured(message.payload) : undefined
    if (whole !== undefined) return whole
    return encode(isEvent(attributes) ? attributes : describe(message, source, attributes), message.payload)
  }
}

/** The attributes of a message that is no event, so that a reader of events misses none. */
function describe({ seq, subject, time }: StoredMessage, source: string, said: Attributes): Attributes {
  const { datacontenttype } = said
  return {
    specversion: '1.0',
    id: String(seq),
    source,
    type: MESSAGE_TYPE,
    subject,
    time,
    ...(datacontenttype === undefined ? {} : { datacontenttype }),
  }
}

/** The payload as the event that it is; undefined where it is none. */
function readStructured(payload: Uint8Array): string | undefined {
  const text = decodeText(payload)
  const value = text === undefined ? undefined : parseJson(text)
  if (text === undefined || typeof value !== 'object' || value === null || Array.isArray(value))
    return undefined
  return isEvent(value as Readonly<Record<string, unknown>>) ? toOneLine(text) : undefined
}

function encode(attributes: Attributes, payload: Uint8Array): string {
  const data = payload.length === 0 ? '' : `,${encodeData(payload, attributes.datacontenttype)}`
  return `${JSON.stringify(attributes).slice(0, -1)}${data}}`
}

function encodeData(payload: Uint8Array, type: string | undefined): string {
  const isJson = isJsonType(type)
  const text = isJson || isTextType(type ?? '') ? decodeText(payload) : undefined
  if (text !== undefined && !isJson) return `"data":${JSON.stringify(text)}`
  if (text !== undefined && parseJson(text) !== undefined) return `"data":${toOneLine(text)}`
  return `"data_base64":"${toBase64(payload)}"`
}
