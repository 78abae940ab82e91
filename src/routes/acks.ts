/** Owns acknowledgements: a token is all that is needed, at any instance. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { AppEnv } from '../context.ts'
import { deadlineOf, encodeDeadline } from '../deliveries.ts'
import { BridgeError, toProblem } from '../errors.ts'
import type { AckAction, ConsumerInfo } from '../jetstream.ts'
import { createRouter, noQuery } from '../router.ts'
import { type Ack, type AckResult, ackResultsSchema, acksSchema } from '../schemas/ack.ts'
import { json } from '../schemas/examples.ts'
import { problems } from '../schemas/problem.ts'
import type { DeliveryClaim } from '../tokens/ack.ts'

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

export const acks = createRouter().openapi(settleDeliveriesRoute, async (c) => {
  const consumers = new Map<string, Promise<ConsumerInfo>>()
  const results = await Promise.all(c.req.valid('json').acks.map((ack) => settle(c, consumers, ack)))
  const failures = results.filter((result) => 'error' in result)
  const [first] = failures
  if (first && failures.length === results.length && first.error.code === 'jetstream_unavailable') {
    throw new BridgeError('jetstream_unavailable', first.error.detail)
  }
  return c.json({ results }, 200)
})

const STALE: AckResult = { status: 'stale' }
/** What makes a delivery nobody's: there is nothing left to settle it with. */
const GONE = new Set(['consumer_not_found', 'stream_not_found'])

/** `consumers`: what this request has asked about its consumers, each once. */
async function settle(
  c: Context<AppEnv>,
  consumers: Map<string, Promise<ConsumerInfo>>,
  ack: Ack,
): Promise<AckResult> {
  const { jetstream, ackTokens } = c.var.session
  const { now } = c.var.dependencies
  try {
    const claim = ackTokens.open(ack.token)
    if (!claim) throw new BridgeError('ack_token_invalid', 'The ack token cannot be read.')
    if (claim.deadlineMs <= now()) return STALE
    const consumer = await consumerOf(c, consumers, claim)
    if (consumer.created !== claim.consumerCreated || claim.deadlineMs <= now()) return STALE
    const renewedFrom = now()
    await jetstream.settle(claim.replySubject, toAction(ack))
    if (ack.action !== 'progress') return { status: 'ok' }
    const deadlineMs = deadlineOf(consumer, claim.deliveryCount, renewedFrom)
    return {
      status: 'ok',
      ack_token: ackTokens.seal({ ...claim, deadlineMs }),
      ack_deadline: encodeDeadline(deadlineMs),
    }
  } catch (failure) {
    if (failure instanceof BridgeError && GONE.has(failure.code)) return STALE
    return { error: toProblem(failure, c.var.requestId) }
  }
}

function consumerOf(c: Context<AppEnv>, consumers: Map<string, Promise<ConsumerInfo>>, claim: DeliveryClaim) {
  const key = `${claim.stream}.${claim.consumer}`
  const asked = consumers.get(key) ?? c.var.session.jetstream.consumerInfo(claim.stream, claim.consumer)
  consumers.set(key, asked)
  return asked
}

function toAction(ack: Ack): AckAction {
  switch (ack.action) {
    case 'nak':
      return { action: 'nak', delayMs: ack.delay_ms }
    case 'term':
      return { action: 'term', reason: ack.reason }
    default:
      return { action: ack.action }
  }
}
