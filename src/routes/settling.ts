/** What becomes of each ack: settled once, by JetStream's word, and only while the delivery is its client's. */
import type { Context } from 'hono'
import type { AppEnv, Session } from '../context.ts'
import { encodeDeadline, type Look, leaseOf, lookAt, waitOf } from '../deliveries.ts'
import { BridgeError, toProblem } from '../errors.ts'
import type { AckAction, ConsumerInfo, JetStream } from '../jetstream.ts'
import type { Ack, AckResult } from '../schemas/ack.ts'
import { roundTripMs } from '../server-clock.ts'
import type { DeliveryClaim } from '../tokens/ack.ts'
import { deliveryKey, type Ending, type Settled } from '../tokens/settled.ts'
import { soon } from '../turns.ts'

const STALE: AckResult = { status: 'stale' }
const OK: AckResult = { status: 'ok' }
/** What is remembered of a delivery that JetStream has answered for. */
const SURE: Readonly<Record<Ending, Settled>> = {
  ack: { ending: 'ack', isSure: true },
  nak: { ending: 'nak', isSure: true },
  term: { ending: 'term', isSure: true },
}
/** What makes a delivery nobody's: there is nothing left to settle it with. */
const GONE = new Set(['consumer_not_found', 'stream_not_found'])

/** An ack on its way. */
interface Attempt {
  readonly ack: Ack
  readonly key: number
  readonly claim: DeliveryClaim
  /** What was known of its delivery before. */
  readonly before: Settled | undefined
  /** How far the consumer had delivered right before JetStream was sent anything; absent: it was not. */
  deliveredSeq?: number
}

/** Settles each by itself. */
export function settleAll(c: Context<AppEnv>, asked: readonly Ack[]): Promise<AckResult[]> {
  const settling = new Settling(c.var.session, c.var.requestId)
  return Promise.all(asked.map((ack) => settling.settle(ack)))
}

/** The acks of one request. What is asked about a consumer is asked once for all of them, and after they have come. */
class Settling {
  readonly #session: Session
  readonly #requestId: string
  readonly #looks = new Map<string, Promise<Look>>()
  /** Looks that have not been asked for yet: those that are late in one turn share one. */
  readonly #nextLooks = new Map<string, Promise<Look>>()

  constructor(session: Session, requestId: string) {
    this.#session = session
    this.#requestId = requestId
  }

  /** Never rejects. */
  async settle(ack: Ack): Promise<AckResult> {
    const claim = this.#session.ackTokens.open(ack.token)
    if (!claim) return this.#failed(new BridgeError('ack_token_invalid', 'The ack token cannot be read.'))
    const { settled } = this.#session
    const reset = settled.resetOf(claim.stream, claim.consumer)
    if (reset && claim.deliveredMs !== undefined && claim.deliveredMs < reset.serverMs) return STALE
    const key = deliveryKey(claim, reset)
    for (let other = settled.underWay(key); other; other = settled.underWay(key)) {
      const answer = await other.answer
      if (other.ending === ack.action) return answer
    }
    const before = settled.find(key)
    // Asked once more, such as after its answer was lost, it is answered what it was answered.
    if (before?.isSure) return before.ending === ack.action ? OK : STALE
    const answer = this.#attempt({ ack, key, claim, before })
    if (ack.action === 'progress') return await answer
    settled.begin(key, ack.action, answer)
    const result = await answer
    settled.end(key)
    return result
  }

  /** Settles, and remembers what ends the delivery; of a nak also where it is not known whether it was heard. Never rejects. */
  async #attempt(attempt: Attempt): Promise<AckResult> {
    const { settled } = this.#session
    const { action: ending } = attempt.ack
    try {
      const result = await this.#settle(attempt)
      if (result === OK && ending !== 'progress') settled.remember(attempt.key, SURE[ending])
      return result
    } catch (failure) {
      const code = failure instanceof BridgeError ? failure.code : undefined
      const { deliveredSeq } = attempt
      if (code === 'jetstream_timeout' && ending === 'nak' && deliveredSeq !== undefined)
        settled.remember(attempt.key, { ending, isSure: false, deliveredSeq })
      return code !== undefined && GONE.has(code) ? STALE : this.#failed(failure)
    }
  }

  #failed(failure: unknown): AckResult {
    return { error: toProblem(failure, this.#requestId) }
  }

  async #settle(attempt: Attempt): Promise<AckResult> {
    const { ack, claim, before } = attempt
    const { jetstream, serverClock, ackTokens } = this.#session
    const earliest = serverClock.atLeast(Date.now())
    if (earliest !== undefined && claim.deadlineMs <= earliest) return STALE
    const look = await this.#look(claim)
    if (look.info.config.ack_policy === 'none')
      throw new BridgeError(
        'refused_by_jetstream',
        'The consumer has `ack_policy` `none`: nothing it delivers is acknowledged.',
      )
    if (this.#isOver(claim, look, before)) return STALE
    if (!isConsumerOf(claim, look.info) && !(await isItsConsumer(jetstream, look.info, claim))) return STALE
    attempt.deliveredSeq = look.info.delivered.consumer_seq
    const sentAt = Date.now()
    try {
      await jetstream.settle(claim.replySubject, toAction(ack, look, claim))
    } catch (failure) {
      throw await explainUnsettled(jetstream, claim, failure)
    }
    if (Date.now() + look.offset.mostMs > endOf(claim, look) && !(await this.#wasInTime(claim, look)))
      return STALE
    if (ack.action !== 'progress') return OK
    const renewedMs = sentAt + look.offset.leastMs
    const lease = leaseOf(look, claim.deliveryCount, renewedMs)
    // A slower look makes a longer margin, and takes back nothing of what was granted; a shorter wait of the consumer does.
    const granted = endByNow(claim, look) < claim.deadlineMs ? Number.NEGATIVE_INFINITY : claim.deadlineMs
    const deadlineMs = Math.max(granted, lease.deadlineMs)
    const endMs = Math.max(granted === claim.deadlineMs ? sealedEnd(claim) : granted, lease.endMs)
    const ack_token = ackTokens.seal({ ...claim, deadlineMs, endMs, isRenewed: true, renewedMs })
    return { status: 'ok', ack_token, ack_deadline: encodeDeadline(deadlineMs) }
  }

  /** Whether the delivery is over, or could be by the time that JetStream hears of it. */
  #isOver(claim: DeliveryClaim, look: Look, before: Settled | undefined): boolean {
    const { offset, info } = look
    const now = Date.now()
    if (now + offset.leastMs >= claim.deadlineMs) return true
    if (now + offset.mostMs + roundTripMs(offset) / 2 >= endOf(claim, look)) return true
    if (claim.consumerSeq === undefined || info.delivered.consumer_seq === claim.consumerSeq) return false
    // It has not delivered so much: it was reset since, or lost what it knew, and delivers that again.
    if (info.delivered.consumer_seq < claim.consumerSeq) return true
    // Something was delivered since: where one message may be unsettled at a time, or this one went back, it is over.
    return (
      (before !== undefined && info.delivered.consumer_seq !== before.deliveredSeq) ||
      (info.delivered.consumer_seq > claim.consumerSeq && info.config.max_ack_pending === 1)
    )
  }

  /**
   * Whether a delivery whose answer came late was still its client's: it was where the consumer has delivered nothing since,
   * and was not where it has delivered and had nothing else to deliver again. Throws where nobody can tell.
   */
  async #wasInTime(claim: DeliveryClaim, { info: before }: Look): Promise<boolean> {
    const { info } = await this.#lookAgain(claim).catch((cause: unknown) => {
      throw untold(cause)
    })
    if (!(await isItsConsumer(this.#session.jetstream, info, claim))) return false
    const { consumer_seq: last, stream_seq } = info.delivered
    if (last === claim.consumerSeq || last === before.delivered.consumer_seq) return true
    if (before.num_ack_pending === 1 && stream_seq === before.delivered.stream_seq) return false
    throw untold(undefined)
  }

  #look(claim: DeliveryClaim): Promise<Look> {
    const key = keyOf(claim)
    const known = this.#looks.get(key) ?? lookAt(this.#session, claim)
    this.#looks.set(key, known)
    return known
  }

  #lookAgain(claim: DeliveryClaim): Promise<Look> {
    const key = keyOf(claim)
    const next = this.#nextLooks.get(key) ?? this.#lookNext(key, claim)
    this.#nextLooks.set(key, next)
    return next
  }

  async #lookNext(key: string, claim: DeliveryClaim): Promise<Look> {
    await new Promise<void>((resolve) => soon(resolve))
    this.#nextLooks.delete(key)
    return await lookAt(this.#session, claim)
  }
}

const keyOf = ({ stream, consumer }: DeliveryClaim): string => `${stream}.${consumer}`

const sealedEnd = ({ endMs, deadlineMs }: DeliveryClaim): number => endMs ?? deadlineMs

/** When the wait ends that the consumer has now: JetStream goes by that, also for what it had delivered before. */
function endByNow(
  { deliveredMs, renewedMs, isRenewed, deliveryCount }: DeliveryClaim,
  { info }: Look,
): number {
  const from = isRenewed ? renewedMs : deliveredMs
  return from === undefined ? Number.POSITIVE_INFINITY : from + waitOf(info, deliveryCount)
}

/** When JetStream may deliver again. It tells the time of its last delivery, which may be this one, sealed too late on a busy machine. */
function endOf(claim: DeliveryClaim, look: Look): number {
  const { consumerSeq, deliveryCount, isRenewed } = claim
  const end = Math.min(sealedEnd(claim), endByNow(claim, look))
  const { consumer_seq, last_active } = look.info.delivered
  if (isRenewed || last_active === undefined || consumer_seq !== consumerSeq) return end
  return Math.min(end, Date.parse(last_active) + waitOf(look.info, deliveryCount))
}

const untold = (cause: unknown) =>
  new BridgeError(
    'jetstream_timeout',
    'JetStream answered so late that the message may have been delivered again before.',
    { cause },
  )

const isConsumerOf = ({ consumerCreated }: DeliveryClaim, { created }: ConsumerInfo): boolean =>
  created === consumerCreated

const isItsConsumer = async (
  jetstream: JetStream,
  consumer: ConsumerInfo,
  claim: DeliveryClaim,
): Promise<boolean> => {
  if (isConsumerOf(claim, consumer)) return true
  const { consumerCreated: created, replySubject } = claim
  return await jetstream.isSameConsumer(consumer, { created, replySubject })
}

/** Nobody takes an ack for a consumer that is gone, nor for one that has no leader just now: that one is acked later. */
async function explainUnsettled(
  jetstream: JetStream,
  claim: DeliveryClaim,
  failure: unknown,
): Promise<unknown> {
  if (!(failure instanceof BridgeError && GONE.has(failure.code))) return failure
  const now = await jetstream.consumerInfo(claim.stream, claim.consumer)
  if (!(await isItsConsumer(jetstream, now, claim))) return failure
  return new BridgeError('jetstream_unavailable', 'The consumer has no leader just now.', { cause: failure })
}

/**
 * The delay that has JetStream wait as long as the client says. JetStream counts it from one ack wait ago, which with a
 * back-off is its first step, and then waits for the step of this delivery. Source: nats-server, server/consumer.go.
 */
function delayOf(ack: Ack, info: ConsumerInfo, deliveryCount: number): number | undefined {
  const waitMs = waitOf(info, deliveryCount)
  const wantedMs = ack.delay === 'backoff' ? waitMs : ack.delay_ms
  return wantedMs === undefined ? undefined : wantedMs - waitMs + waitOf(info, 1)
}

function toAction(ack: Ack, { info }: Look, { deliveryCount }: DeliveryClaim): AckAction {
  switch (ack.action) {
    case 'nak':
      return { action: 'nak', delayMs: delayOf(ack, info, deliveryCount) }
    case 'term':
      return { action: 'term', reason: ack.reason }
    default:
      return { action: ack.action }
  }
}
