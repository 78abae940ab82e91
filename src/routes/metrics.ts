/** The figures of a host as Prometheus reads them, and who may. */
import { createHash, timingSafeEqual } from 'node:crypto'
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { answer } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { BridgeError, refuse } from '../errors.ts'
import { identify } from '../middleware/authenticate.ts'
import { createRouter } from '../router.ts'
import { examplesOf } from '../schemas/examples.ts'
import { queryInteger } from '../schemas/names.ts'
import { problemsOf } from '../schemas/problem.ts'
import * as z from '../schemas/zod.ts'
import { MAX_SHARDS, shardsOf } from '../settings.ts'
import { declared } from './answers.ts'

/** Version 0.0.4 of Prometheus' text format, which every scraper reads. */
const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

const metricsRoute = createRoute({
  method: 'get',
  path: '/metrics',
  operationId: 'getMetrics',
  tags: ['Around it'],
  summary: 'Figures for Prometheus',
  description:
    'What this host counts: requests and their latencies by route, publishes, deliveries, readers, feeds, connections, and ' +
    'what limits refused. On Node the figures are those of the process; on Workers those of one Durable Object, so of one ' +
    'credential. Where callers have credentials of their own, a Node host asks for its `METRICS_TOKEN` as a Bearer and ' +
    'shows nothing without that setting; a Durable Object asks for the credential that it serves.',
  request: {
    query: z.strictObject({
      shard: queryInteger(0, MAX_SHARDS - 1)
        .default(0)
        .openapi({
          description:
            'On Workers: which of the Durable Objects that share the requests of a credential. Default 0.',
        }),
    }),
  },
  responses: {
    200: {
      description: "Prometheus' text format, version 0.0.4.",
      content: { 'text/plain': { schema: z.string(), examples: examplesOf('metrics') } },
    },
    ...problemsOf(['invalid_request', 'unauthenticated', 'forbidden', 'internal', 'jetstream_unavailable']),
  },
})

export const metrics = createRouter().openapi(metricsRoute, (c) => {
  checkMayRead(c)
  const { host, metrics, settings } = c.get('dependencies')
  const shards = host === 'node' ? 1 : shardsOf(settings)
  if (c.req.valid('query').shard >= shards) throw refuse('shard', `must be less than ${shards}`)
  return declared(
    answer(c, metrics.write(), { headers: { 'Content-Type': CONTENT_TYPE, 'Cache-Control': 'no-store' } }),
  )
})

/** Throws `unauthenticated`. */
function checkMayRead(c: Context<AppEnv>) {
  const dependencies = c.get('dependencies')
  const { AUTH, METRICS_TOKEN } = dependencies.settings
  // The figures are those of one caller, who must say that it is the one.
  if (dependencies.host === 'workers' && AUTH === 'nats') {
    identify(c.req.raw, dependencies)
    return
  }
  if (METRICS_TOKEN !== undefined) {
    const [, said = ''] = /^bearer +(\S+)$/i.exec(c.req.header('Authorization') ?? '') ?? []
    if (!isSame(said, METRICS_TOKEN)) {
      throw new BridgeError('unauthenticated', 'Send the METRICS_TOKEN of this bridge as a Bearer.')
    }
  } else if (AUTH === 'nats') {
    throw new BridgeError('unauthenticated', 'This bridge shows its figures once it has a METRICS_TOKEN.')
  }
}

/** In a time that tells nothing of where they differ. */
function isSame(one: string, other: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(one), digest(other))
}
