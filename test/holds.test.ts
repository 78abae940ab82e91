/** The ledger of memory and what takes from it: by tenant and host, alone, in turns, and given back once. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test, vi } from 'vitest'
import { createHolds } from '../src/holds.ts'
import { Ledger } from '../src/ledger.ts'
import { BufferBudget, type Chunk } from '../src/live/seat.ts'
import { createMetrics } from '../src/metrics.ts'
import { readSettings } from '../src/settings.ts'
import { createTimers } from '../src/timers.ts'

const MIB = 1_048_576
const settings = readSettings({
  AUTH: 'nats',
  NATS_URL: 'ws://127.0.0.1:1',
  TOKEN_KEYS: `k1:${'k'.repeat(43)}`,
  MAX_MEMORY_BYTES: 4 * MIB,
})

function open() {
  const ledger = new Ledger(settings)
  const metrics = createMetrics({})
  const holdsOf = () => createHolds({ ledger, metrics, startTimer: createTimers() })
  return { ledger, openHold: holdsOf(), holdsOf }
}
const held = ({ held }: Ledger) => Object.values(held).reduce((sum, bytes) => sum + bytes, 0)

describe('a hold', () => {
  test('is refused over the share of its tenant, and over the host', () => {
    const { openHold } = open()
    openHold('a').take(2 * MIB)
    expect(() => openHold('a').take(1)).toThrow(expect.objectContaining({ code: 'too_many_requests' }))
    openHold('b').take(2 * MIB)
    expect(() => openHold('c').take(MIB)).toThrow(expect.objectContaining({ code: 'host_full' }))
  })

  test('has room for a tenant that holds little, however many others fill the host', () => {
    const { openHold } = open()
    openHold('a').take(2 * MIB)
    openHold('b').take(2 * MIB)
    openHold('c').take(MIB / 4)
    openHold('d').take(MIB / 4)
    // All that is kept is taken: a small piece of each still fits.
    expect(() => openHold('e').take(MIB / 4)).toThrow(expect.objectContaining({ code: 'host_full' }))
    for (const tenant of ['e', 'f', 'g']) openHold(tenant).take(65_536)
    expect(() => openHold('e').take(1)).toThrow(expect.objectContaining({ code: 'host_full' }))
  })

  test('has what it asks for alone of its tenant, one tenant at a time', () => {
    const { openHold } = open()
    const one = openHold('a')
    one.take(3 * MIB)
    const other = openHold('b')
    expect(() => other.take(3 * MIB)).toThrow(expect.objectContaining({ code: 'host_full' }))
    one.release()
    other.take(9 * MIB)
  })

  test('leaves the others their share while one is over its own', () => {
    const { openHold } = open()
    openHold('a').take(9 * MIB)
    expect(() => openHold('a').take(1)).toThrow(expect.objectContaining({ code: 'too_many_requests' }))
    const other = openHold('b')
    other.take(2 * MIB)
    expect(() => other.take(1)).toThrow(expect.objectContaining({ code: 'host_full' }))
    expect(() => openHold('c').take(MIB)).toThrow(expect.objectContaining({ code: 'host_full' }))
  })

  test('has no more than its share beside another that went over its own unasked, and is so still', () => {
    const { openHold } = open()
    const [first, second, third] = [openHold('a'), openHold('b'), openHold('c')]
    first.take(3 * MIB)
    second.keep(3 * MIB, 'answers')
    first.release()
    expect(() => third.take(3 * MIB)).toThrow(expect.objectContaining({ code: 'host_full' }))
    second.release()
    third.take(3 * MIB)
  })

  test('gives back once, and counts nothing after its end', () => {
    const { ledger, openHold } = open()
    const hold = openHold('a')
    hold.take(MIB, 'answers')
    hold.take(10)
    hold.give(4, 'bodies')
    hold.keep(7, 'answers')
    expect(held(ledger)).toBe(7)
    hold.release()
    hold.release()
    hold.take(MIB)
    hold.give(MIB, 'bodies')
    expect(held(ledger)).toBe(0)
  })

  test('waits for what others give back, the one that has waited longest first, also of another Durable Object', async () => {
    const { openHold, holdsOf } = open()
    const first = holdsOf()('a')
    first.take(2 * MIB)
    const order: string[] = []
    const waits = ['one', 'two'].map(async (name) => {
      const hold = openHold('a')
      await hold.wait(2 * MIB, 'answers', 10_000)
      order.push(name)
      hold.release()
    })
    expect(openHold('b').wait(MIB, 'answers', 10_000)).toBeInstanceOf(Promise)
    first.release()
    await Promise.all(waits)
    expect(order).toEqual(['one', 'two'])
  })

  test('whose work is over gets no more room, also where it waits for some: nobody would count what it is for', async () => {
    const { ledger, openHold } = open()
    openHold('a').take(2 * MIB)
    const hold = openHold('a')
    const waiting = hold.wait(1, 'answers', 10_000)
    hold.release()
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' })
    await expect(hold.wait(1, 'answers', 10_000)).rejects.toMatchObject({ name: 'AbortError' })
    expect(hold.tryTake(1, 'answers')).toBe(false)
    expect(held(ledger)).toBe(2 * MIB)
  })

  test('is refused where there is no room in time', async () => {
    const { ledger, openHold } = open()
    openHold('a').take(2 * MIB)
    await expect(openHold('a').wait(1, 'answers', 20)).rejects.toMatchObject({ code: 'too_many_requests' })
    expect(held(ledger)).toBe(2 * MIB)
  })
})

test('what a lost Durable Object held is given back, and nothing of the others', async () => {
  const { ledger, openHold, holdsOf } = open()
  openHold('a').take(MIB)
  const lose = () => {
    const openLost = holdsOf()
    const hold = openLost('b')
    hold.take(100)
    hold.take(50, 'answers')
    openLost('b')
      .wait(4 * MIB, 'answers', 1)
      ?.catch(() => undefined)
  }
  lose()
  expect(held(ledger)).toBe(MIB + 150)
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void

  await vi.waitUntil(
    () => {
      collect()
      return held(ledger) === MIB
    },
    { timeout: 20_000 },
  )

  expect(ledger.held).toEqual({ bodies: MIB, parsed: 0, answers: 0, buffers: 0 })
})

test('what waits for live readers is counted once, and only where there is room', () => {
  const { ledger, openHold } = open()
  const budget = new BufferBudget(32 * MIB, openHold('a'))
  const chunk = (): Chunk => ({ kind: 'chunk', bytes: new Uint8Array(MIB), messages: 1, seq: 1, time: '' })
  const [one, two] = [chunk(), chunk()]
  openHold('a').take(MIB)
  expect([budget.hold(one), budget.hold(one), budget.hold(two)]).toEqual([true, true, false])
  expect(ledger.held.buffers).toBe(MIB)
  budget.release(one)
  expect(ledger.held.buffers).toBe(MIB)
  budget.release(one)
  expect(ledger.held.buffers).toBe(0)
})
