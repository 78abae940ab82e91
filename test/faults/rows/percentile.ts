/** Percentiles. */

/** Of numbers in rising order; `share`: percent, 100 is the largest. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * share) / 100))] ?? Number.NaN
}
