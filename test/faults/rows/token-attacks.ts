/** Mutated tokens: made from good ones by seed, and tried over HTTP and against the code that opens them. */

import { createAckTokens } from '../../../src/tokens/ack.ts'
import { createCursors } from '../../../src/tokens/cursor.ts'
import { readKeyring } from '../../../src/tokens/seal.ts'
import { CLAIM, KINDS, POSITION, STREAM } from '../../auth/token-kinds.ts'
import { MUTATION_KINDS } from '../../auth/token-mutations.ts'
import { newTokenKey } from '../../support/host.ts'

/** Makes mutated tokens; never one of `good`, which would rightly open. */
export interface Mutator {
  next(): string
}

const MUTATIONS = Object.values(MUTATION_KINDS)

/** `good`: what may open here. `foreign`: other good tokens, which are spliced in, and tried as they are. */
export function createMutator(
  random: () => number,
  good: readonly string[],
  foreign: readonly string[],
): Mutator {
  const below = (count: number) => Math.floor(random() * count)
  const known = new Set(good)
  const all = [...good, ...foreign]
  const draw = (): string => {
    if (foreign.length > 0 && below(20) === 0) return foreign[below(foreign.length)] ?? ''
    const mutate = MUTATIONS[below(MUTATIONS.length)]
    const once = mutate?.(all[below(all.length)] ?? '', below, all) ?? ''
    // Now and then one that was changed is changed again.
    return below(4) === 0 ? (MUTATIONS[below(MUTATIONS.length)]?.(once, below, all) ?? '') : once
  }
  return {
    next() {
      for (;;) {
        const token = draw()
        if (token !== '' && !known.has(token)) return token
      }
    },
  }
}

export interface Tried {
  readonly tokens: number
  /** What opened, in words. */
  readonly accepted: readonly string[]
}

const OTHER_TENANT = 'another-tenant'

/** Tries so many against each kind of token, by the code of the bridge itself. */
export function tryInProcess(random: () => number, count: number): Tried {
  const [keyring, otherKeyring] = [readKeyring([newTokenKey()]), readKeyring([newTokenKey()])]
  const good = KINDS.flatMap((kind) => [kind.seal(keyring), kind.seal(keyring)])
  const run = createCursors(keyring, OTHER_TENANT).scope(STREAM, []).run(POSITION)
  const foreign = [
    ...KINDS.map((kind) => kind.seal(otherKeyring)),
    createCursors(keyring, OTHER_TENANT).scope(STREAM, []).seal(POSITION),
    ...run.seal([{ seq: 43, time: '2026-11-20T10:00:02.5Z' }]),
    createAckTokens(keyring, OTHER_TENANT).seal(CLAIM),
  ]
  for (const [index, token] of good.entries())
    if (KINDS[index >> 1]?.open(keyring, token) === undefined) throw new Error('A good token does not open')
  const mutator = createMutator(random, good, foreign)
  const accepted: string[] = []
  for (let tried = 0; tried < count; tried += 1) {
    const token = mutator.next()
    for (const kind of KINDS)
      if (kind.open(keyring, token) !== undefined) accepted.push(`in the process, as ${kind.name}: ${token}`)
  }
  return { tokens: count, accepted }
}
