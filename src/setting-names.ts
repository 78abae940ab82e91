/** Names in an environment that look like settings and are none. */

/** Names that begin so are meant for Sluice. */
const OURS = /^(SLUICE|MAX|NATS|CORS|TOKEN|TICKET)_/
/** What Kubernetes puts into every pod beside a service with the name `nats`, and what the commands of this repository take. */
const NOT_OURS = /^(NATS_(SERVICE|PORT)(_|$)|SLUICE_(URL|HOSTS|NATS_VERSION)$)/
/** The further a name may be from the setting that it is taken for, the more of it there has to be. */
const SHORT = 5
const MAX_DISTANCE = 2

export interface UnknownName {
  readonly name: string
  /** The setting that it is nearest to; undefined: none is near. */
  readonly meant: string | undefined
}

/** Those of `names` that are none of `known` and were likely meant as one. */
export function unknownNames(names: readonly string[], known: readonly string[]): readonly UnknownName[] {
  return names
    .filter((name) => !known.includes(name) && !NOT_OURS.test(name))
    .map((name) => ({ name, meant: nearest(name.toUpperCase(), known) }))
    .filter(({ name, meant }) => meant !== undefined || OURS.test(name))
}

function nearest(name: string, known: readonly string[]): string | undefined {
  return known.find((setting) => {
    const most = setting.length <= SHORT ? 1 : MAX_DISTANCE
    return Math.abs(setting.length - name.length) <= most && distance(setting, name) <= most
  })
}

/** How many letters have to be added, left out or changed. Source: Levenshtein, Binary codes capable of correcting deletions. */
function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (const [at, letter] of [...one].entries()) {
    const next = [at + 1]
    for (const [index, [above = 0, diagonal = 0]] of pairs(row).entries()) {
      const changed = diagonal + (other[index] === letter ? 0 : 1)
      next.push(Math.min(changed, above + 1, (next[index] ?? 0) + 1))
    }
    row = next
  }
  return row[other.length] ?? 0
}

/** Of each place but the first: what stands there, and before it. */
const pairs = (row: readonly number[]) => row.slice(1).map((value, index) => [value, row[index]] as const)
