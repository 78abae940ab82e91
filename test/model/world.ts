/** One sequence of commands: a bridge and a JetStream of its own, the requests under way, and what is wrong. */

import type { HostName, Session } from '../../src/context.ts'
import { ERRORS, type ErrorCode } from '../../src/errors.ts'
import type { JetStream } from '../../src/jetstream.ts'
import { randomFor } from '../publishing/seeded.ts'
import { type Bridge, openBridge } from './bridge.ts'
import { SimulatedJetStream } from './simulated-jetstream.ts'
import type { SimulatedStream } from './simulated-stream.ts'
import { startClock, type VirtualClock } from './virtual-clock.ts'

export const STREAM = 'S'
export const CONSUMER = 'C'
export const ACK_WAIT_MS = 2_000
/** Calls of the port end within 5 s, and few of them follow each other; publishes with a key are tried for 15 s more. */
export const DEADLINE_MS = 40_000

/** What differs between sequences beside their commands. */
export interface Setup {
  readonly seed: number
  readonly host: HostName
  readonly maxMsgs: number
  readonly perSubject: number
  readonly direct: boolean
  readonly replicas: number
  readonly maxAckPending: number
}

/** What a test breaks to see it found. */
export interface Breakage {
  readonly jetstream?: (jetstream: SimulatedJetStream) => JetStream
  readonly session?: (session: Session) => Session
}

/** An answer read to its end. `invokedOp`, `returnedOp`: operations of JetStream before the request, and before its answer. */
export interface Answer {
  readonly status: number
  readonly text: string
  readonly invokedOp: number
  readonly returnedOp: number
}

export type Problem = { readonly code: ErrorCode; readonly side_effects: string } & Readonly<
  Record<string, unknown>
>

export interface Asked {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly signal?: AbortSignal
}

export class World {
  readonly clock: VirtualClock
  readonly jetstream: SimulatedJetStream
  readonly bridge: Bridge
  readonly setup: Setup
  readonly complaints: string[] = []
  /** Whether anything was lost or away: then a delivery may be told stale that is not. */
  wasFaulty = false
  #underWay = 0

  constructor(setup: Setup, breakage: Breakage = {}) {
    this.setup = setup
    this.clock = startClock()
    this.jetstream = new SimulatedJetStream(this.clock, randomFor('model', setup.seed))
    const port = breakage.jetstream?.(this.jetstream) ?? this.jetstream
    this.bridge = openBridge(port, setup.host, breakage.session)
    this.makeStream()
  }

  get ops(): number {
    return this.jetstream.ops
  }

  get stream(): SimulatedStream | undefined {
    return this.jetstream.streamNamed(STREAM)
  }

  /** The stream that was made at a time. */
  incarnation(created: string | undefined): SimulatedStream | undefined {
    return this.jetstream.history.find((stream) => stream.created === created)
  }

  makeStream(): void {
    const { maxMsgs, perSubject, direct, replicas, maxAckPending } = this.setup
    this.jetstream.makeStream({
      name: STREAM,
      subjects: [`${STREAM}.>`],
      max_msgs: maxMsgs,
      max_msgs_per_subject: perSubject,
      allow_direct: direct,
      num_replicas: replicas,
    })
    const config = { ack_policy: 'explicit', ack_wait: ACK_WAIT_MS * 1e6, max_ack_pending: maxAckPending }
    this.jetstream.makeConsumer(STREAM, { ...config, durable_name: CONSUMER })
  }

  complain(text: string): void {
    this.complaints.push(text)
  }

  /** Does what a client does; it counts as under way until it is done. */
  begin(what: string, client: () => Promise<void>): void {
    this.#underWay += 1
    client()
      .catch((failure: unknown) =>
        this.complain(`${what} failed: ${String((failure as Error).stack ?? failure)}`),
      )
      .finally(() => {
        this.#underWay -= 1
      })
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms)
  }

  /** Lets time pass until every request has been answered. */
  async settle(): Promise<void> {
    await this.clock.until(() => this.#underWay === 0, 2 * DEADLINE_MS)
  }

  /** Whether every request was answered. */
  get isIdle(): boolean {
    return this.#underWay === 0
  }

  request(path: string, { headers = {}, ...rest }: Asked = {}): Request {
    return new Request(`http://sluice${path}`, { ...rest, headers })
  }

  /** Asks the bridge and reads all of the answer; complains where that takes too long or says what no contract has. */
  async ask(path: string, asked: Asked = {}, waitMs = 0): Promise<Answer> {
    const invokedOp = this.ops
    const invokedAt = this.clock.now
    const what = `${asked.method ?? 'GET'} ${path}`
    const late = this.clock.after(waitMs + DEADLINE_MS, () => this.complain(`${what} has no answer`))
    try {
      const response = await this.bridge.fetch(this.request(path, asked))
      const text = await response.text()
      const { status } = response
      if (status >= 400 && asked.signal?.aborted !== true)
        this.checkProblem(what, status, JSON.parse(text) as Problem)
      return { status, text, invokedOp, returnedOp: this.ops }
    } finally {
      this.clock.cancel(late)
      if (this.clock.now - invokedAt > waitMs + DEADLINE_MS) this.complain(`${what} took too long`)
    }
  }

  checkProblem(what: string, status: number, { code, side_effects, retryable }: Problem): void {
    const known = ERRORS[code]
    if (
      !known ||
      known.status !== status ||
      known.sideEffects !== side_effects ||
      known.retryable !== retryable
    )
      this.complain(`${what} was answered ${status} ${code}, which is not documented`)
    if (code === 'internal') this.complain(`${what} failed inside the bridge`)
  }
}
