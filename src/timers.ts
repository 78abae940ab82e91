/** Timers most of which are stopped before they fire: all that are made in one place share one of the runtime's. */

/** Runs `act` once after `ms`. Answers how to stop it before. */
export type StartTimer = (act: () => void, ms: number) => () => void

/** The runtime's timer is never set further ahead, ms: it is not stopped where nothing waits for it any more. */
const LONGEST_MS = 1_000

interface Entry {
  readonly due: number
  readonly act: () => void
  /** In the heap; -1: in it no longer. */
  place: number
}

/**
 * Instead of `setTimeout` and `clearTimeout` for each: a Durable Object keeps some 250 bytes of every timer that was
 * cleared for as long as it lives (workerd 1.20261117), and may have 10,000 under way. Timers of one maker must not
 * outlive its request where the runtime ends them with that: on Workers a maker belongs to one Durable Object.
 */
export function createTimers(): StartTimer {
  const heap = new EntryHeap()
  /** When the soonest of the runtime's timers fires. */
  let wakesAt = Number.POSITIVE_INFINITY

  const wake = (at: number) => {
    if (at === wakesAt) wakesAt = Number.POSITIVE_INFINITY
    const now = performance.now()
    try {
      for (let first = heap.first; first && first.due <= now; first = heap.first) {
        heap.remove(first)
        first.act()
      }
    } finally {
      arm(performance.now())
    }
  }
  const arm = (now: number) => {
    const due = heap.first?.due ?? Number.POSITIVE_INFINITY
    const at = Math.min(due, now + LONGEST_MS)
    if (due === Number.POSITIVE_INFINITY || at >= wakesAt) return
    wakesAt = at
    setTimeout(wake, Math.max(0, Math.ceil(at - now)), at)
  }

  return (act, ms) => {
    const now = performance.now()
    const entry = { due: now + ms, act, place: -1 }
    heap.add(entry)
    if (heap.first === entry) arm(now)
    return () => heap.remove(entry)
  }
}

/** A binary heap, the soonest first, from which any entry can be removed. */
class EntryHeap {
  readonly #entries: Entry[] = []

  get first(): Entry | undefined {
    return this.#entries[0]
  }

  add(entry: Entry): void {
    this.#entries.push(entry)
    this.#rise(entry, this.#entries.length - 1)
  }

  remove(entry: Entry): void {
    const { place } = entry
    if (place < 0) return
    entry.place = -1
    const last = this.#entries.pop()
    if (!last || last === entry) return
    const parent = this.#entries[(place - 1) >> 1]
    if (place > 0 && parent && last.due < parent.due) this.#rise(last, place)
    else this.#sink(last, place)
  }

  #put(entry: Entry, place: number): void {
    this.#entries[place] = entry
    entry.place = place
  }

  #rise(entry: Entry, from: number): void {
    let place = from
    while (place > 0) {
      const above = (place - 1) >> 1
      const parent = this.#entries[above]
      if (!parent || parent.due <= entry.due) break
      this.#put(parent, place)
      place = above
    }
    this.#put(entry, place)
  }

  #sink(entry: Entry, from: number): void {
    let place = from
    for (;;) {
      const left = 2 * place + 1
      const [one, other] = [this.#entries[left], this.#entries[left + 1]]
      const child = other && one && other.due < one.due ? other : one
      if (!child || child.due >= entry.due) break
      const below = child.place
      this.#put(child, place)
      place = below
    }
    this.#put(entry, place)
  }
}
