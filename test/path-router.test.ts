/** Holds that every route is found by the compiled expressions, and the same one as hono's tree would find. */
import { RegExpRouter } from 'hono/router/reg-exp-router'
import { TrieRouter } from 'hono/router/trie-router'
import { expect, it, test } from 'vitest'
import { createApp } from '../src/app.ts'
import { createDependencies } from '../src/bridge.ts'
import { createMetrics } from '../src/metrics.ts'
import { PathRouter } from '../src/path-router.ts'
import { readSettings } from '../src/settings.ts'
import { newTokenKey } from './support/host.ts'

const settings = readSettings({ AUTH: 'none', NATS_URL: 'ws://127.0.0.1:1', TOKEN_KEYS: newTokenKey() })
const app = createApp(
  createDependencies(settings, {
    host: 'node',
    metrics: createMetrics({}),
    openSession: () => {
      throw new Error('No route is run here.')
    },
    writeLine: () => {},
  }),
)
const tree = new TrieRouter<string>()
const compiled = new PathRouter<string>()
for (const [index, { method, path }] of app.routes.entries()) {
  tree.add(method, path, `${index} ${path}`)
  compiled.add(method, path, `${index} ${path}`)
}

/** The handlers of the first route of a path, and what they see of it: each route answers, so no other one is asked. */
const found = (router: TrieRouter<string> | PathRouter<string>, method: string, path: string) => {
  const [handlers, values] = router.match(method, path)
  const routes = handlers.map(([handler, params]) => ({
    handler,
    route: handler.split(' ')[1],
    params: Object.fromEntries(
      Object.entries(params).map(([name, at]) => [name, typeof at === 'number' ? values?.[at] : at]),
    ),
  }))
  const [, first] = routes
  return routes.filter(({ route }) => route === '/*' || route === first?.route)
}

const paths = [...new Set(app.routes.map(({ path }) => path))]
  .filter((path) => path !== '/*')
  .map((path) => path.replaceAll(/:\w+/g, 'x.1'))
const odd = [
  '/',
  '/v1',
  '/v1/',
  '/v1/streams/',
  '/v1/streams/a/messages/42',
  '/v1/streams/last/messages/last/x',
]

it('is what the app finds its routes by', () => {
  expect(app.router).toBeInstanceOf(PathRouter)
})

test.each([...paths, ...odd])('%s leads where the tree leads', (path) => {
  for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    expect(found(compiled, method, path)).toEqual(found(tree, method, path))
  }
})

it('is needed as long as hono compiles no literal beside a parameter', () => {
  const router = new RegExpRouter<string>()
  expect(() => {
    for (const { method, path } of app.routes) router.add(method, path, path)
    router.match('GET', '/')
  }).toThrow()
})
