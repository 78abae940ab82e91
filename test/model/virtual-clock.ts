/** Virtual time: timers that fire one after another as fast as this thread can, in an order that never varies. */

interface Timer {
  at: number
  readonly act: () => void
  readonly everyMs: number | undefined
}

/** 2030-01-01: the same moment for every sequence of commands. */
const EPOCH_MS = 1_893_456_000_000
const realImmediate = globalThis.setImmediate

/** Resolves once every promise that can settle without a timer has: only time can move anything then. */
const quiet = () => new Promise<void>((resolve) => realImmediate(resolve))

export class VirtualClock {
  #now = EPOCH_MS
  /** In the order in which they fire. */
  readonly #timers: Timer[] = []

  /** Unix milliseconds. */
  get now(): number {
    return this.#now
  }

  /** Timers that have not fired; one that repeats counts as well. */
  get pending(): number {
    return this.#timers.length
  }

  after(ms: number, act: () => void, everyMs?: number): Timer {
    const timer = { at: this.#now + Math.max(0, Math.ceil(ms)), act, everyMs }
    this.#insert(timer)
    return timer
  }

  cancel(timer: unknown): void {
    const index = this.#timers.indexOf(timer as Timer)
    if (index !== -1) this.#timers.splice(index, 1)
  }

  delay(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve))
  }

  /** Lets time pass until `isDone`, at most so long. Answers whether it is. */
  async until(isDone: () => boolean, limitMs: number): Promise<boolean> {
    const limit = this.#now + limitMs
    for (;;) {
      await quiet()
      if (isDone()) return true
      const next = this.#timers[0]
      if (!next || next.at > limit) break
      this.#fire(next)
    }
    this.#now = limit
    return isDone()
  }

  async advance(ms: number): Promise<void> {
    await this.until(() => false, ms)
  }

  #fire(timer: Timer): void {
    this.#timers.shift()
    this.#now = timer.at
    if (timer.everyMs !== undefined) {
      timer.at += timer.everyMs
      this.#insert(timer)
    }
    timer.act()
  }

  /** Behind all that fire at the same time. */
  #insert(timer: Timer): void {
    let index = this.#timers.length
    while (index > 0 && (this.#timers[index - 1] as Timer).at > timer.at) index -= 1
    this.#timers.splice(index, 0, timer)
  }
}

let current = new VirtualClock()

/** Begins a time of its own: what was still to come in the old one never will. */
export function startClock(): VirtualClock {
  current = new VirtualClock()
  return current
}

/** Node waits a millisecond where it is asked for less. */
const MIN_TIMEOUT_MS = 1

/**
 * Puts virtual time in the place of this process's clocks and timers, for good. To be called before anything is imported
 * that keeps one of them for itself.
 */
export function installClock(): void {
  const timeout = (act: () => void, ms = 0, ...args: never[]) =>
    current.after(Math.max(MIN_TIMEOUT_MS, ms), args.length > 0 ? act.bind(undefined, ...args) : act)
  const cancel = (timer: unknown) => current.cancel(timer)
  Object.assign(globalThis, {
    setTimeout: timeout,
    clearTimeout: cancel,
    setInterval: (act: () => void, ms = MIN_TIMEOUT_MS) =>
      current.after(ms, act, Math.max(MIN_TIMEOUT_MS, ms)),
    clearInterval: cancel,
    setImmediate: (act: () => void) => current.after(0, act),
    clearImmediate: cancel,
  })
  Date.now = () => current.now
  performance.now = () => current.now
  AbortSignal.timeout = (ms) => {
    const controller = new AbortController()
    current.after(ms, () => controller.abort(new DOMException('It took too long.', 'TimeoutError')))
    return controller.signal
  }
}
