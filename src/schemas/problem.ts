/** The wire form of a failure, and which failures an operation declares. */

import { ERRORS, type ErrorCode, MAX_FIELD_ERRORS, type ProblemStatus } from '../errors.ts'
import * as z from './zod.ts'

const fieldErrorSchema = z
  .object({
    field: z
      .string()
      .openapi({ description: 'The parameter, header or JSON path that was refused.', example: 'limit' }),
    message: z.string().openapi({ description: 'What is wrong with it.', example: 'must be from 1 to 1000' }),
  })
  .openapi('FieldError', { description: 'One refused part of the input.' })

const codes = Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]

export const problemSchema = z
  .looseObject({
    type: z
      .string()
      .openapi({ description: 'Where the code is explained.', example: '/docs#stream_not_found' }),
    title: z.string().openapi({
      description: 'What the code means, the same each time.',
      example: 'The stream does not exist',
    }),
    status: z.number().int().openapi({ description: 'The HTTP status.', example: 404 }),
    detail: z
      .string()
      .openapi({ description: 'What happened this time, for people.', example: 'No stream "ORDERS".' }),
    code: z.enum(codes).openapi({ description: 'What happened, for programs.' }),
    request_id: z.string().openapi({ description: 'The X-Request-Id of the answer.' }),
    retryable: z
      .boolean()
      .openapi({ description: 'The very same request is safe to send again and can succeed.' }),
    side_effects: z
      .enum(['none', 'possible'])
      .openapi({ description: 'Whether the request may have taken effect although it failed.' }),
    errors: z.array(fieldErrorSchema).max(MAX_FIELD_ERRORS).readonly().optional().openapi({
      description: 'The refused parts of the input; where there are more, `detail` says how many.',
    }),
    current_seq: z.number().int().optional().openapi({
      description:
        'With precondition_failed: the last sequence of the subject, or of the stream, 0 for none.',
    }),
    current_msg_id: z.string().optional().openapi({
      description:
        'With precondition_failed: the `Nats-Msg-Id` of the last message of the stream, empty for none.',
    }),
    current_stream: z
      .string()
      .optional()
      .openapi({ description: 'With precondition_failed: the stream that has the subject.' }),
    next_index: z.number().int().optional().openapi({
      description: 'At the end of an answer in lines: the first message of the request that was not sent.',
    }),
    results: z
      .array(z.unknown())
      .optional()
      .openapi({ description: 'Of an atomic batch: what became of each of its messages.' }),
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
  'ticket_invalid',
  'forbidden',
  'too_many_requests',
  'internal',
]
/** Codes of every operation that asks JetStream. */
const JETSTREAM: readonly ErrorCode[] = [
  'refused_by_jetstream',
  'sequence_too_large',
  'jetstream_unavailable',
  'jetstream_timeout',
  'host_full',
  'not_supported',
  'host_full',
]
/** Codes of every operation that takes a body of some size. */
const OF_BODIES: readonly ErrorCode[] = ['body_timeout']

/** Headers that come with a status. */
const HEADERS: Partial<Record<ProblemStatus, z.ZodObject>> = {
  401: z.object({
    'WWW-Authenticate': z.string().openapi({ description: 'How to send a credential.' }),
  }),
  429: z.object({ 'Retry-After': z.string().openapi({ description: 'Seconds to wait.' }) }),
  503: z.object({ 'Retry-After': z.string().openapi({ description: 'Seconds to wait.' }) }),
}

/** The failure responses of an operation that asks JetStream: the common ones and those named. */
export function problems(...specific: ErrorCode[]) {
  const ofBodies = specific.includes('payload_too_large') ? OF_BODIES : []
  return problemsOf([...EVERYWHERE, ...JETSTREAM, ...ofBodies, ...specific])
}

/** The failure responses of an operation, by status, each with an example of every code. */
export function problemsOf(all: readonly ErrorCode[]) {
  const byStatus = Map.groupBy(new Set(all), (code) => ERRORS[code].status)
  return Object.fromEntries(
    [...byStatus].map(([status, withStatus]) => [status, problemResponse(status, withStatus)]),
  ) as Record<ProblemStatus, ReturnType<typeof problemResponse>>
}

function problemResponse(status: ProblemStatus, withStatus: readonly ErrorCode[]) {
  const headers = HEADERS[status]
  return {
    description: withStatus.map((code) => `\`${code}\`: ${ERRORS[code].title}.`).join(' '),
    ...(headers ? { headers } : {}),
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

const CURSOR = 'c1.k1.mXb0qQ1yq3bN0bVY0Zs5d1m6sT3cJg'
/** What some codes say besides. */
const MEMBERS: Partial<Record<ErrorCode, Readonly<Record<string, unknown>>>> = {
  invalid_request: { errors: [{ field: 'limit', message: 'must be from 1 to 1000' }] },
  precondition_failed: { current_seq: 42 },
  results_unread: { next_index: 4_096 },
  cursor_expired: { earliest_seq: 8, missed: 3, earliest_cursor: CURSOR },
  stream_recreated: { earliest_cursor: CURSOR },
}

/** An example of every code, for the document's components: operations refer to them. */
export const problemExamples = codes.map((code) => [code, { value: problemExample(code) }] as const)

/** A problem as the bridge would write it. */
export function problemExample(code: ErrorCode) {
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
    ...MEMBERS[code],
  }
}
