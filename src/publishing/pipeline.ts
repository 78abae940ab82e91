/** Many publishes of one request: a bounded window of them under way, and what became of each, in their order. */
import { BridgeError } from '../errors.ts'
import type { OutgoingMessage, PubAck } from '../jetstream.ts'
import { soon } from '../turns.ts'
import { keyOf } from './keys.ts'
import type { Publisher } from './publisher.ts'

/** What may be under way at once; one message always may. */
const WINDOW_MESSAGES = 1_024
const WINDOW_BYTES = 524_288

/** What became of one message. */
export type Outcome = { readonly ack: PubAck; readonly hasKey: boolean } | { readonly failure: unknown }

interface Entry {
  readonly bytes: number
  readonly message?: OutgoingMessage
  outcome?: Outcome
}

/** What is no message's own fault: those behind it would meet it too. */
const OUTAGES: ReadonlySet<string> = new Set([
  'jetstream_unavailable',
  'jetstream_timeout',
  'publish_unconfirmed',
  'publish_unconfirmed_keyed',
  'unauthenticated',
  'internal',
])

const isOutage = (failure: unknown) => !(failure instanceof BridgeError) || OUTAGES.has(failure.code)

/**
 * From the first failure of an outage on nothing more is sent until the window is empty. What has a key is tried again, one
 * after the other and in its order: so messages stay in the order of the request. Where that fails, nothing more is sent.
 */
export class Pipeline {
  readonly #publisher: Publisher
  readonly #entries: Entry[] = []
  #bytes = 0
  /** Something failed that those behind it would meet, too. */
  #isHalted = false
  #outage: unknown
  #wakeTaker: () => void = () => undefined
  #wakeSender: () => void = () => undefined

  constructor(publisher: Publisher) {
    this.#publisher = publisher
  }

  /** Why nothing more may be sent; undefined as long as it may. */
  get outage(): unknown {
    return this.#outage
  }

  /** Whether the next message may be sent now. */
  get hasRoom(): boolean {
    if (this.#isHalted || this.#outage !== undefined) return false
    return (
      this.#entries.length < WINDOW_MESSAGES && (this.#bytes < WINDOW_BYTES || this.#entries.length === 0)
    )
  }

  /** What is under way, as it was said with each message. */
  get bytes(): number {
    return this.#bytes
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0
  }

  /** Resolves when there may be room, or an outage. */
  async room(): Promise<void> {
    if (!this.hasRoom && this.#outage === undefined)
      await new Promise<void>((resolve) => {
        this.#wakeSender = resolve
      })
  }

  /** Publishes a message; `bytes`: what it takes of the window. */
  send(message: OutgoingMessage, bytes: number): void {
    const entry: Entry = { bytes, message }
    this.#add(entry)
    const settle = (outcome: Outcome) => {
      entry.outcome = outcome
      if ('failure' in outcome && isOutage(outcome.failure)) this.#isHalted = true
      if (entry === this.#entries[0]) this.#wakeTaker()
    }
    this.#publisher.attempt(message).then(
      (ack) => settle({ ack, hasKey: keyOf(message) !== undefined }),
      (failure: unknown) => settle({ failure }),
    )
  }

  /** Has a message that is refused before it is sent in its place. */
  refuse(failure: unknown): void {
    this.#add({ bytes: 0, outcome: { failure } })
    this.#wakeTaker()
  }

  /** Wakes who waits for something that will not come. */
  wake(): void {
    this.#wakeTaker()
    this.#wakeSender()
  }

  #add(entry: Entry): void {
    this.#entries.push(entry)
    this.#bytes += entry.bytes
  }

  /** What became of the oldest messages, as many as are settled when the first of them is; none: it was woken. */
  async take(): Promise<readonly Outcome[]> {
    if (!this.#entries[0]?.outcome)
      await new Promise<void>((resolve) => {
        this.#wakeTaker = resolve
      })
    // What was confirmed together goes out together.
    await new Promise<void>(soon)
    const settled = this.#entries.findIndex(({ outcome }) => !outcome)
    const taken = this.#entries.slice(0, settled === -1 ? this.#entries.length : settled)
    const outcomes: Outcome[] = []
    for (const { message, outcome } of taken)
      if (outcome) outcomes.push('failure' in outcome ? await this.#lastWord(message, outcome) : outcome)
    this.#entries.splice(0, taken.length)
    // Not before: what is still under way may fail as well, and nothing is to overtake it.
    if (this.isEmpty) this.#isHalted = false
    this.#bytes -= taken.reduce((sum, { bytes }) => sum + bytes, 0)
    this.#wakeSender()
    return outcomes
  }

  async #lastWord(
    message: OutgoingMessage | undefined,
    outcome: Outcome & { failure: unknown },
  ): Promise<Outcome> {
    if (!message || !isOutage(outcome.failure) || this.#outage !== undefined) return outcome
    try {
      return { ack: await this.#publisher.insist(message, outcome.failure), hasKey: true }
    } catch (failure) {
      if (isOutage(failure)) this.#outage = failure
      return { failure }
    }
  }
}
