/** The part of the fault matrix that every test run has: fixed seeds, a few faults of each row. `npm run faults` runs all. */
import { describe, expect, test } from 'vitest'
import { HOSTS } from '../support/host.ts'
import { formatLog } from './report.ts'
import { faultsOf, runRow } from './row.ts'
import { ROWS } from './rows.ts'

const SEED = 20_261_121
/** These show what they show in minutes; the tests of outages have one such fault each. */
const LONG = new Set([2, 3, 10, 12, 13, 21])
const ROW_MS = 120_000

describe('under the faults of the matrix', () => {
  test.each(
    ROWS.filter(({ number }) => !LONG.has(number)).map((row) => [row.number, row.fault, row] as const),
  )('%i: all holds with %s', { timeout: ROW_MS }, async (number, _, row) => {
    const result = await runRow(row, { seed: SEED, pace: 'part', hosts: HOSTS, say: () => undefined })
    console.log(`row ${number}, ${result.seconds} s: ${result.figures.join('; ')}\n${formatLog(result)}`)
    expect(result.failure).toBeUndefined()
    expect(result.breaches.slice(0, 10)).toEqual([])
    expect(faultsOf(result)).toBeGreaterThan(0)
  })
})
