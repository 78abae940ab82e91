/** How failures of JetStream and of nats.ws become the bridge's own: by err_code, then by client code, never by text. */
import { ErrorCode as ClientCode, NatsError } from 'nats.ws'
import { BridgeError, type ErrorCode, type ProblemMembers } from '../../errors.ts'

/** The `error` member of a JetStream API reply. */
export interface ApiError {
  readonly code: number
  readonly err_code?: number
  readonly description?: string
}

const NO_MESSAGE = 10037
const WRONG_LAST_SEQUENCE = 10071
const WRONG_LAST_MSG_ID = 10070
const WRONG_STREAM = 10060

/** Source: nats-server, server/errors.json. What is not here goes by the reply's `code`. */
const BY_ERR_CODE: Readonly<Record<number, ErrorCode>> = {
  10059: 'stream_not_found',
  10014: 'consumer_not_found',
  10149: 'consumer_not_found',
  [NO_MESSAGE]: 'message_not_found',
  10043: 'message_not_found',
  10058: 'stream_exists',
  10013: 'consumer_exists',
  10105: 'consumer_exists',
  10106: 'consumer_exists',
  10148: 'consumer_exists',
  [WRONG_STREAM]: 'precondition_failed',
  [WRONG_LAST_MSG_ID]: 'precondition_failed',
  [WRONG_LAST_SEQUENCE]: 'precondition_failed',
  10164: 'precondition_failed',
  10180: 'precondition_failed',
  10054: 'payload_too_large',
  10097: 'payload_too_large',
  // 10077 is what a store says that is full and discards new messages.
  10002: 'stream_full',
  10023: 'stream_full',
  10028: 'stream_full',
  10047: 'stream_full',
  10077: 'stream_full',
  10036: 'not_supported',
  10185: 'not_supported',
  10158: 'jetstream_unavailable',
  10167: 'too_many_requests',
  10176: 'batch_incomplete',
  10199: 'batch_too_large',
  10201: 'idempotency_conflict',
  10210: 'batches_in_flight',
  10211: 'too_many_requests',
  // The server gives these 500, yet they say what is wrong with the request.
  10012: 'refused_by_jetstream',
  10049: 'refused_by_jetstream',
  10052: 'refused_by_jetstream',
  10053: 'refused_by_jetstream',
  10057: 'refused_by_jetstream',
  10069: 'refused_by_jetstream',
  10074: 'refused_by_jetstream',
  10110: 'refused_by_jetstream',
  10111: 'refused_by_jetstream',
  10117: 'refused_by_jetstream',
}

/** Which setting of a stream JetStream misses, where it says only that something is disabled or not permitted. */
const NEEDED: Readonly<Record<number, string>> = {
  10111: '"allow_rollup_hdrs": true, and not "deny_purge"',
  10166: '"allow_msg_ttl": true',
  10168: '"allow_msg_counter": true',
  10174: '"allow_atomic": true',
  10188: '"allow_msg_schedules": true',
}

/** What no wait mends: somebody has to switch JetStream on. */
const SWITCHED_OFF: Readonly<Record<number, string>> = {
  10039: 'JetStream is not enabled for this NATS account.',
  10076: 'JetStream is not enabled on this NATS server.',
}

const SERVER_FAILURE = 500

const codeOf = (error: ApiError): ErrorCode =>
  BY_ERR_CODE[error.err_code ?? 0] ??
  (error.code >= SERVER_FAILURE ? 'jetstream_unavailable' : 'refused_by_jetstream')

/** What a refused condition says of how things are, so that a client need not ask for it. */
function membersOf({ err_code, description = '' }: ApiError, stream: string | undefined): ProblemMembers {
  if (err_code === WRONG_STREAM) return stream === undefined ? {} : { current_stream: stream }
  if (err_code === WRONG_LAST_MSG_ID) return { current_msg_id: /: (.*)$/s.exec(description)?.[1] ?? '' }
  const current = err_code === WRONG_LAST_SEQUENCE ? /\d+$/.exec(description) : null
  return current ? { current_seq: Number(current[0]) } : {}
}

const nameOf = (stream: string | undefined) => (stream === undefined ? 'The stream' : `Stream "${stream}"`)

/**
 * Turns the error of an API reply or a `PubAck` into ours; JetStream's description of a refusal is shown. `stream`: the
 * one that a `PubAck` names.
 */
export function fromApiError(error: ApiError, stream?: string): BridgeError {
  const code = codeOf(error)
  const needed = NEEDED[error.err_code ?? 0]
  const said = `JetStream: ${error.description ?? 'no description'}.${needed ? ` ${nameOf(stream)} needs ${needed}.` : ''}`
  const off = SWITCHED_OFF[error.err_code ?? 0]
  const detail = off ?? (code === 'jetstream_unavailable' ? 'JetStream cannot answer now.' : said)
  return new BridgeError(code, detail, { cause: error, members: membersOf(error, stream) })
}

const clientCode = (thrown: unknown): string | undefined =>
  thrown instanceof NatsError ? thrown.code : undefined

const REFUSED_CREDENTIAL: ReadonlySet<string | undefined> = new Set<string>([
  ClientCode.AuthorizationViolation,
  ClientCode.AuthenticationExpired,
  ClientCode.AuthenticationTimeout,
  ClientCode.AccountExpired,
  ClientCode.BadAuthentication,
  ClientCode.BadCreds,
])

const LOST: ReadonlySet<string | undefined> = new Set<string>([
  ClientCode.ConnectionClosed,
  ClientCode.ConnectionDraining,
  ClientCode.ConnectionRefused,
  ClientCode.Disconnect,
])

export const unavailable = (cause?: unknown) =>
  new BridgeError('jetstream_unavailable', 'The connection to NATS is lost.', { cause })

export const timedOut = (cause?: unknown) =>
  new BridgeError('jetstream_timeout', 'JetStream did not answer in time.', { cause })

export const refusedCredential = (cause: unknown) =>
  new BridgeError('unauthenticated', 'NATS refused the credential.', { cause })

/** `subject`: what may not be published to. */
export const refusedPublish = (subject: string) => refusedTo('publish', subject)

/** Subjects that are told; each is one that the caller's own request used. */
const MAX_SUBJECT_CHARS = 512

function refusedTo(operation: 'publish' | 'subscribe', subject: string, cause?: unknown): BridgeError {
  // Where answers come is another subject for each connection; a permission is for all of them.
  const permission = subject.startsWith('_INBOX.') ? '_INBOX.>' : subject.slice(0, MAX_SUBJECT_CHARS)
  return new BridgeError('forbidden', `NATS does not let this user ${operation} to "${permission}".`, {
    cause,
  })
}

/** The server names the operation and the subject, as Go writes a string. */
function refusedByNats(thrown: unknown): BridgeError {
  const context = thrown instanceof NatsError ? thrown.permissionContext : undefined
  if (!context) return new BridgeError('forbidden', 'NATS does not let this user do this.', { cause: thrown })
  const subject = context.subject.replace(/\\(["\\])/g, '$1')
  return refusedTo(context.operation === 'publish' ? 'publish' : 'subscribe', subject, thrown)
}

/** What is logged of a failed dial: where, and what little the runtimes say of why. Where in this program says nothing. */
function dialReason(thrown: unknown, url: string): string {
  const { protocol, host } = new URL(url)
  const where = `at ${protocol}//${host}`
  if (clientCode(thrown) === ClientCode.Timeout) return `NATS does not answer in time ${where}.`
  const said = thrown instanceof Error ? thrown.message.trim() : ''
  return `No WebSocket of NATS answers ${where}.${said === '' ? '' : ` ${said}`}`
}

/** Turns a failed dial of `url` into ours: the credential was refused, or nobody answers. */
export function fromDialFailure(thrown: unknown, url: string): BridgeError {
  if (REFUSED_CREDENTIAL.has(clientCode(thrown))) return refusedCredential(thrown)
  return new BridgeError('jetstream_unavailable', 'NATS cannot be reached.', {
    cause: dialReason(thrown, url),
  })
}

/** No address of a cluster answers, each for its own reason. */
export function unreachable(failures: readonly BridgeError[]): BridgeError {
  const [first] = failures
  if (first && failures.length === 1) return first
  const causes = failures.map(({ message, cause }) => (typeof cause === 'string' ? cause : message))
  return new BridgeError('jetstream_unavailable', 'NATS cannot be reached.', { cause: causes.join(' ') })
}

/** Nobody listens on the subject that was asked: for an API subject JetStream is away, else it depends. */
export class NoResponders extends BridgeError {
  constructor(cause?: unknown) {
    super('jetstream_unavailable', 'Nothing in NATS answers for this now.', { cause })
  }
}

/** Nobody answers the JetStream API, and the server says that it has none. */
export const switchedOff = (cause: unknown) =>
  new BridgeError('jetstream_unavailable', 'JetStream is not enabled on this NATS server.', { cause })

/** Turns what nats.ws throws for a request into ours. `closed`: the connection is no more. */
export function fromClient(thrown: unknown, closed: boolean): BridgeError {
  if (thrown instanceof BridgeError) return thrown
  const code = clientCode(thrown)
  if (code === ClientCode.PermissionsViolation) return refusedByNats(thrown)
  if (code === ClientCode.MaxPayloadExceeded) {
    return new BridgeError('payload_too_large', 'The message is larger than the NATS server takes.', {
      cause: thrown,
    })
  }
  if (code === ClientCode.NoResponders) return new NoResponders(thrown)
  // nats.ws ends what is pending on a closed connection with its time-out code.
  if (closed || LOST.has(code)) return unavailable(thrown)
  if (code === ClientCode.Timeout) return timedOut(thrown)
  return new BridgeError('internal', 'An unexpected failure of the NATS client.', { cause: thrown })
}

/** Whether `thrown` is a failure of ours with one of these codes. */
export const hasCode = (thrown: unknown, ...codes: readonly ErrorCode[]): thrown is BridgeError =>
  thrown instanceof BridgeError && codes.includes(thrown.code)

/** Whether `thrown` is what became of an API error with one of these err_codes. */
export function hasErrCode(thrown: unknown, ...errCodes: readonly number[]): boolean {
  const cause = thrown instanceof BridgeError ? thrown.cause : undefined
  return (
    typeof cause === 'object' && cause !== null && errCodes.includes(Number((cause as ApiError).err_code))
  )
}
