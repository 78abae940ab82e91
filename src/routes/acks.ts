/** Owns acknowledgements: a token is all that is needed, at any instance. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { answer } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { deadlineOf, encodeDeadline } from '../deliveries.ts'
import { BridgeError, toProblem } from '../errors.ts'
import type { AckAction, ConsumerInfo, JetStream } from '../jetstream.ts'
import { readJsonBody } from '../middleware/json-bodies.ts'
import { createRouter, noQuery, parseInput } from '../router.ts'
import { type Ack, type AckResult, ackResultsSchema, acksSchema, isPlain } from '../schemas/ack.ts'
import { json } from '../schemas/examples.ts'
import { problems } from '../schemas/problem.ts'
import type { DeliveryClaim } from '../tokens/ack.ts'
import { declared } from './answers.ts'

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

const STALE: AckResult = { status: 'stale' }
const OK: AckResult = { status: 'ok' }
/** What makes a delivery nobody's: there is nothing left to settle it with. */
const GONE = new Set(['consumer_not_found', 'stream_not_found'])

/** Settles each by itself. What is asked about a consumer is asked once for all of a request, and after it has come. */
function settleAll(c: Context<AppEnv>, asked: readonly Ack[]): Promise<AckResult[]> {
  const { jetstream, ackTokens } = c.get('session')
  const { now } = c.get('dependencies')
  const consumers = new Map<string, Promise<ConsumerInfo>>()

  const consumerOf = ({ stream, consumer }: DeliveryClaim) => {
    const key = `${stream}.${consumer}`
    const known = consumers.get(key) ?? jetstream.consumerInfo(stream, consumer)
    consumers.set(key, known)
    return known
  }
  const settle = async (ack: Ack): Promise<AckResult> => {
    const claim = ackTokens.open(ack.token)
    if (!claim) throw new BridgeError('ack_token_invalid', 'The ack token cannot be read.')
    if (claim.deadlineMs <= now()) return STALE
    const consumer = await consumerOf(claim)
    if (!(await isItsConsumer(jetstream, consumer, claim)) || claim.deadlineMs <= now()) return STALE
    const renewedFrom = now()
    await jetstream
      .settle(claim.replySubject, toAction(ack))
      .catch((failure: unknown) => explainUnsettled(jetstream, claim, failure))
    if (ack.action !== 'progress') return OK
    const deadlineMs = deadlineOf(consumer, claim.deliveryCount, renewedFrom)
    const ack_token = ackTokens.seal({ ...claim, deadlineMs })
    return { status: 'ok', ack_token, ack_deadline: encodeDeadline(deadlineMs) }
  }
  const resultOf = async (ack: Ack): Promise<AckResult> => {
    try {
      return await settle(ack)
    } catch (failure) {
      if (failure instanceof BridgeError && GONE.has(failure.code)) return STALE
      return { error: toProblem(failure, c.get('requestId')) }
    }
  }
  return Promise.all(asked.map(resultOf))
}

const isItsConsumer = async (jetstream: JetStream, consumer: ConsumerInfo, claim: DeliveryClaim) =>
  consumer.created === claim.consumerCreated ||
  (await jetstream.isSameConsumer(consumer, {
    created: claim.consumerCreated,
    replySubject: claim.replySubject,
  }))

/** Nobody takes an ack for a consumer that is gone, nor for one that has no leader just now: that one is acked later. */
async function explainUnsettled(
  jetstream: JetStream,
  claim: DeliveryClaim,
  failure: unknown,
): Promise<never> {
  if (!(failure instanceof BridgeError && GONE.has(failure.code))) throw failure
  const now = await jetstream.consumerInfo(claim.stream, claim.consumer)
  if (!(await isItsConsumer(jetstream, now, claim))) throw failure
  throw new BridgeError('jetstream_unavailable', 'The consumer has no leader just now.', { cause: failure })
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
