/** The model test of the bridge: commands against a simulated JetStream in virtual time, and proof that it can fail. */
import { describe, expect, it } from 'vitest'
import { BREAKAGES } from './breakages.ts'
import { explore } from './play.ts'

/** 100,000 sequences take some minutes: SLUICE_MODEL_RUNS says how many, SLUICE_MODEL_SEED which. */
const RUNS = Number(process.env.SLUICE_MODEL_RUNS ?? 2_000)
const SEED = Number(process.env.SLUICE_MODEL_SEED ?? 1)
const MS_PER_RUN = 100
const BREAKAGE_RUNS = 3_000

describe('the bridge on a simulated JetStream', () => {
  it(`nothing lost, skipped, doubled or left behind in ${RUNS} sequences from seed ${SEED}`, {
    timeout: RUNS * MS_PER_RUN,
  }, async () => {
    const { runs, seconds, failure } = await explore({ runs: RUNS, seed: SEED })
    console.log(`model: ${runs} sequences from seed ${SEED} in ${seconds.toFixed(1)} s`)
    expect(failure).toBeUndefined()
  })
})

describe('what the model test finds', () => {
  it.each(Object.entries(BREAKAGES))(
    '%s',
    { timeout: BREAKAGE_RUNS * MS_PER_RUN },
    async (_, [breakage, complaint]) => {
      const { failure } = await explore({ runs: BREAKAGE_RUNS, seed: SEED, breakage, isShort: true })
      expect(failure).toMatch(complaint)
    },
  )
})
