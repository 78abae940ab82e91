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

/** What came last, by its number: at least `size` of them, and at most twice as many. To drop each one by itself costs more. */
class Recent {
  readonly #size: number
  #young = new Map<number, Settled>()
  #old = new Map<number, Settled>()

  constructor(size: number) {
    this.#size = size
  }

  get(key: number): Settled | undefined {
    if (this.#young.size + this.#old.size === 0) return undefined
    return this.#young.get(key) ?? this.#old.get(key)
  }

  set(key: number, settled: Settled): void {
    this.#young.set(key, settled)
    if (this.#young.size < this.#size) return
    this.#old = this.#young
    this.#young = new Map()
  }

  delete(key: number): void {
    if (this.#young.size + this.#old.size === 0) return
    this.#young.delete(key)
    this.#old.delete(key)
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

/** So many settlings at least begin between two clean-ups. */
const REMEMBERED_BEGUN = 1_024

/**
 * Settlings under way, by their number. Those that are over are let go of together: a `Map` that is deleted from all the time
 * keeps what was in it for long (see `LinkedList`).
 */
class Begun<Answer> {
  /** Undefined: it is over. */
  #young = new Map<number, UnderWay<Answer> | undefined>()
  #old = new Map<number, UnderWay<Answer> | undefined>()
  #turnAt = REMEMBERED_BEGUN

  get(key: number): UnderWay<Answer> | undefined {
    return this.#young.get(key) ?? this.#old.get(key)
  }

  end(key: number): void {
    if (this.#young.has(key)) this.#young.set(key, undefined)
    else if (this.#old.has(key)) this.#old.set(key, undefined)
  }

  set(key: number, begun: UnderWay<Answer>): void {
    if (this.#young.size >= this.#turnAt) this.#turn()
    this.#young.set(key, begun)
  }

  #turn(): void {
    const next = new Map<number, UnderWay<Answer> | undefined>()
    for (const [key, begun] of this.#old) if (begun && !this.#young.has(key)) next.set(key, begun)
    this.#old = this.#young
    this.#young = next
    this.#turnAt = REMEMBERED_BEGUN + 2 * next.size
  }
}

/** `Answer`: what a settling is answered; such promises never reject. */
export class SettledDeliveries<Answer> {
  readonly #naks = new Recent(REMEMBERED_NAKS)
  readonly #ends = new Recent(REMEMBERED_ENDS)
  readonly #underWay = new Begun<Answer>()
  readonly #resets = new Map<string, Reset>()

  /** What has become of a delivery. Undefined: nothing that is known here. */
  find(key: number): Settled | undefined {
    return this.#ends.get(key) ?? this.#naks.get(key)
  }

  remember(key: number, settled: Settled): void {
    if (settled.ending === 'nak') {
      this.#naks.set(key, settled)
      return
    }
    // What has perhaps gone back may end; what has ended does not go back any more.
    this.#naks.delete(key)
    this.#ends.set(key, settled)
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
    return this.#resets.size === 0 ? undefined : this.#resets.get(`${stream}.${consumer}`)
  }

  underWay(key: number): UnderWay<Answer> | undefined {
    return this.#underWay.get(key)
  }

  /** Has whoever comes with the same delivery wait for this one, until `end`. */
  begin(key: number, ending: Ending, answer: Promise<Answer>): void {
    this.#underWay.set(key, { ending, answer })
  }

  end(key: number): void {
    this.#underWay.end(key)
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
