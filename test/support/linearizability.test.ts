/** The checker accepts what a register could have done, refuses what none could, and agrees with trying every order. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { at, range } from '../contract/expectations.ts'
import { findViolation, type Outcome, type Publish } from './linearizability.ts'
import { simulate, turnOf } from './simulated-register.ts'

/** fast-check prints the seed and path of a failure. */
const SEED = 20_261_120
const UNKNOWN: Outcome = { kind: 'unknown' }
const stored = (seq: number): Outcome => ({ kind: 'stored', seq })
const refused = (current: number): Outcome => ({ kind: 'refused', current })

type Times = readonly [invokedAt: number, returnedAt?: number]
type Expected = number | undefined

const publish = ([invokedAt, returnedAt]: Times, expected: Expected, outcome: Outcome): Publish => ({
  client: invokedAt,
  invokedAt,
  returnedAt,
  expected,
  outcome,
})

/** Something of one publish that is made another than it was. */
interface Change {
  readonly at: number
  readonly of: 'outcome' | 'expected' | 'invokedAt' | 'returnedAt'
  readonly by: number
}

const change: fc.Arbitrary<Change> = fc.record({
  at: fc.nat(),
  of: fc.constantFrom('outcome', 'expected', 'invokedAt', 'returnedAt'),
  by: fc.integer({ min: -4, max: 4 }),
})

function changed(history: readonly Publish[], { at, of, by }: Change): Publish[] {
  return history.map((one, index) => (index === at % history.length ? changedOne(one, of, by) : one))
}

function changedOne(one: Publish, of: Change['of'], by: number): Publish {
  const { invokedAt, returnedAt, expected = 0, outcome } = one
  if (of === 'expected') return { ...one, expected: Math.max(0, expected + by) }
  if (of === 'invokedAt') return { ...one, invokedAt: Math.min(invokedAt + by, returnedAt ?? invokedAt + by) }
  if (of === 'returnedAt')
    return { ...one, returnedAt: returnedAt === undefined ? undefined : Math.max(invokedAt, returnedAt + by) }
  if (outcome.kind === 'stored') return { ...one, outcome: stored(Math.max(1, outcome.seq + by)) }
  return outcome.kind === 'refused' ? { ...one, outcome: refused(Math.max(0, outcome.current + by)) } : one
}

/** Whether some order of all publishes with an answer, and of any of the others, gives what was seen. */
function tryEveryOrder(left: readonly Publish[], value = 0, most = greatestSeq(left)): boolean {
  if (left.every(({ outcome }) => outcome.kind === 'unknown')) return true
  return left.some((one) => {
    const others = left.filter((other) => other !== one)
    const isTooEarly = others.some(({ returnedAt = Number.POSITIVE_INFINITY }) => returnedAt < one.invokedAt)
    return !isTooEarly && valuesAfter(value, one, most).some((next) => tryEveryOrder(others, next, most))
  })
}

const greatestSeq = (history: readonly Publish[]) => Math.max(0, ...history.flatMap(seqsOf))

function seqsOf({ expected = 0, outcome }: Publish): number[] {
  if (outcome.kind === 'unknown') return [expected]
  return [expected, outcome.kind === 'stored' ? outcome.seq : outcome.current]
}

function valuesAfter(value: number, { expected, outcome }: Publish, most: number): number[] {
  if (outcome.kind === 'refused')
    return expected !== undefined && expected !== value && value === outcome.current ? [value] : []
  if (expected !== undefined && expected !== value) return []
  if (outcome.kind === 'stored') return outcome.seq > value ? [outcome.seq] : []
  return range(value + 1, most)
}

const isAnswered = ({ outcome }: Publish) => outcome.kind !== 'unknown'
const seqOf = ({ outcome }: Publish) => (outcome.kind === 'stored' ? outcome.seq : 0)
const pick = <Item>(items: readonly Item[], die: number) => at(items, die % items.length)

/** What no register does: each answers one publish of a history of answers, and what it is made to say. */
const BREAKS: readonly ((history: History, die: number) => readonly [Publish, Partial<Publish>])[] = [
  // A refusal tells what no publish made.
  ({ refusals, stores }, die) => [pick(refusals, die), { outcome: refused(seqOf(at(stores, -1)) + 1) }],
  // A refusal tells what was expected.
  ({ refusals }, die) => {
    const one = pick(refusals, die)
    return [one, { outcome: refused(one.expected ?? 0) }]
  },
  // A refusal tells what had surely been replaced when it was called.
  ({ refusals, stores }, die) => {
    const one = pick(refusals.filter(isAfter(at(stores, 1))), die)
    const replaced = stores.findLastIndex((store) => isAfter(store)(one)) - 1
    return [one, { outcome: refused(seqOf(at(stores, replaced))) }]
  },
  // A publish is stored where the one before it was.
  ({ stores }, die) => {
    const index = 1 + (die % (stores.length - 1))
    return [at(stores, index), { outcome: stored(seqOf(at(stores, index - 1))) }]
  },
  // A publish is stored although it expected what was long past.
  ({ stores }, die) => [pick(stores.slice(2), die), { expected: 0 }],
]

interface History {
  readonly refusals: readonly Publish[]
  /** By sequence. */
  readonly stores: readonly Publish[]
}

const isAfter = (first: Publish) => (then: Publish) => (first.returnedAt ?? Infinity) < then.invokedAt

function broken(history: readonly Publish[], how: number, die: number): Publish[] {
  const refusals = history.filter(({ outcome }) => outcome.kind === 'refused')
  const stores = history
    .filter(({ outcome }) => outcome.kind === 'stored')
    .sort((a, b) => seqOf(a) - seqOf(b))
  const [one, change] = at(BREAKS, how)({ refusals, stores }, die)
  return history.map((other) => (other === one ? { ...one, ...change } : other))
}

describe('findViolation', () => {
  it.each<[string, Publish[]]>([
    ['nothing happened', []],
    [
      'publishes came one after the other',
      [
        publish([1, 2], 0, stored(1)),
        publish([3, 4], 0, refused(1)),
        publish([5, 6], 1, stored(2)),
        publish([7, 8], undefined, stored(9)),
        publish([9, 10], 2, refused(9)),
      ],
    ],
    [
      'concurrent publishes fit in another order than that of their calls',
      [publish([1, 9], 2, stored(3)), publish([2, 8], 0, stored(2)), publish([3, 7], 1, refused(3))],
    ],
    [
      'one refusal came before and one after the same publish',
      [publish([1, 9], 0, stored(4)), publish([2, 8], 7, refused(0)), publish([3, 7], 7, refused(4))],
    ],
    [
      'an answer came at the very time of the next call',
      [publish([1, 5], 1, stored(2)), publish([5, 6], 0, stored(1))],
    ],
    ['an unknown publish did not happen', [publish([1], 0, UNKNOWN), publish([3, 4], 0, stored(1))]],
    [
      'an unknown publish did happen',
      [publish([1], 0, UNKNOWN), publish([3, 4], 0, refused(5)), publish([5, 6], 5, stored(6))],
    ],
    [
      'an unknown publish happened long after its client had given up',
      [
        publish([1], undefined, UNKNOWN),
        publish([3, 4], 0, stored(1)),
        publish([5, 6], 0, refused(1)),
        publish([7, 8], 1, refused(2)),
      ],
    ],
    [
      'unknown publishes happened one after the other, and a sequence was never told',
      [publish([1], 0, UNKNOWN), publish([2], undefined, UNKNOWN), publish([3, 4], undefined, stored(3))],
    ],
  ])('undefined when %s', (_, history) => {
    expect(findViolation(history)).toBeUndefined()
  })

  it.each<[string, Publish[], string]>([
    [
      'one sequence has two winners',
      [publish([1, 9], 0, stored(1)), publish([2, 8], 0, stored(2))],
      'client 2 [2, 8] expected 0: stored at 2',
    ],
    [
      'two publishes are stored at one sequence',
      [publish([1, 9], undefined, stored(1)), publish([2, 8], undefined, stored(1))],
      'client 2 [2, 8] expected anything: stored at 1',
    ],
    [
      'a refusal tells what was never current',
      [publish([1, 2], 0, stored(1)), publish([3, 4], 0, refused(7))],
      'client 3 [3, 4] expected 0: refused, told 7',
    ],
    [
      'a refusal tells what was current only before its call',
      [publish([1, 2], 0, stored(1)), publish([3, 4], 1, stored(2)), publish([5, 6], 9, refused(1))],
      'client 5 [5, 6] expected 9: refused, told 1',
    ],
    [
      'a refusal tells what was current only after its answer',
      [publish([1, 2], 9, refused(1)), publish([3, 4], 0, stored(1))],
      'client 1 [1, 2] expected 9: refused, told 1',
    ],
    [
      'a refusal tells the very sequence that was expected',
      [publish([1, 2], 0, stored(1)), publish([3, 6], 1, refused(1)), publish([4, 5], 1, stored(2))],
      'client 3 [3, 6] expected 1: refused, told 1',
    ],
    [
      'a publish is stored after one that was called when it had returned',
      [publish([1, 2], 1, stored(2)), publish([3, 4], 0, stored(1))],
      'client 1 [1, 2] expected 1: stored at 2',
    ],
    [
      'a publish that expects nothing gets a sequence that is past',
      [publish([1, 2], undefined, stored(5)), publish([3, 4], undefined, stored(4))],
      'client 1 [1, 2] expected anything: stored at 5',
    ],
    [
      'an unknown publish cannot have been stored, since another expected the same',
      [publish([1], 0, UNKNOWN), publish([2, 3], 0, stored(5)), publish([4, 5], 0, refused(3))],
      'client 4 [4, 5] expected 0: refused, told 3',
    ],
    [
      'an unknown publish cannot have been stored yet',
      [publish([1, 2], 0, refused(1)), publish([3], 0, UNKNOWN)],
      'client 1 [1, 2] expected 0: refused, told 1',
    ],
  ])('the publish without a place when %s', (_, history, culprit) => {
    expect(findViolation(history)).toContain(`Not linearizable: ${culprit}\n`)
  })

  it('what made and what ended the value when a refusal is stale', () => {
    const history = [
      publish([1, 2], 0, stored(3)),
      publish([3, 4], 3, stored(4)),
      publish([5, 6], 4, stored(5)),
      publish([7, 8], 0, refused(3)),
    ]

    expect(findViolation(history)).toBe(`Not linearizable: client 7 [7, 8] expected 0: refused, told 3
  has no place after 3 of 4, at 5; beside
  client 1 [1, 2] expected 0: stored at 3
  client 3 [3, 4] expected 3: stored at 4
  client 5 [5, 6] expected 4: stored at 5`)
  })

  it('what trying every order says, for a small history with something changed in it', () => {
    const small = fc.array(turnOf(3), { minLength: 6, maxLength: 24, size: 'max' })
    const verdicts = { linearizable: 0, not: 0 }
    fc.assert(
      fc.property(small, fc.array(change, { maxLength: 3, size: 'max' }), (turns, changes) => {
        const history = changes.reduce(changed, simulate(turns))
        const isLinearizable = tryEveryOrder(history)
        verdicts[isLinearizable ? 'linearizable' : 'not'] += 1
        expect(findViolation(history) === undefined).toBe(isLinearizable)
      }),
      { seed: SEED, numRuns: 3_000 },
    )
    // The draw must not be one-sided.
    expect(Math.min(verdicts.linearizable, verdicts.not)).toBeGreaterThan(500)
  })

  const manyTurns = fc.array(turnOf(100), { minLength: 9_000, maxLength: 15_000, size: 'max' })

  it('undefined for thousands of publishes of 100 clients on a register', () => {
    fc.assert(
      fc.property(manyTurns, (turns) => {
        expect(findViolation(simulate(turns))).toBeUndefined()
      }),
      { seed: SEED, numRuns: 5, endOnFailure: true },
    )
  })

  it('a violation when one of thousands of answers is not what the register gave', () => {
    fc.assert(
      fc.property(manyTurns, fc.nat(BREAKS.length - 1), fc.nat(), (turns, how, die) => {
        const history = simulate(turns.map((one) => ({ ...one, isLost: false }))).filter(isAnswered)
        expect(findViolation(history)).toBeUndefined()
        expect(findViolation(broken(history, how, die))).toContain('Not linearizable')
      }),
      { seed: SEED, numRuns: 10, endOnFailure: true },
    )
  })
})
