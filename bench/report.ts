/** How results are shown: a table for people, and a file for machines. */
import { writeFileSync } from 'node:fs'
import { type Floor, type Measurement, median, medianOf, type Result, type Standing } from './figure.ts'
import type { Machine } from './machine.ts'
import type { Pace } from './options.ts'

const HEADER = ['', 'median', 'min – max', 'ratio', 'min – max', 'p50 ms', 'p99 ms', 'CPU µs', 'floor', '']

const whole = (value: number): string => Math.round(value).toLocaleString('en-US')

/** Two digits that say something, whatever the size. */
const short = (value: number): string => {
  if (value >= 10) return value.toFixed(0)
  return value >= 0.1 ? value.toFixed(2) : value.toFixed(3)
}

/** Rates are whole, small numbers are not. */
const sized = (value: number): string => (Math.abs(value) >= 100 ? whole(value) : short(value))

const spread = (values: readonly number[], write: (value: number) => string): string =>
  values.length > 0 ? `${write(Math.min(...values))} – ${write(Math.max(...values))}` : ''

const detail = (rounds: readonly Measurement[], which: 'p50Ms' | 'p99Ms' | 'cpuUs'): string => {
  const values = rounds.map((round) => round[which]).filter((value) => value !== undefined)
  return values.length > 0 ? short(median(values)) : ''
}

const floorText = ({ of, least, most }: Floor): string => {
  const bound = least === undefined ? `≤ ${most}` : `≥ ${least}`
  if (of === 'value') return bound
  return of === 'ratio' ? `${bound} ×` : `${of} ${bound}`
}

const failureText = (failure: string): string => `    failed: ${failure.split('\n').join('\n    ')}`

const factsText = (standing: Standing): string[] => {
  const names = [...new Set(standing.rounds.flatMap(({ facts = {} }) => Object.keys(facts)))]
  if (names.length === 0) return []
  return [
    `    ${names.map((name) => `${name}: ${sized(medianOf(standing, name) ?? Number.NaN)}`).join('; ')}`,
  ]
}

const row = (standing: Standing, isFirst: boolean): string[] => {
  const { name, rounds, ratios, floors } = standing
  const values = rounds.map(({ value }) => value)
  return [
    `  ${name}`,
    values.length > 0 ? sized(median(values)) : '–',
    spread(values, sized),
    isFirst ? '1' : ratios.length > 0 ? short(median(ratios)) : '–',
    isFirst ? '' : spread(ratios, short),
    detail(rounds, 'p50Ms'),
    detail(rounds, 'p99Ms'),
    detail(rounds, 'cpuUs'),
    floors.map(floorText).join(', '),
    floors.map(({ met }) => (met ? 'met' : 'missed')).join(', '),
  ]
}

const rows = (standing: Standing, isFirst: boolean): string[][] => [
  row(standing, isFirst),
  ...factsText(standing).map((text) => [text]),
  ...(standing.failure === undefined ? [] : [[failureText(standing.failure)]]),
]

/** The names to the left, the numbers to the right. */
const align = (rows: readonly string[][]): string => {
  const tabular = rows.filter((cells) => cells.length > 1)
  const widths = HEADER.map((_, column) => Math.max(...tabular.map((cells) => cells[column]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('   ')
      .trimEnd()
  return rows.map((cells) => (cells.length === 1 ? (cells[0] ?? '') : line(cells))).join('\n')
}

const ceilingRows = ({ ceiling, ceilingFailure }: Result): string[][] => {
  if (ceilingFailure !== undefined) return [['  (the load client alone)'], [failureText(ceilingFailure)]]
  if (!ceiling) return []
  return [['  (the load client alone)', sized(ceiling.value), ...Array.from(HEADER.slice(2), () => '')]]
}

const rowsOf = (result: Result): string[][] => [
  [`\n${result.title} (${result.unit}), ${result.seconds} s`],
  ...result.standings.flatMap((standing, index) => rows(standing, index === 0)),
  ...ceilingRows(result),
]

/** Medians, spreads and the medians of per-round ratios to the first row of each figure; CPU time is that of a message. */
export const formatTable = (results: readonly Result[]): string => {
  return align([HEADER, ...results.flatMap(rowsOf)])
}

/** Everything that was measured, round by round. */
export const writeReport = (
  path: string,
  report: {
    startedAt: string
    machine: Machine
    peers: readonly string[]
    pace: Pace
    results: readonly Result[]
  },
): void => writeFileSync(path, `${JSON.stringify(report, null, 2)}\n`)
