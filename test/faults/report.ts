/** How a run of the fault matrix is told: its table, its fault log, and the file that keeps both. */
import { writeFileSync } from 'node:fs'
import { faultsOf, holds, type Injection, type RowResult } from './row.ts'

/** What the faults were injected into. */
export interface Versions {
  readonly seed: number
  readonly versions: readonly string[]
  readonly machine: string
}

const LOGGED_ALIKE = 3

/** A Markdown table: fault, times injected, figure, verdict. */
export function formatTable(results: readonly RowResult[]): string {
  const lines = results.map((result) => {
    const cells = [
      String(result.number),
      result.fault,
      faultsOf(result).toLocaleString('en'),
      result.figures.join('; '),
      verdictOf(result),
    ]
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  })
  return ['| # | fault | times | figure | verdict |', '|---|---|---|---|---|', ...lines].join('\n')
}

function verdictOf(result: RowResult): string {
  if (holds(result)) return `${result.shows.join(', ')} hold`
  const broken = [...new Set(result.breaches.map(({ invariant }) => invariant))]
  return [
    ...(broken.length > 0 ? [`**${broken.join(', ')} broken**`] : []),
    ...(result.failure === undefined ? [] : ['**failed**']),
  ].join(', ')
}

export function formatTotal(results: readonly RowResult[]): string {
  const faults = results.reduce((sum, result) => sum + faultsOf(result), 0)
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0)
  const of = (...invariants: string[]) =>
    results.flatMap(({ breaches }) => breaches).filter(({ invariant }) => invariants.includes(invariant))
      .length
  return (
    `${faults.toLocaleString('en')} faults in ${Math.round(seconds)} s: ${of('I1', 'I5')} lost, ${of('I2', 'I3')} skipped ` +
    `or out of order, ${of('I4')} stored twice, ${of('I6', 'I7', 'I8', 'I9')} other breaches, ` +
    `${results.filter(({ failure }) => failure !== undefined).length} rows failed`
  )
}

/** The faults of a row in order, where many are alike only the first of them. */
export function formatLog({ number, injections }: RowResult): string {
  const seen = new Map<string, number>()
  const lines = injections.flatMap(({ at, fault, times }: Injection) => {
    const before = seen.get(fault) ?? 0
    seen.set(fault, before + 1)
    if (before >= LOGGED_ALIKE) return []
    return [
      `  row ${number} at ${(at / 1_000).toFixed(1)} s: ${fault}${times > 1 ? ` (${times} times)` : ''}`,
    ]
  })
  const more = [...seen].filter(([, count]) => count > LOGGED_ALIKE)
  return [...lines, ...more.map(([fault, count]) => `  row ${number}: ${fault}, ${count} in all`)].join('\n')
}

/** Keeps all that is known of a run as JSON, over what was kept of it before. */
export function writeReport(path: string, versions: Versions, results: readonly RowResult[]): void {
  writeFileSync(path, `${JSON.stringify({ ...versions, results }, undefined, 2)}\n`)
}
