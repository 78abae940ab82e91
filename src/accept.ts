/** Which of the offered media types an `Accept` prefers. */
import { parseAccept } from 'hono/utils/accept'

/**
 * The offered type that an `Accept` prefers, undefined where it excludes all. The most specific range that covers a type
 * gives its weight, and a weight of 0 excludes it; among equals the more specific range wins, then the client's order,
 * then the order of `offered`. No `Accept`, or an empty one, accepts everything. Parameters other than `q` are ignored.
 * Source: RFC 9110, Accept.
 */
export function chooseType(
  accept: string | null | undefined,
  offered: readonly string[],
): string | undefined {
  const said = accept?.trim()
  // What nearly every client sends needs no parsing.
  if (!said || said === '*/*') return offered[0]
  if (offered.includes(said)) return said
  const ranges = parseAccept(said).map(({ type, q }, place) => ({ range: type.toLowerCase(), q, place }))
  const candidates = offered
    .map((type) => ({ type, ...weigh(type.toLowerCase(), ranges) }))
    .filter(({ q }) => q > 0)
  // The sort is stable: what is equal stays in the order of the offer.
  candidates.sort((a, b) => b.q - a.q || b.specificity - a.specificity || a.place - b.place)
  return candidates[0]?.type
}

interface Range {
  readonly range: string
  readonly q: number
  readonly place: number
}

const EXCLUDED = { q: 0, specificity: 0, place: 0 }

function weigh(type: string, ranges: readonly Range[]) {
  const wildcards = [type, `${type.slice(0, type.indexOf('/'))}/*`, '*/*']
  for (const [at, wanted] of wildcards.entries()) {
    const found = ranges.find(({ range }) => range === wanted || (wanted === '*/*' && range === '*'))
    if (found) return { q: found.q, specificity: wildcards.length - at, place: found.place }
  }
  return EXCLUDED
}
