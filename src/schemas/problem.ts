/** Owns the wire form of a failure, and which failures an operation declares. */
import { z } from '@hono/zod-openapi'
import { ERRORS, type ErrorCode, type ProblemStatus } from '../errors.ts'

const fieldErrorSchema = z
  .object({
    field: z
      .string()
      .openapi({ description: 'The parameter, header or JSON path that was refused.', example: 'limit' }),
    message: z.string().openapi({ description: 'What is wrong with it.', example: 'must be from 1 to 1000' }),
  })
  .openapi('FieldError')

const codes = Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]

export const problemSchema = z
  .looseObject({
    type: z
      .string()
      .openapi({ description: 'Where the code is explained.', example: '/docs#stream_not_found' }),
    title: z.string().openapi({ description: 'What the code means, the same each time.' }),
    status: z.number().int().openapi({ description: 'The HTTP status.', example: 404 }),
    detail: z.string().openapi({ description: 'What happened this time, for people.' }),
    code: z.enum(codes).openapi({ description: 'What happened, for programs.' }),
    request_id: z.string().openapi({ description: 'The X-Request-Id of the answer.' }),
    retryable: z
      .boolean()
      .openapi({ description: 'The very same request is safe to send again and can succeed.' }),
    side_effects: z
      .enum(['none', 'possible'])
      .openapi({ description: 'Whether the request may have taken effect although it failed.' }),
    errors: z
      .array(fieldErrorSchema)
      .readonly()
      .optional()
      .openapi({ description: 'The refused parts of the input.' }),
    current_seq: z
      .number()
      .int()
      .optional()
      .openapi({ description: 'With precondition_failed: the last sequence of the subject, 0 for none.' }),
    earliest_seq: z
      .number()
      .int()
      .optional()
      .openapi({ description: 'With cursor_expired: the first sequence there is.' }),
    missed: z
      .number()
      .int()
      .optional()
      .openapi({ description: 'With cursor_expired: how many sequences are gone.' }),
    earliest_cursor: z
      .string()
      .optional()
      .openapi({ description: 'With cursor_expired and stream_recreated: the cursor to go on from.' }),
  })
  .openapi('Problem', { description: 'A failure, as RFC 9457 has it.' })

/** Codes that every operation can end with. */
const EVERYWHERE: readonly ErrorCode[] = [
  'invalid_request',
  'unauthenticated',
  'forbidden',
  'too_many_requests',
  'internal',
]
/** Codes of every operation that asks JetStream. */
const JETSTREAM: readonly ErrorCode[] = [
  'refused_by_jetstream',
  'jetstream_unavailable',
  'jetstream_timeout',
  'not_supported',
]

const headers = z.object({
  'X-Request-Id': z.string().openapi({ description: 'The id of this request, in logs and problems.' }),
})

/** The failure responses of an operation that asks JetStream: the common ones and those named. */
export function problems(...specific: ErrorCode[]) {
  return problemsOf([...EVERYWHERE, ...JETSTREAM, ...specific])
}

/** The failure responses of an operation, by status, each with an example of every code. */
export function problemsOf(all: readonly ErrorCode[]) {
  const byStatus = Map.groupBy(new Set(all), (code) => ERRORS[code].status)
  return Object.fromEntries(
    [...byStatus].map(([status, withStatus]) => [status, problemResponse(withStatus)]),
  ) as Record<ProblemStatus, ReturnType<typeof problemResponse>>
}

function problemResponse(withStatus: readonly ErrorCode[]) {
  return {
    description: withStatus.map((code) => `\`${code}\`: ${ERRORS[code].title}.`).join(' '),
    headers,
    content: {
      'application/problem+json': {
        schema: problemSchema,
        examples: Object.fromEntries(
          withStatus.map((code) => [code, { $ref: `#/components/examples/${code}` }]),
        ),
      },
    },
  }
}

/** An example of every code, for the document's components: operations refer to them. */
export const problemExamples = codes.map((code) => [code, { value: exampleOf(code) }] as const)

function exampleOf(code: ErrorCode) {
  const { status, title, retryable, sideEffects } = ERRORS[code]
  return {
    type: `/docs#${code}`,
    title,
    status,
    detail: `${title}.`,
    code,
    request_id: '01980f2e-5c1b-7cc2-9d0e-3b2a7f6e4c11',
    retryable,
    side_effects: sideEffects,
  }
}
