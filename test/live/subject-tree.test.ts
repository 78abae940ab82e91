/** A tree of subject filters finds exactly what trying every filter would find, whatever was added and removed before. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SubjectTree } from '../../src/live/subject-tree.ts'
import { covers } from './filters.ts'

const SEED = 20_261_120
const RUNS = 2_000

/** Few tokens, so that filters meet; some are one another's beginning, or names that a plain object has already. */
const TOKENS = ['a', 'b', 'aa', 'ab', '*a', '>a', 'constructor', '__proto__', 'ü']
const MOST_TOKENS = 5

const token = fc.constantFrom(...TOKENS)
const subject = fc.array(token, { minLength: 1, maxLength: MOST_TOKENS }).map((tokens) => tokens.join('.'))
const filter = fc
  .record({
    tokens: fc.array(fc.oneof(token, fc.constant('*')), { maxLength: MOST_TOKENS - 1 }),
    last: fc.oneof(token, fc.constantFrom('*', '>')),
  })
  .map(({ tokens, last }) => [...tokens, last].join('.'))
const value = fc.integer({ min: 0, max: 9 })
const entry = fc.record({ filter, value })
type Entry = { readonly filter: string; readonly value: number }

const expected = (entries: Iterable<Entry>, subject: string): number[] => {
  const found = [...entries].filter(({ filter }) => covers(filter, subject))
  return [...new Set(found.map(({ value }) => value))].sort()
}

const found = (tree: SubjectTree<number>, subject: string) => [...tree.matching(subject)].sort()

const keyOf = ({ filter, value }: Entry) => `${filter} ${value}`
const distinct = (entries: readonly Entry[]) => [
  ...new Map(entries.map((entry) => [keyOf(entry), entry])).values(),
]

const treeOf = (entries: readonly Entry[]) => {
  const tree = new SubjectTree<number>()
  for (const { filter, value } of entries) tree.add(filter, value)
  return tree
}

const parameters = { seed: SEED, numRuns: RUNS }

describe('SubjectTree', () => {
  it('finds each value once for every filter that matches, and no other', () => {
    fc.assert(
      fc.property(
        fc.array(entry, { maxLength: 30 }),
        fc.array(subject, { minLength: 1, maxLength: 8 }),
        (entries, subjects) => {
          const kept = distinct(entries)
          const tree = treeOf(kept)
          for (const one of subjects) expect(found(tree, one)).toEqual(expected(kept, one))
        },
      ),
      parameters,
    )
  })

  it('finds what is left after any adds and removals, in any order', () => {
    const changes = fc.array(entry, { minLength: 1, maxLength: 8 }).chain((pool) =>
      fc.array(fc.record({ add: fc.boolean(), entry: fc.constantFrom(...pool), subject }), {
        maxLength: 60,
      }),
    )
    fc.assert(
      fc.property(changes, (changes) => {
        const tree = new SubjectTree<number>()
        const kept = new Map<string, Entry>()
        for (const { add, entry, subject } of changes) {
          const known = kept.has(keyOf(entry))
          if (add && !known) tree.add(entry.filter, entry.value)
          if (add) kept.set(keyOf(entry), entry)
          // What is not there may be removed as well: nothing happens.
          if (!add) tree.remove(entry.filter, entry.value)
          if (!add) kept.delete(keyOf(entry))
          expect(found(tree, subject)).toEqual(expected(kept.values(), subject))
          expect(tree.size > 0).toBe(kept.size > 0)
        }
      }),
      parameters,
    )
  })

  it('is empty once everything was removed, and as good as new', () => {
    const shuffled = fc
      .uniqueArray(entry, { selector: keyOf, maxLength: 30 })
      .chain((entries) =>
        fc.tuple(
          fc.constant(entries),
          fc.shuffledSubarray(entries, { minLength: entries.length }),
          fc.array(subject, { maxLength: 5 }),
        ),
      )
    fc.assert(
      fc.property(shuffled, ([entries, order, subjects]) => {
        const tree = treeOf(entries)
        for (const { filter, value } of order) tree.remove(filter, value)
        expect(tree.size).toBe(0)
        for (const one of subjects) expect(found(tree, one)).toEqual([])
        for (const { filter, value } of entries) tree.add(filter, value)
        for (const one of subjects) expect(found(tree, one)).toEqual(expected(entries, one))
      }),
      parameters,
    )
  })

  it('keeps values apart that are equal in content: only the very one is removed', () => {
    const tree = new SubjectTree<{ readonly name: string }>()
    const [one, other] = [{ name: 'reader' }, { name: 'reader' }]
    tree.add('a.*', one)
    tree.add('a.>', one)
    tree.add('a.*', other)
    tree.remove('a.*', one)
    expect(new Set(tree.matching('a.b'))).toEqual(new Set([one, other]))
    tree.remove('a.>', one)
    const left = [...tree.matching('a.b')]
    expect(left).toHaveLength(1)
    expect(left[0]).toBe(other)
  })

  it('finds its readers among ten thousand with filters of their own', () => {
    const tree = new SubjectTree<number>()
    for (let index = 0; index < 10_000; index += 1) tree.add(`orders.${index}.*`, index)
    tree.add('orders.>', -1)
    for (const index of [0, 1, 4_321, 9_999])
      expect(found(tree, `orders.${index}.made`)).toEqual([index, -1].sort())
    expect(found(tree, 'orders.10000.made')).toEqual([-1])
    expect(found(tree, 'orders.1')).toEqual([-1])
    expect(found(tree, 'orders')).toEqual([])
  })
})
