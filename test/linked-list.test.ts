/** Lists of what comes and goes, held against sets and maps. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Numbered } from '../src/adapters/nats/numbered.ts'
import { LinkedList, type Place } from '../src/linked-list.ts'
import { SettledDeliveries } from '../src/tokens/settled.ts'

/** Adds something, or removes the `which`th of all that were ever added: often once more. */
const step = fc.oneof(
  { weight: 3, arbitrary: fc.constant('add' as const) },
  { weight: 2, arbitrary: fc.nat(400) },
)
const steps = fc.array(step, { maxLength: 400, size: 'max' })

describe('LinkedList', () => {
  test('has what was added and not removed, in its order', () => {
    fc.assert(
      fc.property(steps, (taken) => {
        const list = new LinkedList<number>()
        const expected = new Set<number>()
        const places: Place<number>[] = []
        for (const one of taken) {
          const place = one === 'add' ? undefined : places[one]
          if (one === 'add') {
            expected.add(places.length)
            places.push(list.add(places.length))
          } else if (place) {
            expected.delete(place.value)
            list.remove(place)
          }
          expect([list.size, list.first]).toEqual([expected.size, [...expected][0]])
        }
        expect([...list]).toEqual([...expected])
      }),
    )
  })

  test('comes to each value, whichever are removed meanwhile', () => {
    const list = new LinkedList<number>()
    const places = [1, 2, 3].map((value) => list.add(value))
    const seen: number[] = []
    for (const value of list) {
      seen.push(value)
      for (const place of places) list.remove(place)
    }
    expect([seen, list.size]).toEqual([[1, 2, 3], 0])
  })
})

describe('Numbered', () => {
  test('has what was added and not removed, under its number, the oldest first', () => {
    fc.assert(
      fc.property(steps, (taken) => {
        const numbered = new Numbered<string>()
        const expected = new Map<number, string>()
        const numbers: number[] = []
        for (const one of taken) {
          if (one === 'add') {
            const number = numbered.add(`item ${numbers.length}`)
            expect(number).toBeGreaterThan(numbers.at(-1) ?? 0)
            expected.set(number, `item ${numbers.length}`)
            numbers.push(number)
          } else {
            const number = numbers[one] ?? -1
            expect(numbered.get(number)).toBe(expected.get(number))
            numbered.remove(number)
            expected.delete(number)
          }
          expect(numbered.size).toBe(expected.size)
        }
        expect([...numbered]).toEqual([...expected])
        expect(numbered.clear()).toEqual([...expected.values()])
        expect([numbered.size, ...numbered]).toEqual([0])
      }),
    )
  })

  test('has nothing under what is no number of its own', () => {
    const numbered = new Numbered<string>()
    numbered.add('first')
    expect([0, 2, 1.5, Number.NaN, Number.POSITIVE_INFINITY].map((number) => numbered.get(number))).toEqual(
      Array(5).fill(undefined),
    )
  })
})

describe('SettledDeliveries', () => {
  const DELIVERIES = 6_000

  test('knows each settling that is under way, however many have begun and ended since', () => {
    const settled = new SettledDeliveries<number>()
    const answers = new Map<number, Promise<number>>()
    for (let key = 0; key < DELIVERIES; key += 1) {
      const answer = Promise.resolve(key)
      settled.begin(key, 'ack', answer)
      answers.set(key, answer)
      // All but every tenth are over soon after.
      const over = key - 5
      if (over >= 0 && over % 10 !== 0) {
        settled.end(over)
        answers.delete(over)
      }
    }
    for (let key = 0; key < DELIVERIES; key += 1) expect(settled.underWay(key)?.answer).toBe(answers.get(key))
  })

  test('knows a delivery again that is settled anew', () => {
    const settled = new SettledDeliveries<string>()
    settled.begin(1, 'nak', Promise.resolve('first'))
    settled.end(1)
    expect(settled.underWay(1)).toBeUndefined()
    settled.begin(1, 'ack', Promise.resolve('second'))
    expect(settled.underWay(1)?.ending).toBe('ack')
  })
})
