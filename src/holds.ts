/** What one piece of work holds in memory: taken before it is there, given back once, refused or waited for where there is no room. */
import { BridgeError } from './errors.ts'
import { type Bound, type Entry, HELD_KINDS, type HeldKind, type Ledger, type Part } from './ledger.ts'
import { LinkedList } from './linked-list.ts'
import type { Metrics } from './metrics.ts'
import type { StartTimer } from './timers.ts'

/** How often those who wait look again, ms: what others of the isolate give back is not heard of. */
const LOOK_MS = 50

/** The bytes that one request holds. A client that takes some gives them back at its end, whatever has become of it. */
export interface Hold {
  /** Throws `host_full` or `too_many_requests` where the others leave no room for so many bytes. */
  requireRoom(bytes: number): void
  /** Counts bytes that are in memory, by default of a body. Throws as `requireRoom`. */
  take(bytes: number, kind?: HeldKind): void
  /** Counts them where there is room, and answers whether there is: not any more once the hold is released. */
  tryTake(bytes: number, kind: HeldKind): boolean
  /**
   * Counts them when there is room, for which it waits at most `withinMs`, then throws as `requireRoom`; undefined: at once.
   * Throws an `AbortError` once the hold is released.
   */
  wait(bytes: number, kind: HeldKind, withinMs: number): Promise<void> | undefined
  /** Gives some of them back. */
  give(bytes: number, kind: HeldKind): void
  /** Gives back all but so many bytes: what the work has come to. */
  keep(bytes: number, kind: HeldKind): void
  /** Gives back all that was taken, for good: what is taken later is not counted. */
  release(): void
}

/** Opens a hold of a tenant's. */
export type OpenHold = (tenant: string) => Hold

interface HoldsParts {
  readonly ledger: Ledger
  readonly metrics: Pick<Metrics, 'refused'>
  readonly startTimer: StartTimer
}

interface Waiter {
  readonly tenant: string
  /** Answers whether its wait is over: it has what it waits for, or nobody waits for that any more. */
  take(): boolean
}

const tooLate = () => new DOMException('The work that this is for is over.', 'AbortError')

/** The holds of one process or Durable Object: what one gives back goes to the one that has waited longest. */
export function createHolds({ ledger, metrics, startTimer }: HoldsParts): OpenHold {
  const part: Part = new LinkedList()
  const waiters = new Set<Waiter>()
  let isLooking = false
  let stopLooking = () => {}

  const lookAgain = () => {
    isLooking = false
    const full = new Set<string>()
    for (const waiter of waiters) {
      if (full.has(waiter.tenant)) continue
      if (waiter.take()) waiters.delete(waiter)
      else full.add(waiter.tenant)
    }
    stopLooking()
    if (waiters.size > 0) stopLooking = startTimer(lookAgain, LOOK_MS)
  }
  const lookSoon = () => {
    if (isLooking || waiters.size === 0) return
    isLooking = true
    queueMicrotask(lookAgain)
  }

  const refusal = (bound: Bound): BridgeError => {
    metrics.refused[bound === 'host' ? 'MAX_MEMORY_BYTES' : 'MAX_MEMORY_BYTES_PER_TENANT'].add(1)
    return bound === 'host'
      ? new BridgeError('host_full', 'This host holds as many bytes for its clients as it may.')
      : new BridgeError('too_many_requests', 'This host holds as many bytes for the credential as it may.')
  }

  const shared: Shared = { ledger, waiters, lookSoon, refusal, startTimer }
  const openHold: OpenHold = (tenant) => new WorkHold(ledger.open(tenant, part), shared)
  lost.register(openHold, { ledger, part })
  return openHold
}

/** What the holds of one process or Durable Object have in common. */
interface Shared {
  readonly ledger: Ledger
  readonly waiters: Set<Waiter>
  /** Has those who wait look for room. */
  lookSoon(): void
  refusal(bound: Bound): BridgeError
  readonly startTimer: StartTimer
}

/** A class, since every request has one. */
class WorkHold implements Hold {
  readonly #entry: Entry
  readonly #shared: Shared
  #isOver = false

  constructor(entry: Entry, shared: Shared) {
    this.#entry = entry
    this.#shared = shared
  }

  requireRoom(bytes: number): void {
    const bound = this.#isOver ? undefined : this.#shared.ledger.boundOver(this.#entry, bytes)
    if (bound !== undefined) throw this.#shared.refusal(bound)
  }

  take(bytes: number, kind: HeldKind = 'bodies'): void {
    this.requireRoom(bytes)
    this.#change(bytes, kind)
  }

  tryTake(bytes: number, kind: HeldKind): boolean {
    if (this.#isOver || this.#shared.ledger.boundOver(this.#entry, bytes) !== undefined) return false
    this.#change(bytes, kind)
    return true
  }

  wait(bytes: number, kind: HeldKind, withinMs: number): Promise<void> | undefined {
    const { ledger, waiters, lookSoon, refusal, startTimer } = this.#shared
    // Whoever has waited longer goes first.
    if (waiters.size === 0 && this.tryTake(bytes, kind)) return undefined
    if (this.#isOver) return Promise.reject(tooLate())
    return new Promise((resolve, reject) => {
      const waiter = {
        tenant: this.#entry.tenant,
        take: () => {
          if (!this.#isOver && !this.tryTake(bytes, kind)) return false
          stop()
          if (this.#isOver) reject(tooLate())
          else resolve()
          return true
        },
      }
      const stop = startTimer(() => {
        waiters.delete(waiter)
        reject(refusal(ledger.boundOver(this.#entry, bytes) ?? 'host'))
      }, withinMs)
      waiters.add(waiter)
      lookSoon()
    })
  }

  give(bytes: number, kind: HeldKind): void {
    this.#change(-bytes, kind)
    this.#shared.lookSoon()
  }

  keep(bytes: number, kind: HeldKind): void {
    // First, so that the others do not count as none in between.
    this.#change(bytes, kind)
    const { byKind } = this.#entry
    for (const one of HELD_KINDS) this.#change((one === kind ? bytes : 0) - byKind[one], one)
    this.#shared.lookSoon()
  }

  release(): void {
    if (this.#isOver) return
    this.#shared.ledger.clear(this.#entry)
    this.#isOver = true
    this.#shared.lookSoon()
  }

  /** What comes after the end is of work that nobody waits for any more. */
  #change(bytes: number, kind: HeldKind): void {
    if (!this.#isOver) this.#shared.ledger.change(this.#entry, bytes, kind)
  }
}

/**
 * Gives back what a Durable Object held that was reset or moved away under its requests: none of them comes to its end, and
 * the isolate goes on with the others.
 */
const lost = new FinalizationRegistry<{ readonly ledger: Ledger; readonly part: Part }>(({ ledger, part }) =>
  ledger.forget(part),
)
