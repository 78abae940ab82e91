/** The order of things: what every request passes through, the routes, and where failures become answers. */
import { answerProblem } from './answer.ts'
import type { Dependencies } from './context.ts'
import { BridgeError } from './errors.ts'
import { receive } from './middleware/receive.ts'
import { PathRouter } from './path-router.ts'
import { createRouter } from './router.ts'
import { acks } from './routes/acks.ts'
import { consumers } from './routes/consumers.ts'
import { writeContract } from './routes/contract.ts'
import { createDocumentation } from './routes/docs.ts'
import { health } from './routes/health.ts'
import { message } from './routes/message.ts'
import { messages } from './routes/messages.ts'
import { metrics } from './routes/metrics.ts'
import { publish } from './routes/publish.ts'
import { publishMany } from './routes/publish-many.ts'
import { pull } from './routes/pull.ts'
import { streams } from './routes/streams.ts'
import { tickets } from './routes/tickets.ts'

/** The whole bridge as one Hono app, around the real parts of its host. */
export function createApp(dependencies: Dependencies) {
  const app = createRouter(new PathRouter())
  app.use(receive(dependencies, (request, env) => app.fetch(request, env as object)))
  for (const routes of [
    publish,
    publishMany,
    messages,
    message,
    streams,
    consumers,
    pull,
    acks,
    tickets,
    health,
    metrics,
    createDocumentation(() => writeContract(app, dependencies.publicAddress.path)),
  ]) {
    app.route('/', routes)
  }
  app.notFound((c) => {
    const allowed = METHODS.filter((method) => hasRoute(method, c.req.path)).join(', ')
    return allowed === ''
      ? answerProblem(c, new BridgeError('not_found', 'There is nothing at this path.'))
      : answerProblem(c, new BridgeError('method_not_allowed', `This path has ${allowed}.`), {
          Allow: allowed,
        })
  })
  app.onError((failure, c) => answerProblem(c, failure))

  /** What stands at every path is no route. */
  const hasRoute = (method: string, path: string) =>
    app.router.match(method === 'HEAD' ? 'GET' : method, path)[0].some(([[, route]]) => route.path !== '/*')
  return app
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE']
