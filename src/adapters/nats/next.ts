/** One pull request to a consumer and how it ends. Source: NATS ADR-13, Pull Subscribe internals. */
import type { NatsConnection } from 'nats.ws'
import { BridgeError, type ErrorCode } from '../../errors.ts'
import type { Delivery } from '../../jetstream.ts'
import { msToNanos } from '../../schemas/time.ts'
import { encodeJson } from './api.ts'
import { exchange, type Quiet, type Reply } from './exchange.ts'
import { lastOf, sizeOf } from './headers.ts'
import { fromConsumer, isStatus } from './messages.ts'
import { checkedName } from './names.ts'

/** The consumer that is asked, and over which connection. */
export interface NextTarget {
  readonly client: NatsConnection
  readonly stream: string
  readonly consumer: string
}

export interface NextRequest {
  readonly batch: number
  /** Absent: no bound, so that one message always passes. */
  readonly maxBytes?: number
  /** Ends as soon as nothing more is at hand, yet waits `expiresMs` for the first where that is given. */
  readonly noWait: boolean
  readonly expiresMs?: number
  readonly heartbeatMs?: number
  /** When to give up on the server, ms. */
  readonly timeoutMs: number
  readonly silenceMs?: number
  readonly quiet?: Quiet
  readonly signal?: AbortSignal
}

/** `filled`: as much as was asked for; `none`: nothing more is at hand; `too_large`: the next is over `maxBytes`. */
export type NextEnd = 'filled' | 'none' | 'too_large'

const HEARTBEAT = 100
const NOT_FOUND = 404
const TIMED_OUT = 408
const CONFLICT = 409

/** A pull request is ended by statuses that differ in nothing but these texts. Source: nats-server, server/consumer.go. */
const CONFLICTS: readonly (readonly [text: string, code: ErrorCode, detail: string])[] = [
  ['Consumer Deleted', 'consumer_not_found', 'The consumer was deleted.'],
  ['Consumer is push based', 'refused_by_jetstream', 'The consumer pushes: it cannot be pulled.'],
  ['Exceeded MaxWaiting', 'consumer_busy', 'As many pulls wait at the consumer as its max_waiting allows.'],
]

/** A request asked for more than `max_batch`, `max_bytes` or `max_expires` of its consumer allow. */
export class BeyondLimits extends BridgeError {
  constructor(description: string) {
    super('refused_by_jetstream', `JetStream: ${description}.`, { cause: description })
  }
}

function conflict(description: string): NextEnd {
  if (description.startsWith('Batch Completed')) return 'filled'
  if (description.startsWith('Message Size Exceeds MaxBytes')) return 'too_large'
  if (description.startsWith('Exceeded MaxRequest')) throw new BeyondLimits(description)
  const [, code, detail] = CONFLICTS.find(([text]) => description.startsWith(text)) ?? []
  if (code && detail) throw new BridgeError(code, detail, { cause: description })
  throw new BridgeError('jetstream_unavailable', 'The consumer cannot answer now.', { cause: description })
}

/** How a status ends the request; undefined: it goes on. */
function endOf({ block }: Reply): NextEnd | undefined {
  if (block.status === HEARTBEAT) return undefined
  if (block.status === NOT_FOUND || block.status === TIMED_OUT) return 'none'
  if (block.status === CONFLICT) return conflict(block.description)
  throw new BridgeError('refused_by_jetstream', `JetStream: ${block.description}.`, { cause: block.status })
}

const bodyOf = ({ batch, maxBytes, noWait, expiresMs, heartbeatMs }: NextRequest): object => ({
  batch,
  ...(maxBytes === undefined ? {} : { max_bytes: maxBytes }),
  ...(noWait ? { no_wait: true } : {}),
  ...(expiresMs === undefined ? {} : { expires: msToNanos(expiresMs) }),
  ...(heartbeatMs === undefined ? {} : { idle_heartbeat: msToNanos(heartbeatMs) }),
})

/** A reply as a delivery; undefined: it is a status. */
function deliveryOf({ message, block }: Reply, askedAt: number | undefined): Delivery | undefined {
  if (isStatus(message, block)) return undefined
  const delivered = fromConsumer(message, block)
  if (!delivered) return undefined
  const { deliveryCount, consumerSeq, numPending } = delivered.ack
  const replySubject = message.reply ?? ''
  return {
    ...delivered.message,
    replySubject,
    deliveryCount,
    consumerSeq,
    numPending,
    receivedAt: Date.now(),
    ...(askedAt === undefined ? {} : { askedAt }),
  }
}

/**
 * Sends one pull request and gives each delivery to `take`, also those that still come when it throws.
 * Throws `NoResponders` where the consumer may be missing, `consumer_not_found`, `consumer_busy`, and as `exchange`.
 */
export async function requestNext(
  { client, stream, consumer }: NextTarget,
  request: NextRequest,
  take: (delivery: Delivery) => void,
): Promise<NextEnd> {
  const subject = `$JS.API.CONSUMER.MSG.NEXT.${checkedName('stream', stream)}.${checkedName('consumer', consumer)}`
  const askedAt = request.expiresMs === undefined ? Date.now() : undefined
  let end: NextEnd = 'filled'
  let missing = request.batch
  /** What the server says that it left out of the batch. */
  let unfilled = 0
  let bytesLeft = request.maxBytes ?? Number.POSITIVE_INFINITY
  const { timeoutMs, silenceMs, quiet, signal } = request
  const limits = {
    timeoutMs,
    ...(silenceMs === undefined ? {} : { silenceMs }),
    ...(quiet ? { quiet } : {}),
    ...(signal ? { signal } : {}),
  }

  await exchange(client, { subject, payload: encodeJson(bodyOf(request)), ...limits }, (reply) => {
    const delivery = deliveryOf(reply, askedAt)
    if (delivery) {
      take(delivery)
      missing -= 1
      // The server counts as `sizeOf` does, and ends a request whose bytes come out even without a word.
      bytesLeft -= sizeOf(reply.message)
      return missing > unfilled && bytesLeft > 0 ? 'more' : 'last'
    }
    const status = endOf(reply)
    if (!status) return 'more'
    end = status
    // A consumer with replicas sends a delivery once they have it, and a status at once, which then comes first.
    unfilled = Number(lastOf(reply.block, 'Nats-Pending-Messages') ?? missing)
    return missing > unfilled ? 'more' : 'last'
  })
  return end
}
