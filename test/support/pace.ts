/** Time as this machine lets it pass: what a busy machine takes away from a test does not count against what is tested. */

const BEAT_MS = 10

let beats = 0
setInterval(() => {
  beats += 1
}, BEAT_MS).unref()

/**
 * A clock for upper bounds, ms: it goes on by one beat each time that this process gets to run, however late that is. On a quiet
 * machine it is as good as `performance.now`; on a busy one, or after a pause, it is slower.
 */
export const pacedNow = (): number => beats * BEAT_MS
