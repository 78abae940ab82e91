/** What may happen to a call between the bridge and the simulated JetStream. */
import { BridgeError } from '../../src/errors.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** What a call is, as far as its failures differ. */
export type CallKind = 'publish' | 'keyed' | 'settle' | 'pull' | 'direct' | 'api'

/** `request`: it never came to JetStream; `reply`: it did, and its answer never came back. */
type Loss = 'request' | 'reply' | undefined

export interface Faults {
  /** Calls that lose something from now on, one after another. */
  losses: { readonly kinds: readonly CallKind[]; readonly loss: Loss }[]
  /** Until when nobody leads, Unix milliseconds. */
  awayUntil: number
  /** How many operations replicas are behind, at most. */
  lag: number
}

/** The time-out of one request. */
export const REQUEST_TIMEOUT_MS = 5_000
const LONGEST_LATENCY_MS = 3

/** A connection: publishes keep their order in it, in both directions; everything else takes its own time. */
export class Network {
  readonly faults: Faults = { losses: [], awayUntil: 0, lag: 0 }
  readonly #clock: VirtualClock
  readonly #random: () => number
  readonly #lanes = { out: 0, back: 0 }
  /** Counts fail overs: an answer from before one may be lost in it. */
  #terms = 0

  constructor(clock: VirtualClock, random: () => number) {
    this.#clock = clock
    this.#random = random
  }

  get isAway(): boolean {
    return this.#clock.now < this.faults.awayUntil
  }

  chance(share: number): boolean {
    return this.#random() < share
  }

  /** A whole number from 0 to below `end`. */
  below(end: number): number {
    return Math.floor(this.#random() * end)
  }

  failOver(ms: number): void {
    this.#terms += 1
    this.faults.awayUntil = this.#clock.now + ms
  }

  heal(): void {
    Object.assign(this.faults, { losses: [], awayUntil: 0, lag: 0 })
  }

  /** Has `act` done where JetStream is, and brings its answer back, or what became of the call instead. */
  async call<Answer>(kind: CallKind, act: () => Answer | Promise<Answer>): Promise<Answer> {
    const loss = this.#lossOf(kind)
    await this.travel(kind, 'out')
    if (loss === 'request') return await this.#fail(kind)
    if (this.isAway && !(kind === 'direct' && this.chance(0.5))) return await this.#failAway(kind)
    const term = this.#terms
    const [answer] = await Promise.allSettled([attempt(act)])
    await this.travel(kind, 'back')
    if (loss === 'reply' || (term !== this.#terms && this.chance(0.5))) return await this.#fail(kind)
    if (answer.status === 'rejected') throw answer.reason
    return answer.value
  }

  async travel(kind: CallKind, way: 'out' | 'back'): Promise<void> {
    const arrivesAt = this.#clock.now + this.below(LONGEST_LATENCY_MS + 1)
    if (kind !== 'publish' && kind !== 'keyed') return await this.#clock.delay(arrivesAt - this.#clock.now)
    this.#lanes[way] = Math.max(this.#lanes[way], arrivesAt)
    await this.#clock.delay(this.#lanes[way] - this.#clock.now)
  }

  #lossOf(kind: CallKind): Loss {
    const { losses } = this.faults
    const index = losses.findIndex(({ kinds }) => kinds.includes(kind))
    return index === -1 ? undefined : losses.splice(index, 1)[0]?.loss
  }

  /** Nothing more is heard of it: until the time-out, or until the connection is seen to be lost. */
  async #fail(kind: CallKind): Promise<never> {
    const isTimedOut = this.chance(0.5)
    await this.#clock.delay(isTimedOut ? REQUEST_TIMEOUT_MS : this.below(100))
    throw lost(kind, isTimedOut)
  }

  /** Without a leader nobody answers at once, or nobody answers at all. */
  async #failAway(kind: CallKind): Promise<never> {
    if (this.chance(0.3)) return await this.#fail(kind)
    await this.travel(kind, 'back')
    if (kind === 'settle')
      throw new BridgeError('consumer_not_found', 'The consumer of this delivery is gone.')
    throw new BridgeError('jetstream_unavailable', 'Nothing in NATS answers for this now.')
  }
}

const attempt = async <Answer>(act: () => Answer | Promise<Answer>): Promise<Answer> => await act()

/** As the adapter says it. */
function lost(kind: CallKind, isTimedOut: boolean): BridgeError {
  if (kind === 'publish') return new BridgeError('publish_unconfirmed', 'It may be stored.')
  if (kind === 'keyed') return new BridgeError('publish_unconfirmed_keyed', 'It may be stored.')
  return isTimedOut
    ? new BridgeError('jetstream_timeout', 'JetStream did not answer in time.')
    : new BridgeError('jetstream_unavailable', 'The connection to NATS is lost.')
}
