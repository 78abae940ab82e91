/** Pages read one after another, each while the client takes the one before it. */
import type { Page, PageRequest } from '../reading.ts'
import { MAX_LIMIT } from '../schemas/read.ts'
import { soon } from '../turns.ts'

/** Reads the page after the last one. */
export type ReadPage = (how: Pick<PageRequest, 'limit' | 'eager' | 'oneBatch'>) => Promise<Page>

export interface ReadOnce {
  readonly page: Page
  /** Nothing more was there, or the limit is reached: `next` must not be called again. */
  readonly isLast: boolean
}

export interface Pages {
  /** The next page; the one behind it is asked for, and no further one. Throws as `ReadPage`. */
  next(): Promise<ReadOnce>
}

/** Reads the first page, and by `next` all of them, up to `limit` messages. Throws as `ReadPage` for the first one. */
export async function openPages(readPage: ReadPage, limit: number): Promise<Pages> {
  let left = limit
  const read = async (eager: boolean): Promise<ReadOnce> => {
    const page = await readPage({ limit: Math.min(left, MAX_LIMIT), oneBatch: true, eager })
    left -= page.messages.length
    return { page, isLast: page.upToDate || left === 0 }
  }
  let coming = Promise.resolve(await read(false))
  return {
    async next() {
      const ready = await coming
      if (ready.isLast) return ready
      coming = read(true)
      // Whoever takes the page hears of it.
      coming.catch(() => undefined)
      // The request is on its way before the page that is ready keeps this thread busy.
      await new Promise<void>(soon)
      return ready
    },
  }
}
