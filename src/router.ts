/** Owns how routes are made: strict about their input, refusing it with the field's name. */
import { OpenAPIHono } from '@hono/zod-openapi'
import type { AppEnv } from './context.ts'
import { BridgeError, type FieldError } from './errors.ts'
import * as z from './schemas/zod.ts'

/** A router whose schemas refuse with `invalid_request`. */
export function createRouter() {
  return new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (result.success) return
      const errors = result.error.issues.flatMap(toFieldErrors)
      const [first] = errors
      throw new BridgeError(
        'invalid_request',
        first ? `${first.field}: ${first.message}` : 'The input is not valid.',
        {
          errors,
        },
      )
    },
  })
}

interface Issue {
  readonly code?: string
  readonly path: readonly PropertyKey[]
  readonly message: string
  readonly keys?: readonly string[]
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
