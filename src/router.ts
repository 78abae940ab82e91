/** How routes are made: strict about their input, refusing it with the field's name. */
import { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { AppEnv } from './context.ts'
import { BridgeError, type FieldError, MAX_FIELD_ERRORS } from './errors.ts'
import { readJsonBody } from './middleware/json-bodies.ts'
import * as z from './schemas/zod.ts'

type HandlerRouter = InstanceType<typeof OpenAPIHono<AppEnv>>['router']

/** A router whose schemas refuse with `invalid_request`; `router`: what finds the route of a path, default hono's own choice. */
export function createRouter(router?: HandlerRouter) {
  const made = new OpenAPIHono<AppEnv>({
    ...(router ? { router } : {}),
    defaultHook: (result) => {
      if (result.success) return
      throw refusal(result.error.issues, countOf(result.error.issues))
    },
  })
  made.openapi = readingBodies(made)
  return made
}

type Router = InstanceType<typeof OpenAPIHono<AppEnv>>
type Register = Router['openapi']
type AnyHandler = (c: Context<AppEnv>) => unknown

/**
 * Registers routes as the router itself does, but for their body: that is read by `readJsonBody`, once a route has been
 * found and the rest of its input is valid. The router's own reading refuses an empty body by its type, before the
 * method is looked at, and takes some spellings of a type for a failure.
 */
function readingBodies(router: Router): Register {
  const register = router.openapi as (route: object, handler: AnyHandler) => Router
  return ((route: Parameters<Register>[0], handler: AnyHandler) => {
    router.openAPIRegistry.registerPath(route)
    const { body, ...request } = route.request ?? {}
    const hasBody = route.method === 'post' || route.method === 'put'
    const { schema = noBody } = (body?.content['application/json'] ?? {}) as { schema?: z.ZodType }
    const handle: AnyHandler = async (c) => {
      c.req.addValidatedData('json', parseInput(schema, await readJsonBody(c)) as object)
      return handler(c)
    }
    return register({ ...route, request, hide: true }, hasBody ? handle : handler)
  }) as unknown as Register
}

/** Input as its schema has it, for routes that check by themselves. Throws as a router does. */
export function parseInput<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const { value, issues } = runSchema(schema, input)
  if (issues.length > 0) throw refusal(issues.slice(0, MAX_FIELD_ERRORS).map(wordIssue), countOf(issues))
  return value as z.output<Schema>
}

const SYNC = { async: false } as const

/** What a schema makes of an input. zod's own error has all issues worded and a stack: for each bad line of many that costs more than the parse. */
function runSchema(schema: z.ZodType, input: unknown): z.core.ParsePayload {
  const result = schema._zod.run({ value: input, issues: [] }, SYNC)
  if (result instanceof Promise) throw new Error('A schema of a request is asynchronous.')
  return result
}

/** What gives a fault its words; undefined: that knows none for it. */
type Wording = ((issue: unknown) => string | { readonly message: string } | null | undefined) | undefined

/**
 * A fault in words: its own, those of what found it, those of its schema, or zod's own. As `finalizeIssue` of zod's core has
 * it, which would bring the whole of that namespace into the Worker's bundle.
 */
function wordIssue(issue: z.core.$ZodRawIssue): Issue {
  const { code, path = [], inst } = issue
  const { keys } = issue as UnknownKeys
  const schema = issue.schema as z.core.$ZodType | undefined
  const message =
    issue.message ??
    wordsOf(inst?._zod.def.error as Wording, issue) ??
    wordsOf(schema?._zod.def.error as Wording, issue) ??
    wordsOf(z.config().localeError as Wording, issue) ??
    'Invalid input'
  return { code, path, message, ...(keys === undefined ? {} : { keys }) }
}

function wordsOf(wording: Wording, issue: z.core.$ZodRawIssue): string | undefined {
  const said = wording?.(issue)
  return typeof said === 'string' ? said : said?.message
}

interface Issue {
  readonly code?: string
  readonly path: readonly PropertyKey[]
  readonly message: string
  readonly keys?: readonly string[]
}

/** `count`: how many faults there are, also those that are not among `issues`. */
function refusal(issues: readonly Issue[], count: number): BridgeError {
  const errors = issues.slice(0, MAX_FIELD_ERRORS).flatMap(toFieldErrors).slice(0, MAX_FIELD_ERRORS)
  const more = count - errors.length
  const [first] = errors
  const unnamed = more > 0 ? ` (${more} more faults are not named)` : ''
  const detail = first ? `${first.field}: ${first.message}${unnamed}` : 'The input is not valid.'
  return new BridgeError('invalid_request', detail, { errors })
}

interface UnknownKeys {
  readonly code?: string
  readonly keys?: readonly string[]
}

const unknownKeys = ({ code, keys }: UnknownKeys) => (code === 'unrecognized_keys' ? (keys ?? []) : undefined)

const countOf = (issues: readonly UnknownKeys[]): number =>
  issues.reduce((count, issue) => count + (unknownKeys(issue)?.length ?? 1), 0)

function toFieldErrors(issue: Issue): FieldError[] {
  const at = issue.path.map(String)
  const unknown = unknownKeys(issue)?.slice(0, MAX_FIELD_ERRORS)
  if (unknown) return unknown.map((key) => ({ field: [...at, key].join('.'), message: 'is not known here' }))
  return [{ field: at.length > 0 ? at.join('.') : 'body', message: issue.message }]
}

/** For operations without query parameters: any is refused. */
export const noQuery = z.strictObject({})

/** For operations without a body: none, or an object without fields. */
const noBody = z.strictObject({})
