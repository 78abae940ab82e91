/** The clients that share the messages of a consumer: they pull, and acknowledge most of what they get. */
import { setTimeout as delay } from 'node:timers/promises'
import { RETRY_MS, type Site } from './actor.ts'
import { succeeded } from './history.ts'

export interface Handed {
  readonly seq: number
  readonly payload: string
  readonly count: number
  readonly at: number
}

interface WireDelivery {
  readonly seq: number
  readonly data?: string
  readonly ack_token: string
  readonly delivery_count: number
}

interface WireResult {
  readonly status?: 'ok' | 'stale'
}

const WAIT_MS = 1_000
const BATCH = 100
/** The share of deliveries that are forgotten, or given back. */
const FORGOTTEN = 0.02
const GIVEN_BACK = 0.05

export class Worker {
  readonly name: string
  readonly handed: Handed[] = []
  /** When the ack of a sequence was confirmed. */
  readonly confirmed = new Map<number, number>()
  stale = 0
  /** Once set, nothing is forgotten or given back any more. */
  isDiligent = false
  readonly #site: Site
  readonly #random: () => number

  constructor(site: Site, name: string) {
    this.#site = site
    this.name = name
    this.#random = site.random(name)
  }

  async step(): Promise<void> {
    const { history, stream, consumer, url, deadlines } = this.#site
    const { outcome, body } = await history.ask({
      actor: this.name,
      url: `${url()}/v1/streams/${stream}/consumers/${consumer}/pull`,
      init: jsonOf({ batch: BATCH, wait_ms: WAIT_MS }),
      deadlineMs: WAIT_MS + deadlines.requestMs,
    })
    if (!succeeded(outcome)) {
      await delay(RETRY_MS)
      return
    }
    const { messages } = body as unknown as { messages: WireDelivery[] }
    const at = performance.now()
    this.handed.push(
      ...messages.map(({ seq, data = '', delivery_count: count }) => ({ seq, payload: data, count, at })),
    )
    await this.#settle(messages)
  }

  async #settle(messages: readonly WireDelivery[]): Promise<void> {
    const chosen = messages.flatMap((message) => {
      const dice = this.isDiligent ? 1 : this.#random()
      if (dice < FORGOTTEN) return []
      return [{ message, action: dice < GIVEN_BACK ? ('nak' as const) : ('ack' as const) }]
    })
    if (chosen.length === 0) return
    const { history, url, deadlines } = this.#site
    const acks = chosen.map(({ message, action }) => ({ token: message.ack_token, action }))
    const { outcome, body } = await history.ask({
      actor: this.name,
      url: `${url()}/v1/acks`,
      init: jsonOf({ acks }),
      deadlineMs: deadlines.requestMs,
    })
    if (!succeeded(outcome)) return
    for (const [index, { status }] of (body.results as WireResult[]).entries()) {
      const { message, action } = chosen[index] ?? {}
      if (status === 'stale') this.stale += 1
      if (message && status === 'ok' && action === 'ack') this.confirmed.set(message.seq, performance.now())
    }
  }
}

export const jsonOf = (body: object): RequestInit => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(body),
})
