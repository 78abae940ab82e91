/** What a row of the fault matrix is, and what running one comes to. */
import { randomFor } from '../publishing/seeded.ts'
import type { HostName } from '../support/host.ts'

/** What must hold, by its number among the invariants of RELIABILITY.md. */
export type Invariant = 'I1' | 'I2' | 'I3' | 'I4' | 'I5' | 'I6' | 'I7' | 'I8' | 'I9' | 'I11'

/** `full`: for a figure to publish, minutes; `part`: what belongs into every test run, seconds. */
export type Pace = 'full' | 'part'

export interface RunOptions {
  readonly seed: number
  readonly pace: Pace
  readonly hosts: readonly HostName[]
  /** Over what the row would do by itself. */
  readonly rounds?: number | undefined
  readonly say: (text: string) => void
}

/** What is told to a row that runs, and what it tells. */
export interface RowRun extends Omit<RunOptions, 'rounds'> {
  /** Numbers from 0 to below 1: the same for the same seed and purpose. */
  random(purpose: string): () => number
  rounds(byDefault: Readonly<Record<Pace, number>>): number
  /** Counts a fault, and writes it into the fault log. */
  injected(fault: string, times?: number): void
  /** An invariant that did not hold, in words that help to find out why. */
  broken(invariant: Invariant, what: string): void
  /** A figure for the table, such as "longest publish 7.7 s". */
  figure(text: string): void
  /** Undoes something at the end of the row, the newest first, whatever happens. */
  defer(undo: () => Promise<unknown> | unknown): void
}

export interface Row {
  readonly number: number
  readonly fault: string
  /** Of the invariants. */
  readonly shows: readonly Invariant[]
  /** Throws where something is wrong that is no invariant: then the row has failed, too. */
  run(run: RowRun): Promise<void>
}

export interface Injection {
  /** Milliseconds since the row began. */
  readonly at: number
  readonly fault: string
  readonly times: number
}

export interface Breach {
  readonly invariant: Invariant
  readonly what: string
}

export interface RowResult {
  readonly number: number
  readonly fault: string
  readonly shows: readonly Invariant[]
  readonly seconds: number
  readonly injections: readonly Injection[]
  readonly figures: readonly string[]
  readonly breaches: readonly Breach[]
  readonly failure: string | undefined
}

export const faultsOf = ({ injections }: RowResult): number =>
  injections.reduce((sum, { times }) => sum + times, 0)

export const holds = ({ breaches, failure }: RowResult): boolean =>
  breaches.length === 0 && failure === undefined

/** Runs a row to its end and undoes all that it has started; never throws. */
export async function runRow(row: Row, { rounds, ...options }: RunOptions): Promise<RowResult> {
  const { number, fault, shows } = row
  const beganAt = performance.now()
  const injections: Injection[] = []
  const figures: string[] = []
  const breaches: Breach[] = []
  const endings: (() => Promise<unknown> | unknown)[] = []
  const run: RowRun = {
    ...options,
    random: (purpose) => randomFor(`${number} ${purpose}`, options.seed),
    rounds: (byDefault) => rounds ?? byDefault[options.pace],
    injected: (what, times = 1) => {
      injections.push({ at: Math.round(performance.now() - beganAt), fault: what, times })
    },
    broken: (invariant, what) => {
      breaches.push({ invariant, what })
      options.say(`row ${number}: ${invariant} broken: ${what}`)
    },
    figure: (text) => void figures.push(text),
    defer: (undo) => void endings.push(undo),
  }
  let failure = await row.run(run).then(() => undefined, textOf)
  for (const undo of endings.reverse())
    await Promise.resolve()
      .then(undo)
      .catch((err: unknown) => {
        failure ??= `at the end: ${textOf(err)}`
      })
  const seconds = Math.round((performance.now() - beganAt) / 100) / 10
  return { number, fault, shows, seconds, injections, figures, breaches, failure }
}

const textOf = (err: unknown): string => (err instanceof Error ? (err.stack ?? err.message) : String(err))
