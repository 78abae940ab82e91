/** The promise that of the pages of one answer never more than one is read ahead. */
import { describe, expect, it } from 'vitest'
import type { Page } from '../../src/reading.ts'
import { openPages } from '../../src/routes/pages-ahead.ts'

const makePage = (seq: number, upToDate = false): Page => ({
  messages: [{ subject: 's', seq, time: '2026-01-01T00:00:00Z', headers: {}, payload: new Uint8Array() }],
  position: { seq },
  upToDate,
})

describe('openPages', () => {
  it('the next page is asked for when one is taken, and no further one', async () => {
    let asked = 0
    const pages = await openPages(async () => {
      asked += 1
      return makePage(asked)
    }, Number.POSITIVE_INFINITY)
    expect(asked).toBe(1)
    const { page } = await pages.next()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect([page.position.seq, asked]).toEqual([1, 2])
  })

  it('the last page is the one that is up to date, or reaches the limit', async () => {
    const limits: number[] = []
    const read = async ({ limit }: { limit: number }) => makePage(limits.push(limit), limits.length === 3)
    const all = await openPages(read, Number.POSITIVE_INFINITY)
    expect([(await all.next()).isLast, (await all.next()).isLast, (await all.next()).isLast]).toEqual([
      false,
      false,
      true,
    ])
    limits.length = 0
    const two = await openPages(read, 2)
    expect([(await two.next()).isLast, (await two.next()).isLast]).toEqual([false, true])
    expect(limits).toEqual([2, 1])
  })

  it('a failure is thrown by the page that it belongs to', async () => {
    let asked = 0
    const pages = await openPages(async () => {
      asked += 1
      if (asked === 2) throw new Error('gone')
      return makePage(asked)
    }, Number.POSITIVE_INFINITY)
    expect((await pages.next()).page.position.seq).toBe(1)
    await expect(pages.next()).rejects.toThrow('gone')
  })
})
