/** Turns of searches: how many at once, who is next, and what ends them. */
import { describe, expect, it } from 'vitest'
import { createMetrics } from '../src/metrics.ts'
import { createScans } from '../src/scans.ts'
import { readSettings } from '../src/settings.ts'
import type { StartTimer } from '../src/timers.ts'
import { newTokenKey } from './support/host.ts'

/** Timers that fire when a test says so. */
function createClock() {
  const timers = new Set<{ readonly act: () => void; readonly ms: number }>()
  const startTimer: StartTimer = (act, ms) => {
    const timer = { act, ms }
    timers.add(timer)
    return () => timers.delete(timer)
  }
  const fireAll = () => {
    for (const timer of [...timers]) {
      timers.delete(timer)
      timer.act()
    }
  }
  return { startTimer, fireAll, timers }
}

function open(most: { host: number; tenant: number }) {
  const clock = createClock()
  const settings = readSettings({
    AUTH: 'none',
    NATS_URL: 'ws://127.0.0.1:1',
    TOKEN_KEYS: newTokenKey(),
    MAX_SCANS: String(most.host),
    MAX_SCANS_PER_TENANT: String(most.tenant),
  })
  const scans = createScans(settings, createMetrics({}), clock.startTimer)
  const begun: string[] = []
  const begin = (tenant: string, name: string, left?: AbortSignal) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const done = scans.of(tenant)(left, async (signal) => {
      begun.push(name)
      signal.addEventListener('abort', () => reject(signal.reason))
      await promise
    })
    done.catch(() => undefined)
    return { done, end: resolve }
  }
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
  return { ...clock, begin, begun, settle }
}

describe('createScans', () => {
  it('begins as many as there may be, and the next when one has ended', async () => {
    const { begin, begun, settle } = open({ host: 8, tenant: 2 })
    const first = begin('a', 'a1')
    begin('a', 'a2')
    begin('a', 'a3')
    await settle()
    expect(begun).toEqual(['a1', 'a2'])
    first.end()
    await settle()
    expect(begun).toEqual(['a1', 'a2', 'a3'])
  })

  it('lets another tenant pass those of a tenant that has all it may', async () => {
    const { begin, begun, settle } = open({ host: 3, tenant: 2 })
    for (const name of ['a1', 'a2', 'a3', 'a4']) begin('a', name)
    begin('b', 'b1')
    await settle()
    expect(begun).toEqual(['a1', 'a2', 'b1'])
  })

  it('gives a free turn to the tenant that has the fewest', async () => {
    const { begin, begun, settle } = open({ host: 2, tenant: 2 })
    const first = begin('a', 'a1')
    begin('a', 'a2')
    begin('a', 'a3')
    begin('b', 'b1')
    await settle()
    first.end()
    await settle()
    expect(begun).toEqual(['a1', 'a2', 'b1'])
  })

  it('429 too_many_requests and 503 host_full where no turn comes', async () => {
    const tenants = open({ host: 8, tenant: 1 })
    tenants.begin('a', 'a1')
    const second = tenants.begin('a', 'a2')
    await tenants.settle()
    tenants.fireAll()
    await expect(second.done).rejects.toMatchObject({ code: 'too_many_requests' })

    const hosts = open({ host: 1, tenant: 1 })
    hosts.begin('a', 'a1')
    const other = hosts.begin('b', 'b1')
    await hosts.settle()
    hosts.fireAll()
    await expect(other.done).rejects.toMatchObject({ code: 'host_full' })
  })

  it('ends what is under way by its deadline, and gives its turn back', async () => {
    const { begin, begun, settle, fireAll } = open({ host: 1, tenant: 1 })
    const first = begin('a', 'a1')
    await settle()
    fireAll()
    await expect(first.done).rejects.toMatchObject({ code: 'jetstream_timeout' })
    begin('a', 'a2')
    await settle()
    expect(begun).toEqual(['a1', 'a2'])
  })

  it('ends with its client, waiting or under way, and leaves nothing behind', async () => {
    const { begin, begun, settle, timers } = open({ host: 1, tenant: 1 })
    const [one, two] = [new AbortController(), new AbortController()]
    const running = begin('a', 'a1', one.signal)
    const waiting = begin('a', 'a2', two.signal)
    await settle()
    two.abort()
    await expect(waiting.done).rejects.toMatchObject({ name: 'AbortError' })
    one.abort()
    await expect(running.done).rejects.toMatchObject({ name: 'AbortError' })
    expect([begun, timers.size]).toEqual([['a1'], 0])
  })

  it('refuses at once where too many of a tenant wait', async () => {
    const { begin, settle } = open({ host: 1, tenant: 1 })
    for (let n = 0; n < 65; n += 1) begin('a', `a${n}`)
    await settle()
    await expect(begin('a', 'last').done).rejects.toMatchObject({ code: 'too_many_requests' })
  })
})
