/** The clients of a consumer: they pull, settle by tokens, leave; and whether every message is done once at least. */
import type { DeliveryClaim } from '../../src/tokens/ack.ts'
import { isSame, type Told } from './run-oracle.ts'
import type { SimulatedConsumer } from './simulated-consumer.ts'
import type { Stored } from './simulated-stream.ts'
import { ACK_WAIT_MS, type Answer, CONSUMER, type Problem, STREAM, type World } from './world.ts'

type Action = 'ack' | 'nak' | 'progress' | 'term'

interface Pulled extends Told {
  readonly ack_token: string
  readonly delivery_count: number
}

/** A delivery in a client's hands. `said`: what it was settled with, as far as it tried. */
interface Held {
  readonly stored: Stored
  readonly consumer: SimulatedConsumer | undefined
  token: string
  claim: DeliveryClaim
  said: Action | undefined
}

const PULL = `/v1/streams/${STREAM}/consumers/${CONSUMER}/pull`
const JSON_BODY = { 'Content-Type': 'application/json' }
const MAY_FAIL: ReadonlySet<string> = new Set([
  'jetstream_unavailable',
  'jetstream_timeout',
  'stream_not_found',
  'consumer_not_found',
])

export class Workers {
  readonly #world: World
  readonly #held: Held[] = []
  /** Deliveries that a client has seen the whole answer of. */
  readonly #received = new Set<string>()
  /** Done for good, by the operation of the answer that said so. */
  readonly #done = new Map<
    Stored,
    { readonly consumer: SimulatedConsumer | undefined; readonly op: number }
  >()
  readonly #seen = new Set<Stored>()
  readonly #leaving = new Set<AbortController>()

  constructor(world: World) {
    this.#world = world
  }

  /** Answers how many messages came. */
  async pull(batch: number, waitMs: number): Promise<number> {
    const gone = new AbortController()
    this.#leaving.add(gone)
    try {
      const body = JSON.stringify({ batch, wait_ms: waitMs })
      const answer = await this.#world.ask(
        PULL,
        { method: 'POST', headers: JSON_BODY, body, signal: gone.signal },
        waitMs,
      )
      if (gone.signal.aborted) return 0
      return this.#heard(answer, batch)
    } catch (failure) {
      if (!gone.signal.aborted) throw failure
      return 0
    } finally {
      this.#leaving.delete(gone)
    }
  }

  /** One client that waits for its pull goes away. */
  leave(): void {
    const [gone] = this.#leaving
    gone?.abort()
  }

  /** Settles what a client holds: `at` says which, of those it has not settled yet. */
  async settle(action: Action, at: number, count: number): Promise<void> {
    const open = this.#held.filter(({ said }) => said === undefined || said === 'progress')
    const chosen = open.slice(at % Math.max(1, open.length)).slice(0, count)
    if (chosen.length === 0) return
    for (const held of chosen) held.said = action
    const acks = chosen.map(({ token }) => ({ token, action }))
    const { status, text, returnedOp } = await this.#world.ask('/v1/acks', {
      method: 'POST',
      headers: JSON_BODY,
      body: JSON.stringify({ acks }),
    })
    if (status !== 200) return
    const { results } = JSON.parse(text) as {
      results: { status?: string; error?: Problem; ack_token?: string }[]
    }
    for (const [index, held] of chosen.entries()) {
      const result = results[index] ?? {}
      if (result.error) this.#world.checkProblem('An ack', Number(result.error.status), result.error)
      if (result.status === 'stale' && !this.#world.wasFaulty) this.#checkStale(held)
      if (result.status !== 'ok') continue
      if (action === 'ack' || action === 'term')
        this.#done.set(held.stored, { consumer: held.consumer, op: returnedOp })
      if (action === 'progress' && result.ack_token !== undefined) this.#renew(held, result.ack_token)
    }
  }

  /** Deliveries that JetStream counts as handed out and that nobody ever saw. */
  unseen(): number[] {
    const consumer = this.#world.jetstream.consumerNamed(STREAM, CONSUMER)
    return (consumer?.outstanding() ?? [])
      .filter(({ stored, count }) => !this.#received.has(`${stored.time} ${count}`))
      .map(({ stored }) => stored.seq)
  }

  /** Pulls and acks until nothing comes any more, also not after the ack wait. */
  async drain(): Promise<void> {
    for (let empty = 0, round = 0; empty < 2 && round < 50; round += 1) {
      const count = await this.pull(100, 0)
      await this.settle('ack', Math.max(0, this.#open() - count), count)
      empty = count > 0 ? 0 : empty + 1
      if (count === 0) await this.#world.clock.delay(ACK_WAIT_MS + 100)
    }
  }

  complaints(): string[] {
    const { jetstream, stream } = this.#world
    const misled = jetstream.consumers.flatMap((consumer) => consumer.misled)
    const undelivered = [...(stream?.present.values() ?? [])].filter((stored) => !this.#seen.has(stored))
    const consumer = jetstream.consumerNamed(STREAM, CONSUMER)
    const open = consumer?.info().num_ack_pending ?? 0
    return [
      ...misled.map((text) => `An ack settled another's delivery: ${text}`),
      ...undelivered.map(({ seq }) => `Message ${seq} was never delivered`),
      ...(open > 0 ? [`${open} deliveries never came back to be acked`] : []),
    ]
  }

  #open(): number {
    return this.#held.filter(({ said }) => said === undefined || said === 'progress').length
  }

  #heard({ status, text, invokedOp }: Answer, batch: number): number {
    const body = JSON.parse(text) as { messages?: Pulled[]; error?: Problem } & Problem
    const problem = status === 200 ? body.error : body
    if (problem) {
      if (!MAY_FAIL.has(problem.code)) this.#world.complain(`A pull was refused: ${text}`)
      return 0
    }
    const messages = body.messages ?? []
    if (messages.length > batch) this.#world.complain(`A pull of ${batch} was given ${messages.length}`)
    for (const message of messages) this.#take(message, invokedOp)
    return messages.length
  }

  #take(message: Pulled, invokedOp: number): void {
    const stored = this.#world.jetstream.history.flatMap(({ log }) => log).find((one) => isSame(one, message))
    const claim = this.#world.bridge.session.ackTokens.open(message.ack_token)
    if (!stored || !claim) {
      this.#world.complain(`A pull was given what nobody published: ${JSON.stringify(message)}`)
      return
    }
    const consumer = this.#world.jetstream.consumers.find(({ created }) => created === claim.consumerCreated)
    const done = this.#done.get(stored)
    if (done && done.consumer === consumer && done.op < invokedOp)
      this.#world.complain(`Message ${stored.seq} was delivered again after its ack was confirmed`)
    this.#seen.add(stored)
    this.#received.add(`${stored.time} ${message.delivery_count}`)
    this.#held.push({ stored, consumer, token: message.ack_token, claim, said: undefined })
  }

  #renew(held: Held, token: string): void {
    const claim = this.#world.bridge.session.ackTokens.open(token)
    if (claim) Object.assign(held, { token, claim })
    else this.#world.complain('A renewed token cannot be opened')
  }

  /** Nothing was lost or away: then only the deadline or the end of its consumer makes a delivery nobody's. */
  #checkStale({ claim, consumer, stored }: Held): void {
    const isThere =
      consumer !== undefined && consumer === this.#world.jetstream.consumerNamed(STREAM, CONSUMER)
    if (isThere && this.#world.clock.now < claim.deadlineMs)
      this.#world.complain(
        `Delivery ${claim.deliveryCount} of ${stored.seq} was called stale before its deadline`,
      )
  }
}
