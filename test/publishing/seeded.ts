/** Chance in the fault tests: drawn anew for every run, unless SLUICE_FAULT_SEED says which. */

/** Printed by each test that draws from it. */
export const SEED = Number(process.env.SLUICE_FAULT_SEED ?? Date.now() % 1_000_000)

/** Numbers from 0 to below 1, the same for the same seed and `purpose`. Source: mulberry32. */
export function randomFor(purpose: string, seed = SEED): () => number {
  let state = [...purpose].reduce((sum, char) => Math.imul(sum ^ char.charCodeAt(0), 0x01000193), seed)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
