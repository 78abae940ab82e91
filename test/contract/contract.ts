/** The check of a response against the published contract: status, headers and the shape of what it carries. */
import { z } from 'zod'

/** A response whose body was read, or the head of one that goes on. */
export interface Received {
  readonly method: string
  readonly path: string
  readonly status: number
  readonly headers: Headers
  /** Absent: the body is still being received. */
  readonly bytes?: Uint8Array
  /** The body is a message's own payload, of whatever type its publisher said. */
  readonly raw?: boolean
}

/** Each check throws an `Error` that says what the contract promised. */
export interface Contract {
  check(received: Received): void
  /** One line of newline-delimited JSON, or one server-sent event as `{ id?, event, data }`. */
  checkPart(received: Received, part: unknown): void
}

type Json = Readonly<Record<string, unknown>>
/** A problem for each code that an operation declares. */
type Examples = Readonly<Record<string, Json>>

interface ResponseObject {
  /** Written once among the components. */
  readonly $ref?: string
  readonly content?: Readonly<Record<string, { readonly schema?: unknown; readonly examples?: Json }>>
}

interface Operation {
  readonly operationId: string
  readonly responses: Readonly<Record<string, ResponseObject>>
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components?: {
    readonly schemas?: Json
    readonly examples?: Json
    readonly responses?: Readonly<Record<string, ResponseObject>>
  }
}

const PROBLEM = 'application/problem+json'
const PROBLEM_MEMBERS = [
  'type',
  'title',
  'status',
  'detail',
  'code',
  'request_id',
  'retryable',
  'side_effects',
] as const
const OTHER_PROBLEM_MEMBERS = [
  'errors',
  'current_seq',
  'current_msg_id',
  'current_stream',
  'results',
  'next_index',
  'earliest_seq',
  'missed',
  'earliest_cursor',
]
/** What a problem of one code always says, whatever happened. */
const FIXED_MEMBERS = ['title', 'status', 'retryable', 'side_effects'] as const

/** Reads `GET /openapi.json` of the bridge under test. */
export function createContract(document: unknown): Contract {
  const { paths, components = {} } = document as Document
  const validators = new Map<unknown, z.ZodType>()

  const validator = (schema: unknown) => {
    const known = validators.get(schema)
    if (known) return known
    const closed = close({
      ...(schema as Json),
      $defs: components.schemas ?? {},
    }) as z.core.JSONSchema.JSONSchema
    const made = z.fromJSONSchema(closed)
    validators.set(schema, made)
    return made
  }

  const validate = (received: Received, schema: unknown, value: unknown) => {
    const { error } = validator(schema).safeParse(value)
    if (error) fail(received, `is not of the declared shape: ${z.prettifyError(error)}\n${preview(value)}`)
  }

  const resolve = (examples: Json = {}): Examples =>
    Object.fromEntries(
      Object.entries(examples).map(([name, example]) => {
        const { $ref } = example as { $ref?: string }
        const found = $ref === undefined ? example : components.examples?.[$ref.split('/').at(-1) ?? '']
        return [name, (found as { value: Json }).value]
      }),
    )

  return {
    check(received) {
      checkHeaders(received)
      const operation = findOperation(paths, received)
      if (!operation) return checkUnknown(received)
      const content = declaredContent(received, operation, components.responses)
      const { bytes } = received
      const media = mediaType(received)
      if (bytes === undefined || media === '' || received.method === 'HEAD') return
      if (media === PROBLEM) checkProblem(received, parse(received), resolve(content[PROBLEM]?.examples))
      if (/[/+]json$/.test(media) && content[media])
        validate(received, content[media].schema, parse(received))
    },

    checkPart(received, part) {
      const operation = findOperation(paths, received)
      const schema =
        operation && declaredContent(received, operation, components.responses)[mediaType(received)]?.schema
      validate(received, schema, part)
    },
  }
}

/** An object has the members it declares and no others, unless it says so. */
function close(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(close)
  if (typeof schema !== 'object' || schema === null) return schema
  const entries = Object.entries(schema)
    .filter(([name]) => name !== 'example' && name !== 'examples')
    .map(([name, value]) => [
      name,
      name === '$ref' ? String(value).replace('#/components/schemas/', '#/$defs/') : close(value),
    ])
  const closed = Object.fromEntries(entries) as Json
  return closed.properties && closed.additionalProperties === undefined
    ? { ...closed, additionalProperties: false }
    : closed
}

function findOperation(paths: Document['paths'], { method, path }: Received): Operation | undefined {
  const { pathname } = new URL(path, 'http://bridge')
  const matching = Object.keys(paths).filter((template) => {
    const pattern = template.replace(/[.+]/g, '\\$&').replace(/\{\w+\}/g, '[^/]+')
    return new RegExp(`^${pattern}$`).test(pathname)
  })
  const literal = (template: string) => template.split('/').filter((part) => !part.startsWith('{')).length
  const [best] = matching.sort((a, b) => literal(b) - literal(a))
  const methods = best === undefined ? {} : paths[best]
  return methods?.[method.toLowerCase()] ?? (method === 'HEAD' ? methods?.get : undefined)
}

function declaredContent(
  received: Received,
  operation: Operation,
  shared: Readonly<Record<string, ResponseObject>> = {},
) {
  const { status } = received
  const declaredHere = operation.responses[status]
  const name = declaredHere?.$ref?.split('/').at(-1)
  const response = name === undefined ? declaredHere : shared[name]
  if (!response) fail(received, `has a status that ${operation.operationId} does not declare`)
  if (received.raw && status === 200) return {}
  const content = response?.content ?? {}
  const media = mediaType(received)
  const declared = media === '' || media in content || '*/*' in content
  // A cache answers 304 without a body, and so does HEAD: what type there would have been is said all the same.
  if (!declared && status !== 304)
    fail(received, `has a type that ${operation.operationId} does not declare for it`)
  return content
}

function checkHeaders(received: Received) {
  const { headers, path, status } = received
  if (!headers.get('X-Request-Id')) fail(received, 'has no X-Request-Id')
  if (headers.get('X-Content-Type-Options') !== 'nosniff') fail(received, 'is not nosniff')
  if (status >= 400 && received.method !== 'HEAD' && mediaType(received) !== PROBLEM)
    fail(received, `is not ${PROBLEM}`)
  const caching = headers.get('Cache-Control') ?? ''
  if (path.startsWith('/v1/') && status === 200 && !/\b(private|no-store)\b/.test(caching)) {
    fail(received, `may be cached by anyone: Cache-Control is "${caching}"`)
  }
}

/** A path or method that the contract does not have. */
function checkUnknown(received: Received) {
  if (received.status < 400) return fail(received, 'is of an operation that the contract does not have')
  if (received.bytes && received.method !== 'HEAD') checkProblem(received, parse(received), {})
}

function checkProblem(received: Received, problem: Json, examples: Examples) {
  for (const member of PROBLEM_MEMBERS) {
    if (problem[member] === undefined) fail(received, `is a problem without ${member}: ${preview(problem)}`)
  }
  const known: readonly string[] = [...PROBLEM_MEMBERS, ...OTHER_PROBLEM_MEMBERS]
  const others = Object.keys(problem).filter((member) => !known.includes(member))
  if (others.length > 0) fail(received, `is a problem with other members: ${others}`)
  if (problem.status !== received.status)
    fail(received, `is a problem of another status: ${preview(problem)}`)
  if (problem.request_id !== received.headers.get('X-Request-Id')) fail(received, 'has two request ids')
  if (Object.keys(examples).length === 0) return

  const example = examples[String(problem.code)]
  if (!example) return fail(received, `has a code that is not declared: ${preview(problem)}`)
  for (const member of FIXED_MEMBERS) {
    if (problem[member] !== example[member])
      fail(received, `has another ${member} than declared: ${preview(problem)}`)
  }
}

function mediaType({ headers }: Received): string {
  return (headers.get('Content-Type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}

function parse(received: Received): Json {
  try {
    return JSON.parse(Buffer.from(received.bytes ?? []).toString('utf8')) as Json
  } catch {
    return fail(received, 'is not JSON')
  }
}

function fail({ method, path, status, headers }: Received, complaint: string): never {
  throw new Error(`${method} ${path.slice(0, 200)} → ${status} (${headers.get('Content-Type')}) ${complaint}`)
}

function preview(value: unknown): string {
  return (JSON.stringify(value) ?? '').slice(0, 500)
}
