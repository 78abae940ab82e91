/** What a session remembers of deliveries that were settled, so that a token settles once. */
import type { DeliveryClaim } from './ack.ts'

/** What ends a delivery. */
export type Ending = 'ack' | 'nak' | 'term'

/** `isSure`: JetStream answered for it. */
export interface Settled {
  readonly ending: Ending
  readonly isSure: boolean
  /** Where it is not sure: how far the consumer had delivered before that was sent. */
  readonly deliveredSeq?: number
}

/** Deliveries that went back: JetStream would let their tokens settle another client's delivery. */
const REMEMBERED_NAKS = 16_384
/** Deliveries that are done: a token more does no harm, and is answered what it was answered. */
const REMEMBERED_ENDS = 4_096

/** The numbers of the ones that came last, each with what is known of it. */
class Ring {
  readonly #known = new Map<number, Settled>()
  readonly #size: number

  constructor(size: number) {
    this.#size = size
  }

  get(key: number): Settled | undefined {
    return this.#known.get(key)
  }

  set(key: number, settled: Settled): void {
    this.#known.delete(key)
    this.#known.set(key, settled)
    if (this.#known.size <= this.#size) return
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest)
      return
    }
  }

  delete(key: number): void {
    this.#known.delete(key)
  }
}

/** A consumer began anew. */
export interface Reset {
  /** When, by the server's clock. */
  readonly serverMs: number
  /** When that was asked for, by the host's: what it had received before is of before. */
  readonly askedMs: number
}

/** Consumers that are remembered as reset. */
const REMEMBERED_RESETS = 1_000

/** One settling under way: what ends the delivery, and what that is answered. */
interface UnderWay<Answer> {
  readonly ending: Ending
  readonly answer: Promise<Answer>
}

/** `Answer`: what a settling is answered; such promises never reject. */
export class SettledDeliveries<Answer> {
  readonly #naks = new Ring(REMEMBERED_NAKS)
  readonly #ends = new Ring(REMEMBERED_ENDS)
  readonly #underWay = new Map<number, UnderWay<Answer>>()
  readonly #resets = new Map<string, Reset>()

  /** What has become of a delivery. Undefined: nothing that is known here. */
  find(key: number): Settled | undefined {
    return this.#naks.get(key) ?? this.#ends.get(key)
  }

  remember(key: number, settled: Settled): void {
    const [ring, other] = settled.ending === 'nak' ? [this.#naks, this.#ends] : [this.#ends, this.#naks]
    other.delete(key)
    ring.set(key, settled)
  }

  /** A consumer was reset over this session: what it had delivered before is over, and its deliveries are numbered anew. */
  noteReset(stream: string, consumer: string, reset: Reset): void {
    const key = `${stream}.${consumer}`
    this.#resets.delete(key)
    this.#resets.set(key, reset)
    const [oldest] = this.#resets.size > REMEMBERED_RESETS ? this.#resets.keys() : []
    if (oldest !== undefined) this.#resets.delete(oldest)
  }

  /** The last reset of a consumer that is known here. */
  resetOf(stream: string, consumer: string): Reset | undefined {
    return this.#resets.get(`${stream}.${consumer}`)
  }

  underWay(key: number): UnderWay<Answer> | undefined {
    return this.#underWay.get(key)
  }

  /** Has whoever comes with the same delivery wait for this one. */
  begin(key: number, ending: Ending, answer: Promise<Answer>): void {
    const underWay = { ending, answer }
    this.#underWay.set(key, underWay)
    void answer.then(() => {
      if (this.#underWay.get(key) === underWay) this.#underWay.delete(key)
    })
  }
}

const HIGH = 0x1_0000_0000
const HIGH_BITS = 21

/**
 * A number that stands for one delivery of one consumer: 53 bits of its reply subject, which is no other delivery's until the
 * consumer is reset.
 */
export function deliveryKey(
  { consumerCreated, replySubject }: Pick<DeliveryClaim, 'consumerCreated' | 'replySubject'>,
  reset: Reset | undefined,
): number {
  let low = 0x9e37_79b9
  let high = 0x85eb_ca6b
  for (const text of [consumerCreated, replySubject, String(reset?.serverMs ?? '')]) {
    for (let at = 0; at < text.length; at += 1) {
      const code = text.charCodeAt(at)
      low = Math.imul(low ^ code, 0x9e37_79b1)
      high = Math.imul(high ^ code, 0x5f35_6495)
    }
  }
  low ^= Math.imul(high ^ (high >>> 15), 0x85eb_ca6b)
  high ^= Math.imul(low ^ (low >>> 13), 0xc2b2_ae35)
  return (high >>> (32 - HIGH_BITS)) * HIGH + (low >>> 0)
}
