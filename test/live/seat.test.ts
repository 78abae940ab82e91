/** The tests of a reader's place at a feed: what it has been given is counted until its connection asks for more. */
import { expect, test } from 'vitest'
import { BufferBudget, type Chunk, type LiveItem, SeatBuffer } from '../../src/live/seat.ts'

const MIB = 1_048_576

const chunkOf = (size: number): Chunk => ({
  kind: 'chunk',
  bytes: new Uint8Array(size),
  messages: 1,
  seq: 1,
  time: '',
})

/** A seat whose reader waits, and what that has received. */
function waiting(budget: BufferBudget) {
  const received: LiveItem[] = []
  const at = () => ({ seq: 0, time: undefined })
  const seat = new SeatBuffer({ created: '', afterSeq: 0, bufferBytes: MIB, budget, at, left: () => {} })
  const wait = () => seat.wait((item) => received.push(item))
  wait()
  return { seat, wait, received }
}

test('a large chunk is counted once while readers take it, and those without room for theirs go to history', () => {
  const budget = new BufferBudget(MIB)
  const [one, alike, other] = [waiting(budget), waiting(budget), waiting(budget)]
  const chunk = chunkOf(MIB)

  for (const { seat } of [one, alike]) seat.push(chunk)
  other.seat.push(chunkOf(MIB))

  expect([one.received, alike.received]).toEqual([[chunk], [chunk]])
  expect(other.received).toEqual([{ kind: 'left' }])
  expect(budget.hold(chunkOf(1))).toBe(false)
  one.wait()
  alike.seat.leave()
  expect(budget.hold(chunkOf(MIB))).toBe(true)
})

test('a small chunk is given to whoever waits, also where there is no room for more to wait', () => {
  const budget = new BufferBudget(0)
  const { seat, wait, received } = waiting(budget)
  for (let n = 1; n <= 3; n += 1) {
    seat.push(chunkOf(1_000))
    wait()
  }
  expect(received.map(({ kind }) => kind)).toEqual(['chunk', 'chunk', 'chunk'])
})
