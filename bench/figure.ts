/** What a figure is, and how it is measured: contenders in turn, round after round, so that drift hits all alike. */
import { LoadGone } from './load/process.ts'
import type { Rate } from './load/rate.ts'

/**
 * One measurement: in the figure's unit. Latencies are those of single requests; `cpuUs` is what one message cost the
 * contender's process, all its threads. `facts`: what else was counted, by name and unit.
 */
export type Measurement = {
  value: number
  p50Ms?: number
  p99Ms?: number
  cpuUs?: number
  facts?: Readonly<Record<string, number>>
}

/** What must be true of a contender's median: of its value, of its ratio to the first contender, or of a fact. */
export type Floor = { of: string; least?: number; most?: number }

/** Who is measured. `end`: undoes what the warm-up left, after the last round or a failure. */
export type Contender = {
  name: string
  warmUp: () => Promise<unknown>
  measure: () => Promise<Measurement>
  end?: () => Promise<unknown>
  floors?: readonly Floor[]
}

/** What is measured. The first contender is the one that the others are set beside. */
export type Figure = {
  title: string
  unit: string
  contenders: readonly Contender[]
  /** What the load clients do against a server that costs next to nothing: measured once, outside the rounds. */
  ceiling?: () => Promise<Measurement>
}

/**
 * A contender's measurements, one per round, and the ratio of each to the first contender's of the same round.
 * `failure`: why it has fewer than there are rounds.
 */
export type Standing = {
  name: string
  rounds: readonly Measurement[]
  ratios: readonly number[]
  floors: readonly (Floor & { met: boolean })[]
  failure?: string
}

/** A measured figure. */
export type Result = {
  title: string
  unit: string
  seconds: number
  standings: readonly Standing[]
  ceiling?: Measurement
  ceilingFailure?: string
}

/** Messages per second. */
export const perSecond = ({ messages, ms, cpuMs, ...latencies }: Rate): Measurement => ({
  value: (messages * 1_000) / ms,
  ...latencies,
  ...(cpuMs === undefined || messages === 0 ? {} : { cpuUs: (cpuMs * 1_000) / messages }),
})

/** The middle one; of an even number the mean of the middle two. Throws where there is none. */
export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((one, other) => one - other)
  const upper = sorted[Math.floor(sorted.length / 2)]
  const lower = sorted[Math.floor((sorted.length - 1) / 2)]
  if (upper === undefined || lower === undefined) throw new Error('no median of nothing')
  return (lower + upper) / 2
}

/** The same order, begun elsewhere: nobody always comes right after the same one. */
const rotated = <Item>(items: readonly Item[], by: number): Item[] => {
  const at = by % items.length
  return [...items.slice(at), ...items.slice(0, at)]
}

/** A contender while it is measured: what it threw is kept, and it is asked no more. */
type Attempt = { contender: Contender; rounds: (Measurement | undefined)[]; failure?: string }

const attempt = async <Answer>(kept: Attempt, act: () => Promise<Answer>): Promise<Answer | undefined> => {
  if (kept.failure !== undefined) return undefined
  try {
    return await act()
  } catch (err) {
    if (err instanceof LoadGone) throw err
    kept.failure = err instanceof Error ? err.message : String(err)
    return undefined
  }
}

/** The median of a fact, of the value or of the ratio; undefined where there is none. */
export const medianOf = (
  { rounds, ratios }: Pick<Standing, 'rounds' | 'ratios'>,
  of: string,
): number | undefined => {
  const values =
    of === 'ratio' ? ratios : rounds.map((round) => (of === 'value' ? round.value : round.facts?.[of]))
  const known = values.filter((value) => value !== undefined && !Number.isNaN(value)) as number[]
  return known.length > 0 ? median(known) : undefined
}

const standingOf = ({ contender, rounds, failure }: Attempt, first: Attempt | undefined): Standing => {
  const measured = rounds.filter((round) => round !== undefined)
  const ratios = rounds.flatMap((round, index) => {
    const ratio = (round?.value ?? Number.NaN) / (first?.rounds[index]?.value ?? Number.NaN)
    return Number.isNaN(ratio) ? [] : [ratio]
  })
  const floors = (contender.floors ?? []).map((floor) => {
    const found = failure === undefined ? medianOf({ rounds: measured, ratios }, floor.of) : undefined
    const met = found !== undefined && found >= (floor.least ?? found) && found <= (floor.most ?? found)
    return { ...floor, met }
  })
  return {
    name: contender.name,
    rounds: measured,
    ratios,
    floors,
    ...(failure === undefined ? {} : { failure }),
  }
}

/** Also after a failure, which stays the one that is told. */
const endOf = async (kept: Attempt): Promise<void> => {
  try {
    await kept.contender.end?.()
  } catch (err) {
    kept.failure ??= err instanceof Error ? err.message : String(err)
  }
}

const tryCeiling = async (
  ceiling: Figure['ceiling'],
): Promise<Pick<Result, 'ceiling' | 'ceilingFailure'>> => {
  try {
    const alone = await ceiling?.()
    return alone ? { ceiling: alone } : {}
  } catch (err) {
    if (err instanceof LoadGone) throw err
    return { ceilingFailure: err instanceof Error ? err.message : String(err) }
  }
}

/** Measures a figure. `say` hears of each step. A contender that throws is left out from there on; throws `LoadGone`. */
export const measureFigure = async (
  { title, unit, contenders, ceiling }: Figure,
  rounds: number,
  say: (text: string) => void,
): Promise<Result> => {
  const began = performance.now()
  const attempts = contenders.map((contender): Attempt => ({ contender, rounds: [] }))
  say(`${title}: warm-up`)
  for (const one of attempts) await attempt(one, one.contender.warmUp)
  const alone = await tryCeiling(ceiling)
  for (let round = 0; round < rounds; round++) {
    say(`${title}: round ${round + 1} of ${rounds}`)
    for (const one of rotated(attempts, round)) one.rounds[round] = await attempt(one, one.contender.measure)
  }
  for (const one of attempts) await endOf(one)
  const standings = attempts.map((one) => standingOf(one, attempts[0]))
  for (const { name, failure } of standings) if (failure) say(`${title}: ${name} failed: ${failure}`)
  const seconds = Math.round((performance.now() - began) / 1_000)
  return { title, unit, seconds, standings, ...alone }
}
