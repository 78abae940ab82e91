/** The wire form of a message, and writes it: payloads as text where they are text, else as base64. */
import { isUtf8 } from 'node:buffer'
import type { MessageHeaders, StoredMessage } from '../jetstream.ts'
import type { MessageForm, PayloadForm } from '../reading.ts'
import { createEventEncoder } from './cloud-event-out.ts'
import { seq, streamName } from './names.ts'
import { decodeText, parseJson, toBase64, toOneLine } from './payload.ts'
import * as z from './zod.ts'

/** Also what the parts of a ticket may be: all of it has to go into a URL. */
const MAX_CURSOR_CHARS = 8_192

export const cursorText = z.string().min(1).max(MAX_CURSOR_CHARS).openapi({
  description: 'A position in the stream, opaque and sealed: go on right after it.',
  example: 'c1.k1.mXb0qQ1yq3bN0bVY0Zs5d1m6sT3cJg',
})

/** The same in a query, where an empty one is none. */
export const cursorQuery = z
  .string()
  .max(MAX_CURSOR_CHARS)
  .openapi({
    description: 'Go on right after this position, opaque and sealed. Empty: as if it were absent.',
    example: 'c1.k1.mXb0qQ1yq3bN0bVY0Zs5d1m6sT3cJg',
  })
  .transform((text) => text || undefined)
  .optional()

export const payloadForm = z.enum(['base64', 'json']).optional().openapi({
  description:
    '`base64`: every payload as `data_base64`. `json`: adds `json`, the parsed value, where the payload parses.',
})

/** A keyword of OpenAPI 3.1: the library's types know those of 3.0 alone. */
const BASE64: object = { contentEncoding: 'base64' }

const messageShape = {
  stream: streamName,
  // Not the schema of a publish: what was published by NATS itself may be longer.
  subject: z.string().openapi({ description: 'What it was published to.', example: 'orders.eu.42' }),
  seq,
  time: z.iso.datetime({ offset: true }).openapi({
    description: 'When the server stored it, with nanoseconds.',
    example: '2026-11-20T10:00:00.123456789Z',
  }),
  headers: z.record(z.string(), z.array(z.string())).openapi({
    description: 'Names in their own case, values in their order.',
    example: { 'Content-Type': ['application/json'] },
  }),
  data: z
    .string()
    .optional()
    .openapi({ description: 'The payload, where it is valid UTF-8.', example: '{"id":7}' }),
  data_base64: z
    .base64()
    .optional()
    .openapi({
      description: 'The payload, where it is not, or where it was asked for.',
      ...BASE64,
      example: '/wD+',
    }),
  json: z
    .unknown()
    .optional()
    .openapi({ description: 'With `payload=json`: the parsed payload, where it parses.' }),
}

export const messageSchema = z
  .object({ ...messageShape, cursor: cursorText })
  .openapi('Message', { description: 'One message; exactly one of `data` and `data_base64` is there.' })

export const deliverySchema = z
  .object({
    ...messageShape,
    ack_token: z.string().openapi({
      description: 'Settles this delivery, from anywhere: `POST /v1/acks`.',
      example: 'a1.k1.F0Ex3KbtDgMfQmVSmdgT1IQlpNsR3',
    }),
    delivery_count: z
      .number()
      .int()
      .min(1)
      .openapi({ description: 'Which delivery of the message this is.', example: 1 }),
    ack_deadline: z.iso.datetime({ offset: true }).nullable().openapi({
      description:
        "Until when the delivery is this client's to settle; null where JetStream never delivers again.",
    }),
  })
  .openapi('Delivery', { description: 'A message handed out by a consumer.' })

/** Writes a message as one line of JSON; `rest` are its last members: the cursor, or the delivery's. */
export function encodeMessage(
  stream: string,
  message: StoredMessage,
  form: PayloadForm,
  rest: Readonly<Record<string, unknown>>,
): string {
  return createMessageEncoder(stream, form)(message, JSON.stringify(rest).slice(1, -1))
}

/** Writes a message as one line of JSON; `rest`: its last members, as JSON, which an event has no place for. */
export type EncodeMessage = (message: StoredMessage, rest: string) => string

/** An encoder for messages of one stream. By hand: what `JSON.stringify` takes for each is a multiple of it. */
export function createMessageEncoder(stream: string, form: MessageForm): EncodeMessage {
  if (form === 'cloudevents') return createEventEncoder(stream)
  const head = `{"stream":${JSON.stringify(stream)},"subject":`
  return (message, rest) => `${head}${encodeHead(message)},${encodePayload(message.payload, form)},${rest}}`
}

/** From its subject to its headers. */
const encodeHead = ({ subject, seq, time, headers }: StoredMessage): string =>
  `${JSON.stringify(subject)},"seq":${seq},"time":"${time}","headers":${encodeHeaders(headers)}`

/** A payload of more is written in parts: as one text it would be there several times, and six times as long. */
const LARGE_BYTES = 65_536
/** Of a payload, written at once; in base64 nothing is left over of it. */
const PART_BYTES = 49_152

/** Whether `messageParts` is for a message. JSON and events are read as a whole. */
export const isLargeMessage = ({ payload }: StoredMessage, form: MessageForm): boolean =>
  payload.length > LARGE_BYTES && (form === 'text' || form === 'base64')

/** What an encoder would write for a large message, part by part. */
export function* messageParts(
  stream: string,
  form: MessageForm,
  { message, rest }: { readonly message: StoredMessage; readonly rest: string },
): Generator<string, void, undefined> {
  const { payload } = message
  const isText = form === 'text' && isUtf8(payload)
  yield `{"stream":${JSON.stringify(stream)},"subject":${encodeHead(message)},${isText ? '"data":"' : '"data_base64":"'}`
  for (let at = 0; at < payload.length; ) {
    const end = isText ? endOfCharacter(payload, at + PART_BYTES) : at + PART_BYTES
    const part = payload.subarray(at, end)
    yield isText ? JSON.stringify(utf8.decode(part)).slice(1, -1) : toBase64(part)
    at = end
  }
  yield `",${rest}}`
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const CONTINUES = 0b1000_0000
const CONTINUES_MASK = 0b1100_0000

/** Where the character that `at` is in the middle of begins: a part ends there. */
function endOfCharacter(payload: Uint8Array, at: number): number {
  let end = Math.min(at, payload.length)
  while (end < payload.length && ((payload[end] ?? 0) & CONTINUES_MASK) === CONTINUES) end -= 1
  return end
}

function encodeHeaders(headers: MessageHeaders): string {
  for (const _ in headers) return JSON.stringify(headers)
  return '{}'
}

function encodePayload(payload: Uint8Array, form: PayloadForm): string {
  const text = form === 'base64' ? undefined : decodeText(payload)
  if (text === undefined) return `"data_base64":"${toBase64(payload)}"`
  return form === 'json' ? `"data":${JSON.stringify(text)}${asJson(text)}` : `"data":${JSON.stringify(text)}`
}

/** The text itself where it parses: parsed and written again, numbers would lose what a double cannot hold. */
const asJson = (text: string): string => (parseJson(text) === undefined ? '' : `,"json":${toOneLine(text)}`)
