/** The failures a client can meet: one table from code to status, title and what a retry means. */

interface ErrorKind {
  readonly status: ProblemStatus
  readonly title: string
  /** Whether sending the very same request again is safe and can succeed. */
  readonly retryable: boolean
  /** `possible`: the request may have taken effect although it failed. */
  readonly sideEffects: 'none' | 'possible'
}

export type ProblemStatus =
  | 400
  | 401
  | 403
  | 404
  | 405
  | 406
  | 408
  | 409
  | 410
  | 412
  | 413
  | 415
  | 422
  | 429
  | 500
  | 501
  | 503
  | 504
  | 507

const kind = (
  status: ProblemStatus,
  title: string,
  retryable = false,
  sideEffects: 'none' | 'possible' = 'none',
): ErrorKind => ({ status, title, retryable, sideEffects })

/** Every `code` a problem can carry. The OpenAPI document is written from this table. */
export const ERRORS = {
  invalid_request: kind(400, 'The request is not valid'),
  cursor_invalid: kind(400, 'The cursor is not one of ours'),
  ack_token_invalid: kind(400, 'The ack token is not one of ours'),
  unauthenticated: kind(401, 'The credential is missing or was refused'),
  ticket_invalid: kind(401, 'The ticket does not open this'),
  forbidden: kind(403, 'The caller may not do this'),
  not_found: kind(404, 'There is nothing at this path'),
  stream_not_found: kind(404, 'The stream does not exist'),
  subject_not_found: kind(404, 'No stream listens on the subject'),
  message_not_found: kind(404, 'The message does not exist'),
  consumer_not_found: kind(404, 'The consumer does not exist'),
  method_not_allowed: kind(405, 'The path does not have this method'),
  not_acceptable: kind(406, 'None of the accepted types can be given'),
  results_unread: kind(408, 'Results were not read while lines were sent', true),
  body_timeout: kind(408, 'The body of the request did not come in time', true),
  cursor_mismatch: kind(409, 'The cursor belongs to another stream or filter'),
  stream_exists: kind(409, 'The stream exists with another configuration'),
  consumer_exists: kind(409, 'The consumer exists with another configuration'),
  consumer_busy: kind(409, 'The consumer cannot take the pull now', true),
  cursor_expired: kind(410, 'Messages after the cursor are gone'),
  stream_recreated: kind(410, 'The stream is not the one the cursor is from'),
  precondition_failed: kind(412, 'A condition of the publish does not hold'),
  payload_too_large: kind(413, 'The payload is too large'),
  batch_too_large: kind(413, 'The batch has more messages than JetStream takes'),
  unsupported_media_type: kind(415, 'The content type is not supported here'),
  idempotency_conflict: kind(422, 'The key was used for another message'),
  batch_incomplete: kind(422, 'The messages of an atomic batch did not all come to one stream'),
  batch_refused: kind(422, 'Nothing of the atomic batch is stored, since another message of it was refused'),
  refused_by_jetstream: kind(422, 'JetStream refused the request'),
  sequence_too_large: kind(422, 'The stream has sequences that JSON cannot carry exactly'),
  too_many_requests: kind(429, 'A limit on requests is reached', true),
  batches_in_flight: kind(429, 'The stream has as many atomic batches under way as it may', true),
  too_many_readers: kind(429, 'The credential has as many readers as it may', true),
  internal: kind(500, 'Something failed inside the bridge', false, 'possible'),
  not_supported: kind(501, 'The NATS server does not support this'),
  jetstream_unavailable: kind(503, 'JetStream cannot be reached', true),
  host_full: kind(503, 'The host holds as many clients, or as much for them, as it may', true),
  jetstream_timeout: kind(504, 'JetStream did not answer in time', true, 'possible'),
  publish_unconfirmed: kind(504, 'The publish was not confirmed', false, 'possible'),
  publish_unconfirmed_keyed: kind(
    504,
    'The publish was not confirmed; its key makes a retry safe',
    true,
    'possible',
  ),
  stream_full: kind(507, 'The stream has no room', true),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof ERRORS

/** One refused part of the input: `field` as the client wrote it, such as `limit` or `messages.0.subject`. */
export interface FieldError {
  readonly field: string
  readonly message: string
}

/** What is said while a host ends: another one is in its place soon. */
export const SHUTTING_DOWN = 'This instance of Sluice is shutting down.'

interface BridgeErrorOptions {
  readonly cause?: unknown
  readonly errors?: readonly FieldError[]
  /** Further members of the problem, such as `current_seq`. */
  readonly members?: ProblemMembers
}

/** What a problem of a code says besides. */
export type ProblemMembers = Readonly<Record<string, unknown>>

/** Refused parts of the input that a failure names; how many more there are, its detail may say. */
export const MAX_FIELD_ERRORS = 20
/** What a client sent may stand in a failure, but not all of it: a failure may wait long for its client. */
const MAX_FIELD_CHARS = 256
const MAX_MESSAGE_CHARS = 512
const MAX_DETAIL_CHARS = 1_024

/** Copied: a part of a text keeps all of it in memory. */
const cut = (text: string, most: number): string =>
  text.length <= most
    ? text
    : `${Buffer.from(text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, '')).toString()}…`

const cutFieldError = ({ field, message }: FieldError): FieldError => ({
  field: cut(field, MAX_FIELD_CHARS),
  message: cut(message, MAX_MESSAGE_CHARS),
})

/** A failure with a documented code. `message` is public, `cause` is only logged. */
export class BridgeError extends Error {
  readonly code: ErrorCode
  readonly errors: readonly FieldError[] | undefined
  readonly members: ProblemMembers

  constructor(code: ErrorCode, detail: string, options: BridgeErrorOptions = {}) {
    super(cut(detail, MAX_DETAIL_CHARS), { cause: options.cause })
    this.name = 'BridgeError'
    this.code = code
    this.errors = options.errors?.slice(0, MAX_FIELD_ERRORS).map(cutFieldError)
    this.members = options.members ?? {}
  }
}

/** What each message of a batch was refused for: every one has something, and nothing is stored. */
export class BatchRefused extends Error {
  readonly failures: readonly BridgeError[]
  /** The first message that is itself at fault; undefined: all are refused alike. */
  readonly culprit: number | undefined

  /** `own`: what was found of each message; `refusal`: what the batch as a whole was refused for. */
  constructor(own: readonly (BridgeError | undefined)[], refusal: BridgeError) {
    super('The batch is refused.')
    const found = own.findIndex((failure) => failure !== undefined)
    const innocent =
      found === -1 ? refusal : new BridgeError('batch_refused', 'Another message of the batch was refused.')
    this.failures = own.map((failure) => failure ?? innocent)
    this.culprit = found === -1 ? undefined : found
  }
}

/** Whether a failure may pass by itself, so that it is worth to try again. */
export function isPassing(failure: unknown): boolean {
  return failure instanceof BridgeError && ERRORS[failure.code].retryable
}

/** Refuses one named field of the input with `invalid_request`. */
export function refuse(field: string, message: string, cause?: unknown): BridgeError {
  return new BridgeError('invalid_request', `${field}: ${message}`, { errors: [{ field, message }], cause })
}

/** A failure as RFC 9457 problem+json, its members in the order people read them. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: ProblemStatus
  readonly detail: string
  readonly code: ErrorCode
  readonly request_id: string
  readonly retryable: boolean
  readonly side_effects: 'none' | 'possible'
  readonly errors?: readonly FieldError[]
  readonly [member: string]: unknown
}

/** A problem is made in the depth of many answers; the path of the bridge is the same for all of them. */
let documentationPath = '/docs'

/** Says once under which path a proxy offers the bridge, `/nats` or nothing. */
export function explainProblemsUnder(path: string): void {
  documentationPath = `${path}/docs`
}

/** Where a code is explained: a path of the bridge's own documentation page. */
const typeOf = (code: ErrorCode) => `${documentationPath}#${code}`

/** Turns anything thrown into a problem; the unknown becomes `internal` with a fixed text. */
export function toProblem(thrown: unknown, requestId: string): Problem {
  const failure =
    thrown instanceof BridgeError ? thrown : new BridgeError('internal', 'An unexpected failure.')
  const { status, title, retryable, sideEffects } = ERRORS[failure.code]
  return {
    type: typeOf(failure.code),
    title,
    status,
    detail: failure.message,
    code: failure.code,
    request_id: requestId,
    retryable,
    side_effects: sideEffects,
    ...(failure.errors ? { errors: failure.errors } : {}),
    ...failure.members,
  }
}
