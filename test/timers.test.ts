import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createTimers } from '../src/timers.ts'

/** One of the runtime's for each millisecond of the second that they may be set ahead, and the one that goes on. */
const MOST_UNDER_WAY = 1_001

interface Started {
  readonly due: number
  readonly stop: () => void
  ranAt?: number
  stoppedAt?: number
}

/** Most start or stop one, so that there are many at once. */
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('start' as const), ms: fc.nat(3_000) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('stop' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(1_500) }) },
)

describe('timers of one maker', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('each run once when they are due, unless they are stopped before', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 50, maxLength: 200 }), (steps) => {
        const startTimer = createTimers()
        const all: Started[] = []
        const start = (ms: number) => {
          const started: Started = {
            due: performance.now() + ms,
            stop: startTimer(() => {
              expect(started.ranAt).toBeUndefined()
              started.ranAt = performance.now()
            }, ms),
          }
          all.push(started)
        }
        for (const one of steps) {
          if (one.kind === 'start') start(one.ms)
          else if (one.kind === 'pass') vi.advanceTimersByTime(one.ms)
          else {
            const chosen = all[one.which % Math.max(1, all.length)]
            chosen?.stop()
            if (chosen && chosen.ranAt === undefined) chosen.stoppedAt ??= performance.now()
          }
        }
        vi.advanceTimersByTime(5_000)
        for (const { due, ranAt, stoppedAt } of all) {
          if (stoppedAt === undefined) expect(ranAt).toBe(due)
          else expect(ranAt).toBeUndefined()
        }
        expect(vi.getTimerCount(), 'all have come, and none of the runtime is left').toBe(0)
      }),
      { numRuns: 1_000, seed: 1 },
    )
  })

  it('leave few of the runtime under way, however many are started and stopped', () => {
    const startTimer = createTimers()
    for (let ms = 60_000; ms > 0; ms -= 1) {
      startTimer(() => undefined, ms)()
      startTimer(() => undefined, ms)
      if (ms % 100 === 0) vi.advanceTimersByTime(1)
    }
    expect(vi.getTimerCount()).toBeLessThanOrEqual(MOST_UNDER_WAY)
  })

  it('go on when one of them throws', () => {
    const startTimer = createTimers()
    const ran: number[] = []
    startTimer(() => {
      throw new Error('this one fails')
    }, 10)
    startTimer(() => ran.push(1), 10)
    startTimer(() => ran.push(2), 2_000)
    expect(() => vi.advanceTimersByTime(10)).toThrow('this one fails')
    vi.advanceTimersByTime(2_000)
    expect(ran).toEqual([1, 2])
  })

  it('may be started and stopped by one that runs', () => {
    const startTimer = createTimers()
    const ran: string[] = []
    const stop = startTimer(() => ran.push('stopped'), 20)
    startTimer(() => {
      stop()
      startTimer(() => ran.push('started'), 5)
    }, 20 - 1)
    vi.advanceTimersByTime(30)
    expect(ran).toEqual(['started'])
  })
})
