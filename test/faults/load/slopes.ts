/** Telling whether something grows: samples over time, and the slope through them with its uncertainty. */

export interface Sample {
  /** Seconds. */
  readonly at: number
  readonly value: number
}

/** `perHour`: of the value. `drift`: over the time looked at, and `noise`: how much of that chance may explain. */
export interface Slope {
  readonly mean: number
  readonly drift: number
  readonly noise: number
}

/** Half-width of an interval that holds 99.9 % of the slopes of what does not grow. */
const SIGMAS = 3.3
/** The share of the samples at the beginning that are left out: a process warms up. */
const WARM_UP = 1 / 3

/** A least-squares line through the samples, whose neighbours are alike: their noise counts for that much more. */
export function slopeOf(samples: readonly Sample[]): Slope {
  const steady = samples.slice(Math.floor(samples.length * WARM_UP))
  const count = steady.length
  if (count < 4) throw new Error(`${count} samples make no slope.`)
  const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const meanAt = meanOf(steady.map(({ at }) => at))
  const mean = meanOf(steady.map(({ value }) => value))
  const spread = steady.reduce((sum, { at }) => sum + (at - meanAt) ** 2, 0)
  const slope = steady.reduce((sum, { at, value }) => sum + (at - meanAt) * (value - mean), 0) / spread
  const residuals = steady.map(({ at, value }) => value - mean - slope * (at - meanAt))
  const variance = residuals.reduce((sum, residual) => sum + residual ** 2, 0) / (count - 2)
  const deviation = Math.sqrt((variance / spread) * inflationOf(residuals))
  const seconds = (steady.at(-1)?.at ?? 0) - (steady[0]?.at ?? 0)
  return { mean, drift: slope * seconds, noise: SIGMAS * deviation * seconds }
}

/** How much fewer samples these are worth, each being like the one before. */
function inflationOf(residuals: readonly number[]): number {
  const all = residuals.reduce((sum, residual) => sum + residual ** 2, 0)
  if (all === 0) return 1
  const pairs = residuals
    .slice(1)
    .reduce((sum, residual, index) => sum + residual * (residuals[index] ?? 0), 0)
  const alike = Math.min(0.95, Math.max(0, pairs / all))
  return (1 + alike) / (1 - alike)
}
