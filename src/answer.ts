/** How answers are made: what each of them carries, and the one place where a failure becomes one. */
import type { Context } from 'hono'
import type { AppEnv } from './context.ts'
import { BridgeError, toProblem } from './errors.ts'

type Headers = Readonly<Record<string, string>>

interface AnswerHead {
  /** Default 200. */
  readonly status?: number
  readonly headers?: Headers
}

/** What an answer of server-sent events says of itself, so that nothing on the way holds it back. */
export const eventsHeaders = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-store, no-transform',
  'X-Accel-Buffering': 'no',
}

/** Nobody reads it; nginx's word for a client that closed the request. */
const CLIENT_LEFT = 499

/**
 * Answers with what every answer carries and with `headers`. All of them stay a plain record, which both hosts take as
 * it is: hono's own way to answer makes a `Headers` of them, which costs more than the rest of a small answer.
 */
export function answer(c: Context<AppEnv>, body: BodyInit | null, head: AnswerHead = {}): Response {
  const { status = 200, headers } = head
  const made = new Response(body, { status, headers: { ...c.get('headers'), ...headers } })
  c.set('answered', made)
  return made
}

/** Gives an answer that was made in another way what every answer carries. */
export function completeAnswer(c: Context<AppEnv>): void {
  if (c.get('answered') === c.res) return
  const { headers } = c.res
  const own = headers.get('Vary')
  for (const [name, value] of Object.entries(c.get('headers')))
    if (!headers.has(name)) headers.set(name, value)
  if (own !== null) headers.set('Vary', `${c.get('headers').Vary}, ${own}`)
}

/** The only place that writes a failure to a client. */
export function answerProblem(c: Context<AppEnv>, failure: unknown, headers: Headers = {}): Response {
  if (c.req.raw.signal.aborted) return answer(c, null, { status: CLIENT_LEFT })
  const problem = toProblem(failure, c.get('requestId'))
  const { status, code, detail } = problem
  c.set('failure', { code, detail, cause: failure instanceof BridgeError ? failure.cause : failure })
  return answer(c, JSON.stringify(problem), {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      ...(status === 401 ? { 'WWW-Authenticate': 'Basic realm="sluice", Bearer' } : {}),
      ...(status === 429 || status === 503 ? { 'Retry-After': '1' } : {}),
      ...headers,
    },
  })
}
