/** Owns the order of things: what every request passes through, the routes, and where failures become answers. */

import type { Context } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { methodNotAllowed } from 'hono/method-not-allowed'
import { requestId } from 'hono/request-id'
import type { AppEnv, Dependencies } from './context.ts'
import { BridgeError, type Problem, toProblem } from './errors.ts'
import { authenticate, isPublic } from './middleware/authenticate.ts'
import { crossOrigin } from './middleware/cross-origin.ts'
import { jsonBodies } from './middleware/json-bodies.ts'
import { createRouter } from './router.ts'
import { acks } from './routes/acks.ts'
import { consumers } from './routes/consumers.ts'
import { writeContract } from './routes/contract.ts'
import { createDocumentation } from './routes/docs.ts'
import { health } from './routes/health.ts'
import { message } from './routes/message.ts'
import { messages } from './routes/messages.ts'
import { publish } from './routes/publish.ts'
import { pull } from './routes/pull.ts'
import { streams } from './routes/streams.ts'
import { tickets } from './routes/tickets.ts'

/** The whole bridge as one Hono app, around the real parts of its host. */
export function createApp(dependencies: Dependencies) {
  const app = createRouter()
  const authenticated = authenticate(dependencies)

  app.use(requestId())
  app.use(async (c, next) => {
    c.set('dependencies', dependencies)
    c.header('X-Content-Type-Options', 'nosniff')
    await next()
  })
  app.use(crossOrigin(dependencies.settings.CORS_ORIGINS))
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, allowed) => {
        c.header('Allow', allowed.join(', '))
        throw new BridgeError('method_not_allowed', `This path has ${allowed.join(', ')}.`)
      },
    }),
  )
  app.use(async (c, next) => (isPublic(c.req.path) ? next() : authenticated(c, next)))
  app.use('/v1/*', async (c, next) => {
    c.header('Cache-Control', 'no-store')
    c.set('session', dependencies.openSession(c.var.caller))
    await next()
  })
  app.use('/v1/*', async (c, next) => (c.req.path.startsWith('/v1/subjects/') ? next() : jsonBodies(c, next)))

  for (const routes of [
    publish,
    messages,
    message,
    streams,
    consumers,
    pull,
    acks,
    tickets,
    health,
    createDocumentation(() => writeContract(app)),
  ]) {
    app.route('/', routes)
  }
  // Answered, not thrown: what comes after may still find that the path has other methods.
  app.notFound((c) => answerProblem(c, new BridgeError('not_found', 'There is nothing at this path.')))
  app.onError((failure, c) => answerProblem(c, failure))
  return app
}

/** The only place that writes a failure to a client or a log. */
function answerProblem(c: Context<AppEnv>, thrown: unknown): Response {
  // The client has left: nobody reads this.
  if (c.req.raw.signal.aborted) return c.body(null)
  const failure = thrown instanceof HTTPException ? fromHono(thrown) : thrown
  const problem = toProblem(failure, c.var.requestId)
  if (problem.status >= 500) logFailure(c, problem, failure)
  c.header('Content-Type', 'application/problem+json')
  c.header('Cache-Control', 'no-store')
  if (problem.status === 401) c.header('WWW-Authenticate', 'Basic realm="sluice", Bearer')
  if (problem.status === 429 || problem.status === 503) c.header('Retry-After', '1')
  return c.body(JSON.stringify(problem), problem.status)
}

/** Hono itself refuses a body that is no JSON. */
function fromHono(failure: HTTPException): BridgeError {
  return failure.status === 400
    ? new BridgeError('invalid_request', 'body: must be JSON', {
        errors: [{ field: 'body', message: 'must be JSON' }],
        cause: failure,
      })
    : new BridgeError('internal', 'An unexpected failure.', { cause: failure })
}

function logFailure(c: Context<AppEnv>, problem: Problem, failure: unknown) {
  const cause = failure instanceof BridgeError ? failure.cause : failure
  c.var.dependencies.log({
    level: problem.status === 500 ? 'error' : 'warn',
    request_id: problem.request_id,
    code: problem.code,
    detail: problem.detail,
    ...(cause === undefined
      ? {}
      : { cause: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) }),
  })
}
