/** The part of the fault matrix that every test run has: fixed seeds, a few faults of each row. `npm run faults` runs all. */
import { describe, expect, test } from 'vitest'
import { HOSTS } from '../support/host.ts'
import { formatLog } from './report.ts'
import { faultsOf, runRow } from './row.ts'
import { ROWS } from './rows.ts'

const SEED = 20_261_121
const ROW_MS = 120_000

/** Runs these rows of the matrix as tests. Throws where there is no such row. */
export function testRows(title: string, numbers: readonly number[]): void {
  const rows = numbers.map((number) => {
    const row = ROWS.find((one) => one.number === number)
    if (!row) throw new Error(`There is no row ${number}.`)
    return [number, row.fault, row] as const
  })
  describe(title, () => {
    test.each(rows)('%i: all holds with %s', { timeout: ROW_MS }, async (number, _, row) => {
      const result = await runRow(row, { seed: SEED, pace: 'part', hosts: HOSTS, say: () => undefined })
      console.log(`row ${number}, ${result.seconds} s: ${result.figures.join('; ')}\n${formatLog(result)}`)
      expect(result.failure).toBeUndefined()
      expect(result.breaches.slice(0, 10)).toEqual([])
      expect(faultsOf(result)).toBeGreaterThan(0)
    })
  })
}
