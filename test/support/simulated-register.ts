/** Clients of one compare-and-set register that never fails, as fast-check draws them, and what they see. */
import fc from 'fast-check'
import type { Outcome, Publish } from './linearizability.ts'

/** A client goes one step on: it calls, then its publish happens, then it has the answer. */
export interface Turn {
  readonly client: number
  readonly expects: 'what it was told' | 'what is past' | 'anything'
  /** The answer is lost; a publish that did not happen before that happens later, or never. */
  readonly isLost: boolean
  /** Sequences that go to other subjects of the stream. */
  readonly skipped: number
}

/** Turns of so many clients, most of which expect what they were told last. */
export const turnOf = (clients: number): fc.Arbitrary<Turn> =>
  fc.record({
    client: fc.nat(clients - 1),
    expects: fc.oneof(
      { weight: 8, arbitrary: fc.constant('what it was told' as const) },
      fc.constantFrom('what is past' as const, 'anything' as const),
    ),
    isLost: fc.nat(9).map((die) => die === 0),
    skipped: fc.nat(1),
  })

interface Call {
  readonly client: number
  readonly invokedAt: number
  readonly expected: number | undefined
  readonly outcome?: Outcome
}

/** What the clients see of one register; a turn is a tick of the clock. */
export function simulate(turns: readonly Turn[]): Publish[] {
  const seen: Publish[] = []
  const calls = new Map<number, Call>()
  const late: Call[] = []
  const told = new Map<number, number>()
  let last = 0

  const happen = ({ expected }: Call, skipped: number): Outcome => {
    if (expected !== undefined && expected !== last) return { kind: 'refused', current: last }
    last += 1 + skipped
    return { kind: 'stored', seq: last }
  }
  const expectation = ({ client, expects }: Turn): number | undefined => {
    const known = told.get(client) ?? 0
    if (expects === 'anything') return undefined
    return expects === 'what is past' ? Math.max(0, known - 1) : known
  }
  const answer = (call: Call, outcome: Outcome, returnedAt?: number) => {
    calls.delete(call.client)
    if (outcome.kind !== 'unknown')
      told.set(call.client, outcome.kind === 'stored' ? outcome.seq : outcome.current)
    seen.push({ ...call, outcome, returnedAt })
  }

  for (const [now, turn] of turns.entries()) {
    const { client, isLost, skipped } = turn
    const call = calls.get(client)
    const lost = call ? undefined : isLost && late.shift()
    if (lost) happen(lost, skipped)
    else if (!call) calls.set(client, { client, invokedAt: now, expected: expectation(turn) })
    else if (isLost) {
      answer(call, { kind: 'unknown' })
      if (!call.outcome) late.push(call)
    } else if (call.outcome) answer(call, call.outcome, now)
    else calls.set(client, { ...call, outcome: happen(call, skipped) })
  }
  for (const call of calls.values())
    answer(call, call.outcome ?? { kind: 'unknown' }, call.outcome && turns.length)
  return seen
}
