/** What all clients of a faults run are: loops that go on until they are told to end. */
import { setTimeout as delay } from 'node:timers/promises'
import type { History } from './history.ts'

/** Where the clients of one host work, and how. */
export interface Site {
  readonly host: string
  readonly history: History
  readonly stream: string
  readonly consumer: string
  /** Of an instance of the bridge; another one each time where there are several. */
  url(): string
  readonly deadlines: Deadlines
  random(purpose: string): () => number
}

/** When a request has to be over at the latest, ms. */
export interface Deadlines {
  readonly keyedPublishMs: number
  readonly publishMs: number
  /** Besides what a request itself asks to wait. */
  readonly requestMs: number
}

/** How long a client waits after a failure before it tries again, ms. */
export const RETRY_MS = 100

/** A client at work. Whoever starts it ends it. */
export class Loop {
  /** What went wrong in the client itself. */
  failure: unknown
  readonly #running: Promise<void>
  #isOver = false

  /** `pauseMs`: between two steps. A step is not begun after the end, and the one under way is waited for. */
  constructor(step: () => Promise<void>, pauseMs: number) {
    this.#running = this.#run(step, pauseMs).catch((err: unknown) => {
      this.failure = err
    })
  }

  async end(): Promise<void> {
    this.#isOver = true
    await this.#running
    if (this.failure !== undefined) throw this.failure
  }

  async #run(step: () => Promise<void>, pauseMs: number): Promise<void> {
    while (!this.#isOver) {
      await step()
      if (pauseMs > 0) await delay(pauseMs)
    }
  }
}
