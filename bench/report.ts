/** Owns how results are shown: a table for people, and a file for machines. */
import { writeFileSync } from 'node:fs'
import { type Measurement, median, type Result, type Standing } from './figure.ts'
import type { Machine } from './machine.ts'
import type { Pace } from './options.ts'

const HEADER = ['', 'median', 'min – max', 'ratio', 'p50 ms', 'p99 ms', 'CPU µs']

const whole = (value: number): string => Math.round(value).toLocaleString('en-US')

/** Two digits that say something, whatever the size. */
const short = (value: number): string => {
  if (value >= 10) return value.toFixed(0)
  return value >= 0.1 ? value.toFixed(2) : value.toFixed(3)
}

const detail = (rounds: readonly Measurement[], which: 'p50Ms' | 'p99Ms' | 'cpuUs'): string => {
  const values = rounds.map((round) => round[which]).filter((value) => value !== undefined)
  return values.length > 0 ? short(median(values)) : ''
}

const row = ({ name, rounds, ratios }: Standing, isFirst: boolean): string[] => {
  const values = rounds.map(({ value }) => value)
  return [
    `  ${name}`,
    whole(median(values)),
    `${whole(Math.min(...values))} – ${whole(Math.max(...values))}`,
    isFirst ? '1' : short(median(ratios)),
    detail(rounds, 'p50Ms'),
    detail(rounds, 'p99Ms'),
    detail(rounds, 'cpuUs'),
  ]
}

/** The names to the left, the numbers to the right. */
const align = (rows: readonly string[][]): string => {
  const widths = HEADER.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('   ')
      .trimEnd()
  return rows.map((cells) => (cells.length === 1 ? (cells[0] ?? '') : line(cells))).join('\n')
}

const rowsOf = ({ title, unit, standings, ceiling }: Result): string[][] => [
  [`\n${title} (${unit})`],
  ...standings.map((standing, index) => row(standing, index === 0)),
  ...(ceiling ? [['  (the load client alone)', whole(ceiling.value), '', '', '', '', '']] : []),
]

/** Medians, spreads and the medians of per-round ratios to the first row of each figure; CPU time is that of a message. */
export const formatTable = (results: readonly Result[]): string => {
  const rows = results.flatMap(rowsOf)
  const names = Math.max(...rows.filter((cells) => cells.length > 1).map(([name = '']) => name.length))
  return align([HEADER.map((cell, column) => (column === 0 ? cell.padEnd(names) : cell)), ...rows])
}

/** Everything that was measured, round by round. */
export const writeReport = (
  path: string,
  report: { startedAt: string; machine: Machine; pace: Pace; results: readonly Result[] },
): void => writeFileSync(path, `${JSON.stringify(report, null, 2)}\n`)
