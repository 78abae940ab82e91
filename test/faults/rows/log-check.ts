/** Comparing what a reader has seen, in its order, with all that it should have. */
import type { Invariant } from '../row.ts'

export interface Entry {
  readonly seq: number
  readonly payload: string
}

export interface Difference {
  readonly invariant: Invariant
  readonly what: string
}

const NAMED = 5

/** None where the reader has each message once, in order, as it is. */
export function differences(seen: readonly Entry[], log: readonly Entry[]): Difference[] {
  const isWhole = seen.length === log.length && seen.every((entry, at) => isSame(entry, log[at]))
  if (isWhole) return []
  const counts = new Map<number, number>()
  for (const { seq } of seen) counts.set(seq, (counts.get(seq) ?? 0) + 1)
  const bySeq = new Map(log.map((entry) => [entry.seq, entry]))
  const late = seen.filter(({ seq }, at) => seq < (seen[at - 1]?.seq ?? 0))
  const told = (invariant: Invariant, what: string, entries: readonly { readonly seq: number }[]) =>
    entries.length === 0 ? [] : [{ invariant, what: `${entries.length} ${what}: ${namesOf(entries)}` }]
  return [
    ...told(
      'I2',
      'never seen',
      log.filter(({ seq }) => !counts.has(seq)),
    ),
    ...told(
      'I2',
      'not what was published',
      seen.filter((entry) => !isSame(entry, bySeq.get(entry.seq))),
    ),
    ...told(
      'I3',
      'seen more than once',
      log.filter(({ seq }) => (counts.get(seq) ?? 0) > 1),
    ),
    ...told('I3', 'behind a later one', late),
  ]
}

const isSame = (entry: Entry, other: Entry | undefined): boolean =>
  entry.seq === other?.seq && entry.payload === other.payload

function namesOf(entries: readonly { readonly seq: number }[]): string {
  const named = entries.slice(0, NAMED).map(({ seq }) => seq)
  return named.join(', ') + (entries.length > NAMED ? ' …' : '')
}
