/** Requests made of fuzzed words: publishes of every kind, and everything that names a subject to JetStream. */

import type { Words } from './fuzzed-words.ts'
import { OPERATIONS } from './operations.ts'

/** What a publish asks for, and so may be on the wire once. */
export interface Intent {
  readonly id: number
  readonly subject: string
  readonly payload: string
  /** `Name: value` each; undefined where the headers are of an event, and known by their names alone. */
  readonly headerLines: readonly string[] | undefined
}

export interface FuzzedRequest {
  readonly method: string
  readonly path: string
  readonly body: Buffer
  readonly lines: readonly (readonly [name: string, value: string])[]
  readonly intents: readonly Intent[]
  /** Streams and consumers that it names. */
  readonly names: readonly string[]
  /** Subjects and filters that it names beside. */
  readonly filters: readonly string[]
}

type Make = (words: Words, nextId: () => number) => FuzzedRequest

const NOTHING = { lines: [], intents: [], names: [], filters: [], body: Buffer.alloc(0) }
const JSON_LINE = ['Content-Type', 'application/json'] as const
const INJECTIONS = ['', '\r\nPUB evil 1\r\nx\r\n', '\0', '\r\n\r\n', '"}', '\n{"subject":"evil"}\n', 'é💥']
/** What a publisher may say to JetStream, as JetStream spells it. */
const NATS_NAMES = new Map(
  OPERATIONS.find(({ id }) => id === 'publishMessage')
    ?.headerNames.filter((name) => name.startsWith('Nats-'))
    .map((name) => [name.toLowerCase(), name]),
)

const payloadOf = (id: number, words: Words) => `m${id}!${words.pick(INJECTIONS)}`

/** As it is, or with what encoding would have kept apart left in it. */
const encodePath = (text: string, words: Words): string => {
  const encoded = [...Buffer.from(text, 'utf8')]
    .map((byte) =>
      /[\w.~-]/.test(String.fromCharCode(byte))
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).padStart(2, '0')}`,
    )
    .join('')
  return words.chance(0.2) ? encoded.replaceAll('%25', '%') : encoded
}

/** What the bridge makes of it: escapes that are none stay as they are. */
const decodePath = (text: string): string =>
  text.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => {
    try {
      return decodeURIComponent(escapes)
    } catch {
      return escapes
    }
  })

/** What becomes of a request's header on the message; undefined: nothing may. */
function ownLine(name: string, value: string): string | undefined {
  const lower = name.toLowerCase()
  if (lower === 'idempotency-key') return `Nats-Msg-Id: ${value}`
  if (lower === 'content-type') return `Content-Type: ${value}`
  if (lower === 'traceparent' || lower === 'tracestate') return `${lower}: ${value}`
  if (lower.startsWith('natsh-'))
    return `${lower.slice('natsh-'.length).replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase())}: ${value}`
  const known = NATS_NAMES.get(lower)
  return known === undefined ? undefined : `${known}: ${value}`
}

/** As HTTP has it: what is there twice is one list. */
const combine = (lines: FuzzedRequest['lines']) =>
  [...Map.groupBy(lines, ([name]) => name.toLowerCase())].map(
    ([name, alike]) =>
      [name, alike.map(([, value]) => trimmedAsHttp(value.toWellFormed())).join(', ')] as const,
  )

const single: Make = (words, nextId) => {
  const id = nextId()
  const payload = payloadOf(id, words)
  const encoded = encodePath(words.subject(), words)
  const lines = Array.from({ length: words.pick([0, 1, 2]) }, () => headerLine(words)).filter(
    // What ends a line on the wire makes another line of it, which is nobody's fault.
    ([name, value]) => !/[\n\r]/.test(name + value) && name !== '' && !/^ce-/i.test(name),
  )
  const headerLines = combine(lines).flatMap(([name, value]) => ownLine(name, value) ?? [])
  return {
    ...NOTHING,
    method: 'POST',
    path: `/v1/subjects/${encoded}/messages`,
    body: Buffer.from(payload),
    lines,
    intents: [{ id, subject: decodePath(encoded), payload, headerLines }],
  }
}

function headerLine(words: Words): readonly [string, string] {
  const name = words.pick(['NatsH-', 'natsh-', 'NATSH-', '', '']) + words.headerName()
  return words.chance(0.2) ? ['Idempotency-Key', words.headerValue()] : [name, words.headerValue()]
}

function outgoing(words: Words, id: number): { message: object; intent: Intent } {
  const [subject, payload] = [words.subject(), payloadOf(id, words)]
  const [name, value] = [words.headerName(), words.headerValue()]
  const key = words.chance(0.2) ? words.headerValue() : undefined
  const extra = words.chance(0.1)
    ? { [words.pick(['reply', 'reply_to', 'Reply', '__proto__'])]: '_INBOX.evil' }
    : {}
  const message = {
    subject,
    data: payload,
    headers: { [name]: words.chance(0.5) ? value : [value] },
    ...(key === undefined ? {} : { id: key }),
    ...extra,
  }
  const headerLines = [
    `${NATS_NAMES.get(name.toLowerCase()) ?? name}: ${value}`,
    ...(key === undefined ? [] : [`Nats-Msg-Id: ${key}`]),
  ]
  return { message, intent: { id, subject, payload, headerLines } }
}

const several = (words: Words, nextId: () => number) =>
  Array.from({ length: words.pick([1, 2, 5]) }, () => outgoing(words, nextId()))

const lines: Make = (words, nextId) => {
  const made = several(words, nextId)
  return {
    ...NOTHING,
    method: 'POST',
    path: '/v1/messages',
    lines: [['Content-Type', 'application/x-ndjson']],
    body: Buffer.from(made.map(({ message }) => `${JSON.stringify(message)}\n`).join('')),
    intents: made.map(({ intent }) => intent),
  }
}

const batch: Make = (words, nextId) => {
  const made = several(words, nextId)
  return {
    ...NOTHING,
    method: 'POST',
    path: '/v1/messages',
    lines: [JSON_LINE],
    body: Buffer.from(JSON.stringify({ messages: made.map(({ message }) => message) })),
    intents: made.map(({ intent }) => intent),
  }
}

const event: Make = (words, nextId) => {
  const id = nextId()
  const payload = payloadOf(id, words)
  const subject = words.subject()
  const byTemplate = words.chance(0.3)
  const made = {
    specversion: '1.0',
    id: `${id}${words.headerValue()}`,
    source: words.chance(0.5) ? '/fuzz' : words.headerValue(),
    type: byTemplate ? subject : words.headerValue(),
    ...(byTemplate ? {} : { subject }),
    ...(words.chance(0.3)
      ? { [words.headerName()]: words.headerValue() }
      : { extension: words.headerValue() }),
    data: payload,
  }
  const isBatch = words.chance(0.3)
  return {
    ...NOTHING,
    method: 'POST',
    path: `/v1/messages${byTemplate ? '?subject=fuzz.%7Btype%7D' : ''}`,
    lines: [['Content-Type', `application/cloudevents${isBatch ? '-batch' : ''}+json`]],
    body: Buffer.from(JSON.stringify(isBatch ? [made] : made)),
    intents: [{ id, subject: byTemplate ? `fuzz.${subject}` : subject, payload, headerLines: undefined }],
  }
}

const json = (method: string, path: string, body: object, asked: Partial<FuzzedRequest>): FuzzedRequest => ({
  ...NOTHING,
  method,
  path,
  lines: [JSON_LINE],
  body: Buffer.from(JSON.stringify(body)),
  ...asked,
})

const config: Make = (words) => {
  const [name, filter] = [words.name(), words.filter()]
  const encoded = encodePath(name, words)
  const asked = { names: [decodePath(encoded)], filters: [filter] }
  const query = encodeURIComponent(filter.toWellFormed())
  return words.pick<() => FuzzedRequest>([
    () =>
      json(
        'POST',
        '/v1/streams',
        { name, subjects: [`made.${filter}`], storage: 'memory' },
        { names: [name] },
      ),
    // Never the stream itself, which has to go on listening.
    () =>
      json(
        'PUT',
        `/v1/streams/x${encoded}`,
        { subjects: [`made.${filter}`], storage: 'memory' },
        { names: [decodePath(`x${encoded}`)] },
      ),
    () => json('PUT', `/v1/streams/FUZZ/consumers/${encoded}`, { filter_subjects: [filter] }, asked),
    () =>
      json(
        'PUT',
        `/v1/streams/FUZZ/consumers/${encoded}`,
        { description: filter, metadata: { [filter]: filter } },
        asked,
      ),
    () => json('POST', `/v1/streams/FUZZ/consumers/${encoded}/pull`, { batch: 1 }, asked),
    () => json('POST', '/v1/streams/FUZZ/purge', { filter: `none.${filter}` }, { filters: [] }),
    () =>
      json('POST', '/v1/tickets', { stream: name, subjects: [filter] }, { names: [name], filters: [filter] }),
    () => ({
      ...NOTHING,
      method: 'GET',
      path: `/v1/streams/FUZZ/messages?limit=2&subject=${query}`,
      ...asked,
    }),
    () => ({ ...NOTHING, method: 'GET', path: `/v1/streams/FUZZ/messages/last?subject=${query}`, ...asked }),
    () => ({ ...NOTHING, method: 'GET', path: `/v1/streams/FUZZ/subjects?subject=${query}`, ...asked }),
    () => ({ ...NOTHING, method: 'GET', path: `/v1/streams/${encoded}`, ...asked }),
  ])()
}

/** Twice as many publishes of each kind as all that only names something. */
const MAKES: readonly Make[] = [single, single, lines, lines, batch, batch, event, event, config, config]

/** Draws requests; each publish of them carries a number of its own in its payload. */
export function createRequests(words: Words): () => FuzzedRequest {
  let last = 0
  const nextId = () => {
    last += 1
    return last
  }
  return () => words.pick(MAKES)(words, nextId)
}

/** HTTP takes these alone off the ends of a value, not what else Unicode calls white space. */
const trimmedAsHttp = (value: string): string => value.replaceAll(/^[ \t]+|[ \t]+$/g, '')
