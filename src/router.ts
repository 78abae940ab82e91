/** Owns how routes are made: strict about their input, refusing it with the field's name. */
import { OpenAPIHono } from '@hono/zod-openapi'
import type { AppEnv } from './context.ts'
import { BridgeError, type FieldError } from './errors.ts'
import * as z from './schemas/zod.ts'

type HandlerRouter = InstanceType<typeof OpenAPIHono<AppEnv>>['router']

/** A router whose schemas refuse with `invalid_request`; `router`: what finds the route of a path, default hono's own choice. */
export function createRouter(router?: HandlerRouter) {
  return new OpenAPIHono<AppEnv>({
    ...(router ? { router } : {}),
    defaultHook: (result) => {
      if (result.success) return
      throw refusal(result.error.issues)
    },
  })
}

/** Input as its schema has it, for routes that check by themselves. Throws as a router does. */
export function parseInput<Schema extends z.ZodType>(schema: Schema, input: unknown): z.output<Schema> {
  const result = schema.safeParse(input)
  if (!result.success) throw refusal(result.error.issues)
  return result.data
}

interface Issue {
  readonly code?: string
  readonly path: readonly PropertyKey[]
  readonly message: string
  readonly keys?: readonly string[]
}

function refusal(issues: readonly Issue[]): BridgeError {
  const errors = issues.flatMap(toFieldErrors)
  const [first] = errors
  const detail = first ? `${first.field}: ${first.message}` : 'The input is not valid.'
  return new BridgeError('invalid_request', detail, { errors })
}

function toFieldErrors(issue: Issue): FieldError[] {
  const at = issue.path.map(String)
  if (issue.code === 'unrecognized_keys') {
    return (issue.keys ?? []).map((key) => ({ field: [...at, key].join('.'), message: 'is not known here' }))
  }
  return [{ field: at.length > 0 ? at.join('.') : 'body', message: issue.message }]
}

/** For operations without query parameters: any is refused. */
export const noQuery = z.strictObject({})
