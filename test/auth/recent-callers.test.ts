/** What is kept of credentials so that they need not be digested for each request: of accepted ones, and no more than a bound. */
import { expect, test } from 'vitest'
import type { Caller } from '../../src/context.ts'
import { RecentCallers } from '../../src/middleware/recent-callers.ts'

const callerOf = (token: string): Caller => ({ credential: { kind: 'token', token }, tenant: token })

test('what NATS accepted is found again, until it refuses it', () => {
  const recent = new RecentCallers()
  const caller = callerOf('a')
  recent.accepted('Bearer a', caller)
  expect(recent.get('Bearer a')).toBe(caller)
  recent.refused('Bearer a')
  expect(recent.get('Bearer a')).toBeUndefined()
})

test('a header of 60 KB is not kept, and many others have a bound in bytes', () => {
  const recent = new RecentCallers()
  const endless = `Basic ${' '.repeat(60_000)}x`
  recent.accepted(endless, callerOf('endless'))
  expect(recent.get(endless)).toBeUndefined()
  const headerOf = (n: number) => `Bearer ${String(n).padEnd(4_000, 'x')}`
  for (let n = 0; n < 2_000; n += 1) recent.accepted(headerOf(n), callerOf(String(n)))
  let kept = 0
  for (let n = 0; n < 2_000; n += 1) if (recent.get(headerOf(n))) kept += 4_007
  expect(kept).toBeGreaterThan(500_000)
  expect(kept).toBeLessThan(2_000_000)
})

test('one that asks all the time stays, whoever else comes', () => {
  const recent = new RecentCallers()
  const caller = callerOf('a')
  recent.accepted('Bearer a', caller)
  for (let n = 0; n < 2_000; n += 1) {
    recent.accepted(`Bearer ${String(n).padEnd(4_000, 'x')}`, callerOf(String(n)))
    expect(recent.get('Bearer a')).toBe(caller)
  }
})
