/** The log: one line of JSON a request, without anything that a caller sent but its request id. */
import type { Answered } from './metrics.ts'
import type { Settings } from './settings.ts'

/** An answered request; `failure`: what a problem told, and its cause, which is only logged. */
export interface LoggedRequest extends Answered {
  readonly requestId: string
  readonly failure?: LoggedFailure | undefined
}

export interface LoggedFailure {
  readonly code: string
  readonly detail: string
  readonly cause?: unknown
}

export interface Log {
  request(request: LoggedRequest): void
  /** What no answer tells of. */
  warn(failure: LoggedFailure): void
}

/** Statuses from here on are the bridge's or the server's doing: their detail and cause are logged. */
const FIRST_SERVER_FAILURE = 500
const FIRST_FAILURE = 400

/** `write` takes a line without its end. */
export function createLog(level: Settings['LOG'], write: (line: string) => void): Log {
  if (level === 'off') return { request: () => {}, warn: () => {} }
  const timeNow = createClock()
  return {
    request(request) {
      if (level === 'failures' && request.status < FIRST_FAILURE) return
      write(requestLine(timeNow(), request))
    },
    warn: (failure) => write(`{"time":"${timeNow()}","level":"warn"${failureMembers(failure)}}`),
  }
}

/** Writes the time; many requests share a millisecond. */
function createClock(): () => string {
  let writtenAt = Number.NaN
  let written = ''
  return () => {
    const now = Date.now()
    if (now !== writtenAt) written = new Date(now).toISOString()
    writtenAt = now
    return written
  }
}

/** Put together by hand, since every member is plain: a request id is word characters, a route is ours. */
function requestLine(time: string, { requestId, method, route, status, seconds, failure }: LoggedRequest) {
  const duration = Math.round(seconds * 1e5) / 1e2
  return (
    `{"time":"${time}","level":"${levelOf(status)}","request_id":"${requestId}","method":"${method}",` +
    `"route":"${route}","status":${status},"duration_ms":${duration}${tellFailure(status, failure)}}`
  )
}

const levelOf = (status: number) =>
  status < FIRST_SERVER_FAILURE ? 'info' : status === FIRST_SERVER_FAILURE ? 'error' : 'warn'

/** The detail of a refusal may name what the caller sent, so it stays out. */
function tellFailure(status: number, failure: LoggedFailure | undefined): string {
  if (!failure) return ''
  return status < FIRST_SERVER_FAILURE ? `,"code":"${failure.code}"` : failureMembers(failure)
}

function failureMembers({ code, detail, cause }: LoggedFailure): string {
  const members = { code, detail, ...(cause === undefined ? {} : { cause: causeText(cause) }) }
  return `,${JSON.stringify(members).slice(1, -1)}`
}

/** Where and why something failed. Runtimes quote the value that they do not take, which may be a payload or a header's. */
function causeText(cause: unknown): string {
  if (!(cause instanceof Error)) return withoutQuotes(String(cause))
  const { name, message, stack = '' } = cause
  const frames = stack.split('\n').filter((line) => FRAME.test(line))
  return [`${name}: ${withoutQuotes(message)}`, ...frames].join('\n')
}

const FRAME = /^ {4}at /
const MAX_MESSAGE_CHARS = 500

/** From the first quote to the last: a value may hold quotes itself. */
const withoutQuotes = (text: string): string =>
  text.replace(/["'`][\s\S]*["'`]/, '"…"').slice(0, MAX_MESSAGE_CHARS)
