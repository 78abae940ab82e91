/** Acknowledgements: a token is all that is needed, at any instance. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { answer } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { BridgeError } from '../errors.ts'
import { readJsonBody } from '../middleware/json-bodies.ts'
import { createRouter, noQuery, parseInput } from '../router.ts'
import { type Ack, ackResultsSchema, acksSchema, isPlain } from '../schemas/ack.ts'
import { json } from '../schemas/examples.ts'
import { problems } from '../schemas/problem.ts'
import { declared } from './answers.ts'
import { settleAll } from './settling.ts'

const settleDeliveriesRoute = createRoute({
  method: 'post',
  path: '/v1/acks',
  operationId: 'settleDeliveries',
  tags: ['Consumers'],
  summary: 'Acknowledge messages',
  description:
    'Settles deliveries by their tokens: done, deliver again, still at it, never again. `stale` says that the delivery is no ' +
    "longer this client's: its deadline passed, or its consumer is gone.",
  request: {
    query: noQuery,
    body: { required: true, content: json(acksSchema, 'acks') },
  },
  responses: {
    200: { description: 'A result for each.', content: json(ackResultsSchema, 'ackResults') },
    ...problems('payload_too_large', 'unsupported_media_type', 'ack_token_invalid'),
  },
})

export const acks = createRouter()

// The contract alone: of a body that holds nothing unusual, `readAcks` sees that by itself.
acks.openAPIRegistry.registerPath(settleDeliveriesRoute)

acks.post(settleDeliveriesRoute.getRoutingPath(), async (c) => {
  const results = await settleAll(c, await readAcks(c))
  const failures = results.filter((result) => 'error' in result)
  const [first] = failures
  if (first && failures.length === results.length && first.error.code === 'jetstream_unavailable') {
    throw new BridgeError('jetstream_unavailable', first.error.detail)
  }
  return declared(answer(c, JSON.stringify({ results }), { headers: { 'Content-Type': 'application/json' } }))
})

/** What the route's schemas take, and refuses what they refuse. */
async function readAcks(c: Context<AppEnv>): Promise<readonly Ack[]> {
  if (c.req.url.includes('?')) parseInput(noQuery, c.req.query())
  const body = await readJsonBody(c)
  return isPlain(body) ? body.acks : parseInput(acksSchema, body).acks
}
