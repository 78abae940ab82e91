/** Owns pulling from a consumer: what was received is returned or given back, never dropped. */
import type { NatsConnection } from 'nats.ws'
import { BridgeError } from '../../errors.ts'
import type { Delivery, PullRequest } from '../../jetstream.ts'
import type { Connection } from './connection.ts'
import { settled } from './connection.ts'
import { consumerInfo } from './consumers.ts'
import { fromClient, hasCode, NoResponders } from './errors.ts'
import { type NextEnd, type NextRequest, requestNext } from './next.ts'

const HEARTBEAT_MS = 5_000
const SILENCE_MS = 2.5 * HEARTBEAT_MS
/** A consumer at its `max_ack_pending` leaves a request unanswered that asks for what is at hand. */
const AT_HAND_MS = 1_000
/** Less than this left: waiting again is not worth a request. */
const SHORTEST_WAIT_MS = 10

const NAK = new TextEncoder().encode('-NAK')

interface PullTarget {
  readonly stream: string
  readonly consumer: string
}

/** Nobody answered the pull: the consumer or its stream is missing, or has no leader just now. */
async function explainNoResponders(
  connection: Connection,
  target: PullTarget,
  cause: BridgeError,
): Promise<BridgeError> {
  try {
    const { config } = await consumerInfo(connection, target.stream, target.consumer)
    if (config.deliver_subject === undefined) return cause
    return new BridgeError('refused_by_jetstream', 'The consumer pushes: it cannot be pulled.', { cause })
  } catch (err) {
    return hasCode(err, 'consumer_not_found', 'stream_not_found') ? err : cause
  }
}

async function giveBack(client: NatsConnection, deliveries: readonly Delivery[]): Promise<void> {
  if (deliveries.length === 0 || client.isClosed()) return
  for (const { replySubject } of deliveries) client.publish(replySubject, NAK)
  await settled(client)
}

/** What is at hand, and with `expiresMs` the wait for it. */
function firstRequest(request: PullRequest, timeoutMs: number): NextRequest {
  const { batch, maxBytes, waitMs, signal } = request
  if (waitMs === 0) return { batch, maxBytes, noWait: true, timeoutMs, silenceMs: AT_HAND_MS, signal }
  return { batch, maxBytes, noWait: true, signal, ...waiting(waitMs, timeoutMs) }
}

/** Heartbeats tell a long wait from a lost request. */
const waiting = (expiresMs: number, timeoutMs: number) => ({
  expiresMs,
  timeoutMs: expiresMs + timeoutMs,
  ...(expiresMs > 2 * HEARTBEAT_MS ? { heartbeatMs: HEARTBEAT_MS, silenceMs: SILENCE_MS } : {}),
})

/**
 * Pulls until there is something or the time is up. With `no_wait` and `expires` together a consumer waits for the
 * first message and then ends the request as soon as nothing more is at hand: no request stays open behind the answer.
 */
async function pullInto(
  ask: (request: NextRequest) => Promise<NextEnd>,
  request: PullRequest,
  state: { readonly deliveries: readonly Delivery[]; readonly timeoutMs: number },
): Promise<void> {
  const deadline = Date.now() + request.waitMs
  const { signal } = request
  const { deliveries, timeoutMs } = state
  let end = await retryable(ask, firstRequest(request, timeoutMs))
  while (deliveries.length === 0) {
    const left = deadline - Date.now()
    if (end === 'too_large') {
      end = await ask({ batch: 1, noWait: true, timeoutMs, silenceMs: AT_HAND_MS, signal })
    } else if (left >= SHORTEST_WAIT_MS) {
      // Others wait for what is there, or the request was lost: stand in the line.
      end = await retryable(ask, { batch: 1, noWait: false, signal, ...waiting(left, timeoutMs) })
    } else return
  }
}

/** A silent request counts as one that found nothing. */
async function retryable(
  ask: (request: NextRequest) => Promise<NextEnd>,
  request: NextRequest,
): Promise<NextEnd> {
  try {
    return await ask(request)
  } catch (err) {
    if (request.silenceMs !== undefined && hasCode(err, 'jetstream_timeout')) return 'none'
    throw err
  }
}

/** `JetStream.pull`. */
export async function pull(
  connection: Connection,
  target: PullTarget,
  request: PullRequest,
): Promise<readonly Delivery[]> {
  const client = await connection.client()
  const deliveries: Delivery[] = []
  const ask = (next: NextRequest) =>
    requestNext({ client, ...target }, next, (delivery) => deliveries.push(delivery))
  try {
    request.signal.throwIfAborted()
    await pullInto(ask, request, { deliveries, timeoutMs: connection.timeoutMs })
  } catch (err) {
    if (request.signal.aborted) {
      await giveBack(client, deliveries)
      throw request.signal.reason
    }
    if (deliveries.length > 0) return deliveries
    throw err instanceof NoResponders
      ? await explainNoResponders(connection, target, err)
      : fromClient(err, false)
  }
  return deliveries
}
