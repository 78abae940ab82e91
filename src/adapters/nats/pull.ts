/** Pulling from a consumer: what was received is returned or given back, never dropped. */
import type { NatsConnection } from 'nats.ws'
import { BridgeError } from '../../errors.ts'
import type { Delivery, PullRequest } from '../../jetstream.ts'
import { delay } from '../../turns.ts'
import type { Connection } from './connection.ts'
import { type ConsumerLimits, countPending, knownLimits, roomOf } from './consumer-limits.ts'
import { consumerInfo, lookAtConsumer } from './consumers.ts'
import { fromClient, hasCode, NoResponders } from './errors.ts'
import { type Quiet, WentQuiet } from './exchange.ts'
import { settled } from './liveness.ts'
import { BeyondLimits, type NextEnd, type NextRequest, requestNext } from './next.ts'
import { checkPercent } from './percent-names.ts'

const HEARTBEAT_MS = 5_000
const SILENCE_MS = 2.5 * HEARTBEAT_MS
/** After so short a silence, and the time that an answer takes, it is asked whether the consumer can deliver more. */
const QUIET_MS = 100
/** A consumer may end each wait at once: it is not asked more often than this, ms. */
const SHORTEST_TURN_MS = 100
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

/** Heartbeats tell a long wait from a lost request. */
const waiting = (expiresMs: number, timeoutMs: number) => ({
  expiresMs,
  timeoutMs: expiresMs + timeoutMs,
  ...(expiresMs > 2 * HEARTBEAT_MS ? { heartbeatMs: HEARTBEAT_MS, silenceMs: SILENCE_MS } : {}),
})

/** One pull of a client: the requests that it takes, and what they brought. */
class Pull {
  readonly #connection: Connection
  readonly #client: NatsConnection
  readonly #target: PullTarget
  readonly #request: PullRequest
  readonly #deliveries: Delivery[]

  constructor(
    connection: Connection,
    client: NatsConnection,
    pulled: { readonly target: PullTarget; readonly request: PullRequest; readonly deliveries: Delivery[] },
  ) {
    this.#connection = connection
    this.#client = client
    this.#target = pulled.target
    this.#request = pulled.request
    this.#deliveries = pulled.deliveries
  }

  /** Pulls until there is something or the time is up; again where the consumer's limits are not what they were. */
  async run(): Promise<void> {
    try {
      await this.#untilThere()
    } catch (err) {
      if (!(err instanceof BeyondLimits) || this.#deliveries.length > 0) throw err
      await this.#look()
      await this.#untilThere()
    }
  }

  async #untilThere(): Promise<void> {
    const deadline = Date.now() + this.#request.waitMs
    let end = await this.#atHand(this.#request)
    let standsInLine = end === 'full'
    while (this.#deliveries.length === 0) {
      const left = deadline - Date.now()
      if (end === 'too_large') end = await this.#ask({ batch: 1, ...this.#oneShot() })
      else if (left >= SHORTEST_WAIT_MS) {
        end = standsInLine ? await this.#standInLine(left) : await this.#wait(left, false)
        standsInLine = true
      } else return
    }
  }

  /**
   * What is there now. A consumer at its `max_ack_pending` neither delivers nor says so: never more is asked for than
   * it may still deliver, and where other clients take that meanwhile, it is asked once it is quiet.
   */
  async #atHand({ batch, maxBytes }: Pick<PullRequest, 'batch' | 'maxBytes'>): Promise<NextEnd | 'full'> {
    const limits = await this.#limits(batch)
    const allowed = Math.min(batch, limits.maxBatch, roomOf(limits))
    if (allowed === 0) return 'full'
    const bounded = { batch: allowed, maxBytes: Math.min(maxBytes, limits.maxBytes) }
    return await this.#ask({ ...bounded, ...this.#oneShot() })
  }

  /**
   * Waits for the first message. With `no_wait` and `expires` together a consumer waits for it and then ends the request as
   * soon as nothing more is at hand: no request stays open behind the answer. It refuses that where others wait for
   * what is there: then one stands in the line, as one does at a consumer that is full.
   */
  async #wait(leftMs: number, standsInLine: boolean): Promise<NextEnd> {
    const limits = await this.#limits(this.#request.batch)
    const { batch, maxBytes } = this.#request
    const allowed = Math.min(batch, limits.maxBatch)
    const times = waiting(Math.min(leftMs, limits.maxExpiresMs), this.#connection.timeoutMs)
    if (!standsInLine && roomOf(limits) >= allowed) {
      const bounded = { batch: allowed, maxBytes: Math.min(maxBytes, limits.maxBytes) }
      return await this.#ask({ ...bounded, noWait: true, ...times, quiet: this.#quiet(true) })
    }
    const end = await this.#ask({ batch: 1, noWait: false, ...times })
    const [first] = this.#deliveries
    if (first && batch > 1)
      await this.#atHand({ batch: batch - 1, maxBytes: Math.max(1, maxBytes - first.payload.length) })
    return end
  }

  async #standInLine(leftMs: number): Promise<NextEnd> {
    const begunAt = performance.now()
    const end = await this.#wait(leftMs, true)
    const restMs = SHORTEST_TURN_MS - (performance.now() - begunAt)
    if (end === 'none' && restMs > 0) await delay(Math.min(restMs, leftMs))
    return end
  }

  /** The limits as they were seen last, or as they are where those may not suffice for so many more messages. */
  async #limits(batch: number): Promise<ConsumerLimits> {
    const { stream, consumer } = this.#target
    const known = knownLimits(this.#connection, stream, consumer)
    return known && roomOf(known) >= Math.min(batch, known.maxBatch) ? known : await this.#look()
  }

  async #look(): Promise<ConsumerLimits> {
    const { stream, consumer } = this.#target
    return (await lookAtConsumer(this.#connection, stream, consumer)).limits
  }

  #oneShot() {
    const { timeoutMs } = this.#connection
    return { noWait: true, timeoutMs, quiet: this.#quiet(false) }
  }

  #quiet(afterFirst: boolean): Quiet {
    let idleAt: number | undefined
    const isOver = async () => {
      const limits = await this.#look()
      // Twice, since a consumer with replicas sends what it has counted as delivered only once they have it.
      const isIdle = limits.idleAt !== undefined && limits.idleAt === idleAt
      idleAt = limits.idleAt
      return limits.isPaced || roomOf(limits) === 0 || isIdle
    }
    const { stream, consumer } = this.#target
    const roundTripMs = knownLimits(this.#connection, stream, consumer)?.roundTripMs ?? 0
    return { ms: QUIET_MS + 2 * roundTripMs, afterFirst, isOver }
  }

  /** A silent request counts as one that found nothing. */
  async #ask(request: NextRequest): Promise<NextEnd> {
    const { signal } = this.#request
    const take = (delivery: Delivery) => this.#deliveries.push(delivery)
    const target = { client: this.#client, ...this.#target }
    const before = this.#deliveries.length
    try {
      return await requestNext(target, { ...request, signal }, take)
    } catch (err) {
      const isSilent = request.silenceMs !== undefined && hasCode(err, 'jetstream_timeout')
      if (isSilent || err instanceof WentQuiet) return 'none'
      throw err
    } finally {
      countPending(this.#connection, this.#target, this.#deliveries.length - before)
    }
  }
}

/** `JetStream.pull`. */
export async function pull(
  connection: Connection,
  target: PullTarget,
  request: PullRequest,
): Promise<readonly Delivery[]> {
  await checkPercent(connection, target.stream, target.consumer)
  const client = await connection.client()
  const deliveries: Delivery[] = []
  try {
    request.signal.throwIfAborted()
    await new Pull(connection, client, { target, request, deliveries }).run()
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
