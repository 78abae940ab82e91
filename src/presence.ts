/** Telling whether clients that wait are still there, where only writing to them shows it. */
import { LinkedList } from './linked-list.ts'
import type { StartTimer } from './timers.ts'
import { delay, soon } from './turns.ts'

/** How long a connection takes to show that nobody is at its other end, once something was written to it. */
const PROBED_MS = 10
/** The same for a client that has asked just now, and will hardly be gone. */
const FRESHLY_PROBED_MS = 1
/** Turns of the event loop after that: on a busy machine what was written goes out, and is heard of, so much later. */
const TURNS = 4

/** The clients of one host that wait for something. */
export interface Presence {
  /** Whether the host tells by itself that a client has left; then nothing needs to be written to find out. */
  readonly isNoticed: boolean
  /** Has every client that waits probed now: one has been found gone, or something has come that may be lost on it. */
  probeAll(): void
  /** Resolves when `promise` has settled (true), when all are to be probed, or after `ms` (false). */
  settled(promise: Promise<unknown>, ms: number): Promise<boolean>
  /** Waits until what was written last has shown whether the client is there; less long for one that has just asked. */
  probed(isFresh?: boolean): Promise<void>
}

/** On Node a connection that has ended, or that a write has shown to be gone, is heard of in the next turns. */
async function polled(): Promise<void> {
  for (let turn = 0; turn < 2 * TURNS; turn += 1) await new Promise<void>((resolve) => soon(resolve))
}

export function createPresence(isNoticed: boolean, startTimer: StartTimer): Presence {
  const waiting = new LinkedList<() => void>()
  return {
    isNoticed,
    probeAll() {
      for (const probe of waiting) probe()
    },
    settled(promise, ms) {
      return new Promise((resolve) => {
        const finish = (isSettled: boolean) => {
          stop()
          waiting.remove(place)
          resolve(isSettled)
        }
        const probe = () => finish(false)
        const stop = startTimer(probe, ms)
        const place = waiting.add(probe)
        promise.then(
          () => finish(true),
          () => finish(true),
        )
      })
    },
    async probed(isFresh = false) {
      if (isNoticed) return await polled()
      await delay(isFresh ? FRESHLY_PROBED_MS : PROBED_MS)
      for (let turn = 0; turn < TURNS; turn += 1) await delay(0)
    },
  }
}
