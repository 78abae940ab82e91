/** The verdict on a run: what its clients were told, held against what the stream really has. */
import { ERRORS, type ErrorCode } from '../../../src/errors.ts'
import type { Breach, Invariant } from '../row.ts'
import { type Exchange, type Outcome, wasAnswered } from './history.ts'
import type { Fate } from './publishers.ts'
import type { Seen } from './readers.ts'
import { matches, type Truth } from './truth.ts'
import type { Handed } from './workers.ts'

export interface ReaderRecord {
  readonly name: string
  readonly filter: string | undefined
  readonly seen: readonly Seen[]
}

/** What a run left behind. `mayBreak`: the bridge itself was killed, or the way to it was cut. */
export interface RunRecord {
  readonly truth: Truth
  readonly fates: readonly Fate[]
  readonly readers: readonly ReaderRecord[]
  readonly handed: readonly Handed[]
  readonly exchanges: readonly Exchange[]
  readonly mayBreak: boolean
}

const breach = (invariant: Invariant, what: string): Breach => ({ invariant, what })

const LISTED = 20

/** The first of many. */
const listed = (seqs: readonly number[]): string =>
  seqs.slice(0, LISTED).join(', ') + (seqs.length > LISTED ? ` and ${seqs.length - LISTED} more` : '')

/** All that is wrong; empty: nothing. */
export function check(record: RunRecord): Breach[] {
  return [
    ...checkFates(record),
    ...record.readers.flatMap((reader) => checkReader(reader, record.truth)),
    ...checkHanded(record),
    ...checkExchanges(record),
  ]
}

/** I1: what was answered 2xx is there. I4: nothing is there twice. */
function checkFates({ truth, fates }: RunRecord): Breach[] {
  const places = Map.groupBy(truth.values(), ({ payload }) => payload)
  return fates.flatMap((fate) => {
    const { payload, seq, isKeyed, isDenied } = fate
    const at = (places.get(payload) ?? []).map((stored) => stored.seq)
    const told = `"${payload}", answered ${seq ?? 'without a sequence'}, is at ${at.join(', ') || 'no sequence'}`
    if (at.length > 1) return [breach('I4', told)]
    if (seq !== undefined) return at[0] === seq ? [] : [breach('I1', told)]
    if (isKeyed) return [breach('I1', `${told}, and was never confirmed`)]
    return isDenied && at.length > 0
      ? [breach('I1', `${told}, though its failure said that it was not stored`)]
      : []
  })
}

/** I2: every matching message up to where a reader is. I3: in order, each once. */
function checkReader({ name, filter, seen }: ReaderRecord, truth: Truth): Breach[] {
  const breaches: Breach[] = []
  let position = 0
  const told = new Set<number>()
  for (const event of seen) {
    const first = event.kind === 'gap' ? event.fromSeq : event.seq
    if (first <= position) breaches.push(breach('I3', `${name} was told ${first} after ${position}`))
    position = event.seq
    if (event.kind === 'gap') {
      breaches.push(breach('I2', `${name} was told a gap ${first}–${event.seq}, where nothing was removed`))
      continue
    }
    told.add(event.seq)
    const stored = truth.get(event.seq)
    if (stored?.payload !== event.payload || stored.subject !== event.subject)
      breaches.push(
        breach('I2', `${name} was told "${event.payload}" at ${event.seq}, not "${stored?.payload}"`),
      )
  }
  const missed = [...truth.values()].filter(
    ({ seq, subject }) => seq <= position && matches(filter, subject) && !told.has(seq),
  )
  if (missed.length > 0)
    breaches.push(breach('I2', `${name} never heard of ${listed(missed.map(({ seq }) => seq))}`))
  return breaches
}

/** I5: every message was handed out, as it is. */
function checkHanded({ truth, handed }: RunRecord): Breach[] {
  const delivered = new Set(handed.map(({ seq }) => seq))
  const never = [...truth.keys()].filter((seq) => !delivered.has(seq))
  return [
    ...(never.length > 0 ? [breach('I5', `never handed to a worker: ${listed(never)}`)] : []),
    ...handed
      .filter(({ seq, payload }) => truth.get(seq)?.payload !== payload)
      .map(({ seq, payload }) => breach('I5', `a worker was handed "${payload}" at ${seq}`)),
  ]
}

/** Nothing that these clients ask for is wrong: an answer is a success, or a failure that passes. */
function isFitting({ status, code }: Exclude<Outcome, { broken: string }>): boolean {
  if (code === undefined) return status < 300
  return code === 'publish_unconfirmed' || ERRORS[code as ErrorCode]?.retryable === true
}

/** I9: every request ended by its deadline, with a success or a failure that is documented and passes. */
function checkExchanges({ exchanges, mayBreak }: RunRecord): Breach[] {
  return exchanges.flatMap(({ actor, request, beganAt, endedAt, deadlineMs, outcome }) => {
    const ms = Math.round(endedAt - beganAt)
    if (ms > deadlineMs) return [breach('I9', `${actor}: ${request} took ${ms} ms, not ${deadlineMs}`)]
    if (!wasAnswered(outcome))
      return mayBreak ? [] : [breach('I9', `${actor}: ${request} broke after ${ms} ms: ${outcome.broken}`)]
    return isFitting(outcome)
      ? []
      : [breach('I9', `${actor}: ${request} was answered ${outcome.status} ${outcome.code ?? ''}`)]
  })
}
