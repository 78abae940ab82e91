/** What every request passes through: its id, its page's origin, who sends it, and what is told of it afterwards. */
import type { Context, MiddlewareHandler } from 'hono'
import { matchedRoutes } from 'hono/route'
import { answerProblem, completeAnswer } from '../answer.ts'
import type { AppEnv, Caller, Dependencies } from '../context.ts'
import { BridgeError } from '../errors.ts'
import type { Slots } from '../limits.ts'
import { takeOff } from '../read-body.ts'
import { identify, isPublic, rememberCaller } from './authenticate.ts'
import { admitAmbient, admitHost, admitOrigin } from './cross-origin.ts'
import { headFault } from './heads.ts'
import { requirePlainPath } from './paths.ts'
import { createResumption, isAttempt, mayResume, noteOutcome, type Resumption } from './resumed-events.ts'

type Dispatch = (request: Request, env: unknown) => Response | Promise<Response>

/** The resumptions of an app: those of each Durable Object, or of the process. */
function createResumptions(dispatch: Dispatch): (dependencies: Dependencies) => Resumption {
  const known = new WeakMap<Dependencies, Resumption>()
  return (dependencies) => {
    const resumption = known.get(dependencies) ?? createResumption({ dependencies, dispatch })
    known.set(dependencies, resumption)
    return resumption
  }
}

/**
 * One middleware for all of it: each more would cost every request about a microsecond of Node's time. `byDefault`: where
 * the host gives a request no other parts.
 * `dispatch`: the whole app. What it throws is answered here; what handlers throw comes to `app.onError`.
 */
export function receive(byDefault: Dependencies, dispatch: Dispatch): MiddlewareHandler<AppEnv> {
  const { settings, publicAddress } = byDefault
  const resumptionOf = createResumptions(dispatch)
  const listedOrigins = new Set(settings.CORS_ORIGINS)
  return async (c, next) => {
    const dependencies = c.env?.dependencies ?? byDefault
    const beganAt = performance.now()
    const isClients = !isAttempt(c.req.raw)
    if (isClients) dependencies.metrics.inFlight.add(1)
    const requestId = readRequestId(c.req.raw)
    c.set('dependencies', dependencies)
    c.set('requestId', requestId)
    c.set('headers', headersOfEvery(requestId, c.req.path))
    // Node's server says it by itself.
    if (dependencies.host === 'workers') c.get('headers').Date = httpDate()
    try {
      const fault = headFault(c.req.raw.headers)
      if (fault) throw fault
      if (settings.LOOPBACK_ONLY) admitHost(c, publicAddress)
      const preflight = admitOrigin(c, listedOrigins, publicAddress)
      const mayBeResumed = isClients && mayResume(c.req.raw, c.req.path)
      const resumed = mayBeResumed ? await resumptionOf(dependencies).answer(c) : undefined
      const made = preflight ?? resumed
      if (made) c.res = made
      else {
        requirePlainPath(c)
        await admit(c, dependencies)
        await next()
      }
    } catch (failure) {
      c.res = answerProblem(c, failure)
    }
    c.get('leave')?.()
    // workerd resets a connection whose request it has not read: a client that still sends would lose the answer.
    if (dependencies.host === 'workers' && c.get('failure')) await takeOff(c.req.raw)
    completeAnswer(c)
    if (c.req.method === 'HEAD') await c.res.body?.cancel()
    if (isClients) tell(c, dependencies, (performance.now() - beganAt) / 1_000)
    else noteOutcome(c.req.raw, c.get('failure'))
  }
}

/**
 * What every answer carries. None is stored by a cache unless its route says otherwise, and what a route lets be stored is
 * good for the credential alone that it was given to: a browser, too, has one cache for all that a page sends.
 */
function headersOfEvery(requestId: string, path: string): Record<string, string> {
  return {
    'X-Request-Id': requestId,
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
    Vary: isPublic(path) ? 'Origin' : 'Origin, Authorization, Cookie',
  }
}

const SECOND_MS = 1_000
let dateAt = Number.NaN
let date = ''

/** The time as HTTP has it; many requests share a second. */
function httpDate(): string {
  const now = Math.floor(Date.now() / SECOND_MS)
  if (now !== dateAt) date = new Date(now * SECOND_MS).toUTCString()
  dateAt = now
  return date
}

const SANE_REQUEST_ID = /^[\w=-]{1,255}$/

function readRequestId({ headers }: Request): string {
  const said = headers.get('X-Request-Id')
  return said !== null && SANE_REQUEST_ID.test(said) ? said : crypto.randomUUID()
}

/** Throws `unauthenticated`, `ticket_invalid`, `too_many_requests`, `host_full`, `jetstream_unavailable`. */
async function admit(c: Context<AppEnv>, dependencies: Dependencies) {
  const { path, method } = c.req
  if (isPublic(path)) return
  const caller = identify(c.req.raw, dependencies)
  c.set('caller', caller)
  // A ticket in the address of a page must not go on to wherever that leads.
  if (caller.ticket) c.get('headers')['Referrer-Policy'] = 'no-referrer'
  if (path !== '/v1' && !path.startsWith('/v1/')) return
  // Nothing answers to it but a refusal.
  if (method === 'OPTIONS') return
  admitAmbient(c, caller)
  const session = dependencies.openSession(caller)
  c.set('session', session)
  const leave = session.use()
  c.set('leave', leave)
  // Before NATS has accepted who sends a request, nothing is read of its body and nothing is kept of it.
  const admitting = session.admitted()
  const { arrivals, requests } = dependencies
  if (admitting) {
    // Where there is no slot for it, nobody hears of its end.
    admitting.catch(() => undefined)
    const arrived = takeSlot(c, arrivals, caller)
    try {
      await signIn(c, caller, admitting)
    } finally {
      arrived()
    }
  }
  rememberCaller(c.req.raw, caller, true)
  const release = takeSlot(c, requests, caller)
  c.set('waits', release)
  c.set('leave', () => {
    leave()
    release()
  })
}

/**
 * Takes a slot. Of requests that are sent behind each other without waiting for answers, refusals would pile up behind the first
 * answer, without bound: where there is no slot for one, its connection ends.
 */
function takeSlot(c: Context<AppEnv>, slots: Slots, { tenant }: Caller): () => void {
  try {
    return slots.take(tenant)
  } catch (failure) {
    const { incoming, outgoing } = c.env ?? {}
    if (outgoing?.socket === null) incoming?.socket?.destroy()
    throw failure
  }
}

async function signIn(c: Context<AppEnv>, caller: Caller, admitting: Promise<void>): Promise<void> {
  try {
    await admitting
  } catch (failure) {
    if (failure instanceof BridgeError && failure.code === 'unauthenticated')
      rememberCaller(c.req.raw, caller, false)
    throw failure
  }
}

/** What a client calls its method has no bound. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'])

/** Counts and logs a request as its answer begins. */
function tell(c: Context<AppEnv>, { metrics, log }: Dependencies, seconds: number) {
  const method = METHODS.has(c.req.method) ? c.req.method : 'other'
  const answered = { route: routeOf(c), method, status: c.res.status, seconds }
  metrics.inFlight.add(-1)
  metrics.answered(answered)
  log.request({ ...answered, requestId: c.get('requestId'), failure: c.get('failure') })
}

/** Patterns by the path that hono has them under. */
const patterns = new Map<string, string>()

/** The pattern of the route as the contract writes it: a path would tell names, and make labels without bound. */
function routeOf(c: Context<AppEnv>): string {
  const path = matchedRoutes(c).at(-1)?.path ?? '/*'
  const known = patterns.get(path)
  if (known !== undefined) return known
  const pattern = path === '/*' ? 'unmatched' : path.replaceAll(/:(\w+)/g, '{$1}')
  patterns.set(path, pattern)
  return pattern
}
