/** Hostile requests, drawn from the contract itself: every operation, every field of it, and every way to send them. */
import { gzipSync } from 'node:zlib'
import document from '../../../openapi/openapi.json' with { type: 'json' }
import { isLinesType } from '../../../src/media-types.ts'
import {
  HOSTILE_TEXTS,
  type Path,
  pathsOf,
  pickOf,
  plausible,
  type Resolve,
  type Schema,
  withTextAt,
} from './hostile-values.ts'

/**
 * `read`: whole, and its answer is taken. `unread`: the answer is not taken. `half`: no more than a part of it comes.
 * `slow`: it comes byte by byte. `left`: the client is gone soon after.
 */
export type Manner = 'read' | 'unread' | 'half' | 'slow' | 'left'

export interface HostileRequest {
  readonly operationId: string
  /** What is hostile about it, for the fault log. */
  readonly what: string
  readonly manner: Manner
  readonly by: keyof Callers
  readonly head: string
  readonly body: Buffer
}

/** `Authorization` of each kind of caller; empty: none. */
export interface Callers {
  readonly tenant: string
  readonly wrong: string
  readonly nobody: string
}

/** Streams of the hostile tenant: many subjects, messages that grow when they are encoded, a queue, and one to be destroyed. */
export const STREAMS = { many: 'MANY', large: 'LARGE', queue: 'QUEUE', scratch: 'SCRATCH' } as const
export const CONSUMER = 'worker'
const SUBJECT = 'scratch.a'

interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly schema: Schema
}

interface Operation {
  readonly id: string
  readonly method: string
  readonly template: string
  readonly parameters: readonly Parameter[]
  readonly bodies: readonly (readonly [type: string, schema: Schema])[]
}

type Json = Readonly<Record<string, unknown>>

const components = document.components.schemas as unknown as Readonly<Record<string, Schema>>
const resolve: Resolve = (schema) =>
  schema.$ref === undefined ? schema : resolve(components[schema.$ref.split('/').at(-1) ?? ''] ?? {})

const OPERATIONS: readonly Operation[] = Object.entries(
  document.paths as Readonly<Record<string, Json>>,
).flatMap(([template, methods]) =>
  Object.entries(methods).flatMap(([method, described]) => {
    const {
      operationId,
      parameters = [],
      requestBody,
    } = described as {
      operationId?: string
      parameters?: Parameter[]
      requestBody?: { content: Readonly<Record<string, { schema: Schema }>> }
    }
    if (operationId === undefined) return []
    const bodies = Object.entries(requestBody?.content ?? {}).map(
      ([type, { schema }]) => [type, schema] as const,
    )
    return [{ id: operationId, method: method.toUpperCase(), template, parameters, bodies }]
  }),
)

/** What changes or removes a stream is asked of one that nobody needs. */
const DESTRUCTIVE = new Set(['deleteStream', 'updateStream', 'purgeStream', 'deleteMessage', 'createStream'])

const FILTERS = Array.from({ length: 32 }, (_, at) => `subject=${encodeURIComponent(`many.*.${at}.>`)}`).join(
  '&',
)

/** Queries that the contract takes, and that ask for as much as it allows. */
const COSTLY_QUERIES: Readonly<Record<string, readonly string[]>> = {
  readMessages: [
    `start=tail:100000&${FILTERS}`,
    'start=last_per_subject&limit=1000',
    `start=last_per_subject&${FILTERS}`,
    'start=tail:100000',
    'limit=1000&max_bytes=67108864',
    'limit=1000&payload=json',
    `start=time:2026-01-01T00:00:00Z&${FILTERS}`,
    'wait_ms=60000&start=new',
    `subject=${encodeURIComponent('nothing.here.>')}`,
    'start=beginning&format=cloudevents',
  ],
  listSubjects: ['subject=%3E', 'subject=many.%3E', 'offset=1000'],
  getMessage: ['payload=base64', 'payload=json'],
}

const ACCEPTS = [
  'application/json',
  'application/x-ndjson',
  'text/event-stream',
  'application/json, text/event-stream;q=0.1',
  'application/cloudevents-batch+json',
  '*/*',
]

const MANNERS: readonly Manner[] = ['read', 'read', 'read', 'unread', 'half', 'slow', 'left', 'left']
const CALLERS: readonly (keyof Callers)[] = [
  'tenant',
  'tenant',
  'tenant',
  'tenant',
  'tenant',
  'wrong',
  'nobody',
]

interface Content {
  readonly what: string
  readonly query?: string
  readonly lines?: readonly string[]
  readonly type?: string
  readonly body?: string | Buffer
}

/** Draws requests without end; `callers`: who may be said to send them. */
export function hostileRequests(random: () => number, callers: Callers): () => HostileRequest {
  return () => {
    const operation = pickOf(random, OPERATIONS)
    const content = drawContent(operation, random)
    const manner = pickOf(random, MANNERS)
    const by = pickOf(random, CALLERS)
    const isZipped = content.body !== undefined && random() < 0.2
    const plain = Buffer.from(content.body ?? '')
    const body = isZipped ? gzipSync(plain, { level: 1 }) : plain
    const lines = [
      'Host: 127.0.0.1',
      ...(callers[by] === '' ? [] : [`Authorization: ${callers[by]}`]),
      ...(content.type === undefined ? [] : [`Content-Type: ${content.type}`]),
      ...(content.body === undefined ? [] : [`Content-Length: ${body.length}`]),
      ...(isZipped ? ['Content-Encoding: gzip'] : []),
      ...(content.lines ?? []),
    ]
    const query = content.query ? `?${content.query}` : ''
    const target = `${pathFor(operation, random)}${query}`
    return {
      operationId: operation.id,
      what: `${content.what}${isZipped ? ', as gzip' : ''}, ${manner}, by ${by}`,
      manner,
      by,
      head: `${operation.method} ${target} HTTP/1.1\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`,
      body,
    }
  }
}

function pathFor({ id, template }: Operation, random: () => number): string {
  const stream = DESTRUCTIVE.has(id) ? STREAMS.scratch : pickOf(random, Object.values(STREAMS))
  const values: Readonly<Record<string, string>> = {
    stream_name: stream,
    consumer: id === 'deleteConsumer' ? 'nobody' : pickOf(random, [CONSUMER, 'c1', 'c2']),
    subject: SUBJECT,
    seq: pickOf(random, ['1', '2', '9007199254740991', '18446744073709551616', '-1', '1e9']),
  }
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? 'x')
}

function drawContent(operation: Operation, random: () => number): Content {
  const body = operation.bodies.length > 0 ? pickOf(random, operation.bodies) : undefined
  const costly = COSTLY_QUERIES[operation.id]
  if (body && random() < 0.75) return drawBody(body, operation, random)
  if (costly && random() < 0.6)
    return {
      what: 'a costly query',
      query: pickOf(random, costly),
      lines: [`Accept: ${pickOf(random, ACCEPTS)}`],
    }
  return random() < 0.5 ? drawQuery(operation, random) : drawHeaders(operation, random)
}

function drawBody(
  [type, schema]: readonly [string, Schema],
  { id }: Operation,
  random: () => number,
): Content {
  if (type === '*/*' || type === 'application/octet-stream') return drawPayload(random)
  const draw = { random, resolve }
  const kind = pickOf(random, Object.keys(HOSTILE_TEXTS))
  const path = pickOf(random, pathsOf(schema, resolve))
  const base = { ...(plausible(schema, draw) as object), ...fixedFields(id, random) }
  const text = withTextAt(base, path, HOSTILE_TEXTS[kind]?.(random) ?? '')
  const lines = isLinesType(type) ? `${text}\n`.repeat(text.length > 10_000 ? 1 : 200) : text
  return { what: `${id}: ${fieldOf(path)} ${kind}`, type, body: lines }
}

const fieldOf = (path: Path) => (path.length === 0 ? 'the body' : path.join('.'))

/** Names that keep the hostile within what is theirs, and that have it reach JetStream at all. */
function fixedFields(operationId: string, random: () => number): object {
  switch (operationId) {
    case 'createStream':
      return {
        name: STREAMS.scratch,
        subjects: ['scratch.>'],
        storage: 'memory',
        max_bytes: 4_000_000,
        allow_atomic: true,
      }
    case 'publishMessages':
      return random() < 0.5 ? { subject: SUBJECT } : {}
    case 'createTicket':
      return { stream: STREAMS.many }
    default:
      return {}
  }
}

function drawPayload(random: () => number): Content {
  const size = Math.ceil(3_000_000 ** random())
  const names = Array.from({ length: Math.ceil(2_000 ** random()) }, (_, at) => `NatsH-N${at}: v`)
  return {
    what: 'a payload and its headers',
    type: 'text/plain',
    body: Buffer.alloc(size, 1),
    lines: random() < 0.5 ? names : [],
  }
}

function drawQuery({ parameters }: Operation, random: () => number): Content {
  const names = parameters.filter((one) => one.in === 'query').map(({ name }) => name)
  const name = encodeURIComponent(pickOf(random, [...names, 'subject[]', 'no_such']))
  const value = encodeURIComponent(
    pickOf(random, [
      '',
      '>',
      '*.>',
      'a'.repeat(5_000),
      '{type}'.repeat(300),
      '1e99',
      '-1',
      'tail:1e9',
      '💥',
      'null',
      '[]',
    ]),
  )
  const times = Math.ceil(800 ** random())
  const query = Array.from({ length: value.length > 100 ? 1 : times }, () => `${name}=${value}`).join('&')
  return { what: `a query of ${name}`, query, lines: [`Accept: ${pickOf(random, ACCEPTS)}`] }
}

function drawHeaders({ parameters }: Operation, random: () => number): Content {
  const names = parameters.filter((one) => one.in === 'header').map(({ name }) => name)
  const known = [
    ...names,
    'Accept',
    'Origin',
    'X-Request-Id',
    'If-None-Match',
    'Last-Event-ID',
    'Accept-Encoding',
  ]
  const name = pickOf(random, known)
  const value = pickOf(random, [
    '',
    ',',
    'a,'.repeat(3_000),
    '*/*;q=0,'.repeat(500),
    'x'.repeat(7_000),
    '"',
    '\xff\xfe',
    '0',
  ])
  const times = Math.ceil(60 ** random())
  return {
    what: `a header ${name}`,
    lines: Array.from({ length: value.length > 100 ? 1 : times }, () => `${name}: ${value}`),
  }
}
