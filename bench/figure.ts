/** Owns what a figure is, and how it is measured: contenders in turn, round after round, so that drift hits all alike. */
import type { Rate } from './load/rate.ts'

/**
 * One measurement: in the figure's unit. Latencies are those of single requests; `cpuUs` is what one message cost the
 * contender's process, all its threads.
 */
export type Measurement = { value: number; p50Ms?: number; p99Ms?: number; cpuUs?: number }

/** Who is measured. */
export type Contender = {
  name: string
  warmUp: () => Promise<unknown>
  measure: () => Promise<Measurement>
}

/** What is measured. The first contender is the one that the others are set beside. */
export type Figure = {
  title: string
  unit: string
  contenders: readonly Contender[]
  /** What the load clients do against a server that costs next to nothing: measured once, outside the rounds. */
  ceiling?: () => Promise<Measurement>
}

/** A contender's measurements, one per round, and the ratio of each to the first contender's of the same round. */
export type Standing = { name: string; rounds: readonly Measurement[]; ratios: readonly number[] }

/** A measured figure. */
export type Result = { title: string; unit: string; standings: readonly Standing[]; ceiling?: Measurement }

/** Messages per second. */
export const perSecond = ({ messages, ms, cpuMs, ...latencies }: Rate): Measurement => ({
  value: (messages * 1_000) / ms,
  ...latencies,
  ...(cpuMs === undefined ? {} : { cpuUs: (cpuMs * 1_000) / messages }),
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

/** Measures a figure. `say` hears of each step. Throws what a contender throws. */
export const measureFigure = async (
  { title, unit, contenders, ceiling }: Figure,
  rounds: number,
  say: (text: string) => void,
): Promise<Result> => {
  const measured = new Map<string, Measurement[]>(contenders.map(({ name }) => [name, []]))
  say(`${title}: warm-up`)
  for (const { warmUp } of contenders) await warmUp()
  const alone = await ceiling?.()
  for (let round = 0; round < rounds; round++) {
    say(`${title}: round ${round + 1} of ${rounds}`)
    for (const { name, measure } of rotated(contenders, round)) measured.get(name)?.push(await measure())
  }
  const [first = []] = measured.values()
  const standings = [...measured].map(([name, own]) => ({
    name,
    rounds: own,
    ratios: own.map(({ value }, round) => value / (first[round]?.value ?? Number.NaN)),
  }))
  return { title, unit, standings, ...(alone ? { ceiling: alone } : {}) }
}
