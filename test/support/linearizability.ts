/** Deciding whether concurrent publishes on one subject could have happened one after the other. */

/** A publish on the subject, as its client saw it. Times are of one clock that never goes back, in any unit. */
export interface Publish {
  readonly client: number
  readonly invokedAt: number
  /** Undefined where the answer never came. */
  readonly returnedAt: number | undefined
  /** What the last sequence of the subject must be, 0 for no message; undefined: any. */
  readonly expected: number | undefined
  readonly outcome: Outcome
}

/** `current`: the last sequence that the refusal told. `unknown`: stored at some time after the call, or never. */
export type Outcome =
  | { readonly kind: 'stored'; readonly seq: number }
  | { readonly kind: 'refused'; readonly current: number }
  | { readonly kind: 'unknown' }

/** The last sequence: `least`, or, after a publish whose sequence nobody was told, anything from there on. */
interface Value {
  readonly least: number
  readonly exact: boolean
}

interface Entry extends Publish {
  readonly id: number
}

/** A history in order of invocation, and those of it that were stored in order of their sequence. */
interface History {
  readonly entries: readonly Entry[]
  readonly stores: readonly Entry[]
}

/** A configuration of the search: what is placed is what is neither `pending` nor from `next` on. */
interface Place {
  readonly value: Value
  /** Index of the first entry that cannot come next: something that is not placed had returned before it. */
  readonly next: number
  readonly pending: readonly Entry[]
  /** How many are placed whose outcome is known, and how many of them were stored. */
  readonly known: number
  readonly stored: number
}

const EMPTY: Value = { least: 0, exact: true }

/**
 * Undefined where the history is linearizable, else why not, with the publishes it is about.
 * The value is the last sequence, 0 at first; it only grows, so nothing may be deleted meanwhile.
 * Source: Wing & Gong, Testing and Verifying Concurrent Objects; Lowe, Testing for Linearizability.
 */
export function findViolation(publishes: readonly Publish[]): string | undefined {
  const history = prepare(publishes)
  const seen = new Set<string>()
  let furthest = settle(history, { value: EMPTY, next: 0, pending: [], known: 0, stored: 0 })
  const open = [furthest]
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    if (isComplete(history, place)) return undefined
    const key = keyOf(place)
    if (seen.has(key)) continue
    seen.add(key)
    if (place.known > furthest.known) furthest = place
    open.push(...placesAfter(history, place))
  }
  return explain(history, furthest)
}

function prepare(publishes: readonly Publish[]): History {
  const entries = [...publishes]
    .sort((a, b) => a.invokedAt - b.invokedAt)
    .map((publish, id) => ({ ...publish, id }))
  const stores = entries
    .filter(({ outcome }) => outcome.kind === 'stored')
    .sort((a, b) => seqOf(a) - seqOf(b))
  return { entries, stores }
}

/** Until when it must have happened. */
const deadline = ({ outcome, returnedAt }: Publish) =>
  outcome.kind === 'unknown' ? Number.POSITIVE_INFINITY : (returnedAt ?? Number.POSITIVE_INFINITY)

const seqOf = ({ outcome }: Publish) => (outcome.kind === 'stored' ? outcome.seq : Number.NaN)
const isUnknown = ({ outcome }: Publish) => outcome.kind === 'unknown'

const isComplete = ({ entries }: History, { next, pending }: Place) =>
  next === entries.length && pending.every(isUnknown)

/** What Lowe remembers: the set of what is placed, and the value. */
const keyOf = ({ value, next, pending }: Place) =>
  `${value.least}${value.exact ? '' : '+'} ${next} ${pending.map(({ id }) => id).join()}`

const canBe = (value: Value, seq: number) => seq === value.least || (!value.exact && seq > value.least)

/** The value after a publish at this point; undefined where it cannot be here with this outcome. */
function valueAfter(value: Value, { expected, outcome }: Publish): Value | undefined {
  if (outcome.kind === 'refused') {
    const isRefusal = expected !== undefined && expected !== outcome.current
    return isRefusal && canBe(value, outcome.current) ? { least: outcome.current, exact: true } : undefined
  }
  if (expected !== undefined && !canBe(value, expected)) return undefined
  const before = expected ?? value.least
  if (outcome.kind === 'unknown') return { least: before + 1, exact: false }
  return outcome.seq > before ? { least: outcome.seq, exact: true } : undefined
}

/** The value that it needs, or the greatest that still does. */
function neededBy({ expected, outcome }: Publish): number {
  if (outcome.kind === 'refused') return outcome.current
  return outcome.kind === 'unknown'
    ? Number.POSITIVE_INFINITY
    : Math.min(expected ?? outcome.seq, outcome.seq - 1)
}

/** Lets in what may come next, and places the refusals that fit: what changes nothing can come as soon as it may. */
function settle(history: History, place: Place): Place {
  const { value } = place
  const fits = (entry: Entry) =>
    value.exact && entry.outcome.kind === 'refused' && valueAfter(value, entry) !== undefined
  for (let { next, known, pending } = place; ; ) {
    const admitted = admit(history, next, pending)
    const left = admitted.filter((entry) => !fits(entry))
    next += admitted.length - pending.length
    known += admitted.length - left.length
    pending = left
    if (left.length === admitted.length) return { ...place, next, known, pending }
  }
}

/** `pending`, and those from `next` on that were invoked before any of them all had to have happened. */
function admit({ entries }: History, next: number, pending: readonly Entry[]): Entry[] {
  const admitted = [...pending]
  let earliest = Math.min(...pending.map(deadline))
  for (let entry = entries[next]; entry && entry.invokedAt <= earliest; entry = entries[++next]) {
    admitted.push(entry)
    earliest = Math.min(earliest, deadline(entry))
  }
  return admitted
}

function placesAfter(history: History, place: Place): Place[] {
  if (findPast(history, place)) return []
  return choices(history, place).flatMap((entry) => {
    const value = valueAfter(place.value, entry)
    if (value === undefined) return []
    const pending = place.pending.filter((other) => other !== entry)
    const known = place.known + (isUnknown(entry) ? 0 : 1)
    const stored = place.stored + (entry.outcome.kind === 'stored' ? 1 : 0)
    return [settle(history, { ...place, value, pending, known, stored })]
  })
}

/** What is worth trying next; the last is tried first. */
function choices({ stores }: History, { pending, stored }: Place): Entry[] {
  // Of those whose answer nobody heard, which have no deadline, the first of its kind serves as well as any.
  const unheard = new Map(
    pending
      .filter(isUnknown)
      .reverse()
      .map((entry) => [entry.expected, entry]),
  )
  const told = pending.filter(({ outcome }) => outcome.kind === 'refused')
  // Sequences only grow: the least that is left is the next one.
  const store = pending.filter((entry) => entry === stores[stored])
  return [...unheard.values(), ...told, ...store]
}

/** One that has no place any more, since the value it needs is past. */
const findPast = ({ stores }: History, { value, pending, stored }: Place): Entry | undefined =>
  [...stores.slice(stored, stored + 1), ...pending].find((entry) => neededBy(entry) < value.least)

const MOST_TOLD = 6

/** Tells what could not be placed where the search came furthest, and what made and ended the value that it needs. */
function explain(history: History, place: Place): string {
  const { entries } = history
  const { value, pending, known } = place
  const first = Math.min(...pending.map(deadline))
  const culprit = findPast(history, place) ?? pending.find((entry) => deadline(entry) === first)
  if (culprit === undefined) throw new Error('Where the search ends early it waits for a publish')
  const needed = neededBy(culprit)
  const isAbout = ({ expected, outcome }: Entry) =>
    outcome.kind === 'stored' &&
    (expected === needed || outcome.seq === needed || outcome.seq === value.least)
  const others = entries.filter((entry) => entry !== culprit && isAbout(entry))
  return [
    `Not linearizable: ${describe(culprit)}`,
    `has no place after ${known} of ${entries.length}, at ${value.least}${value.exact ? '' : ' or more'}; beside`,
    ...others.slice(0, MOST_TOLD).map(describe),
  ].join('\n  ')
}

function describe({ client, invokedAt, returnedAt, expected, outcome }: Publish): string {
  const times = `[${invokedAt}, ${returnedAt ?? '…'}]`
  return `client ${client} ${times} expected ${expected ?? 'anything'}: ${tell(outcome)}`
}

function tell(outcome: Outcome): string {
  if (outcome.kind === 'stored') return `stored at ${outcome.seq}`
  return outcome.kind === 'refused' ? `refused, told ${outcome.current}` : 'unknown'
}
