/** An amount of memory that grows and shrinks while a request goes on, and how much of it the host has counted. */
import type { Hold } from './holds.ts'

/** What is no larger is not counted: about what a connection costs anyway. */
const SMALL_BYTES = 65_536
/** How long more of it waits for room, ms. */
const ROOM_MS = 2_000

export interface Tally {
  /** Counts it as large as it is. A promise: there is no room yet; it rejects as `Hold.wait` does. */
  follow(bytes: number): Promise<void> | undefined
  /** Counts it as no larger than that. */
  shrink(bytes: number): void
}

/** `copies`: how often each byte of it is there. */
export function createTally(hold: Hold, copies: number): Tally {
  let counted = 0
  const sizeOf = (bytes: number) => (bytes > SMALL_BYTES ? copies * bytes : 0)
  const shrinkTo = (size: number) => {
    if (size >= counted) return
    hold.give(counted - size, 'bodies')
    counted = size
  }
  return {
    follow(bytes) {
      const size = sizeOf(bytes)
      shrinkTo(size)
      const more = size - counted
      if (more === 0) return undefined
      const waiting = hold.wait(more, 'bodies', ROOM_MS)
      if (!waiting) counted = size
      return waiting?.then(() => {
        counted += more
      })
    },
    shrink: (bytes) => shrinkTo(sizeOf(bytes)),
  }
}
