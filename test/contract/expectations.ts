/** The words that the tests say often: what a refusal looks like, and waiting for the thing itself. */
import { expect } from 'vitest'
import type { Message } from './client.ts'

/** An answer that is this problem; `members` are further ones of it. */
export const problem = (status: number, code: string, members: Readonly<Record<string, unknown>> = {}) => ({
  status,
  body: { code, status, ...members },
})

/** An answer that refuses one field of the input by its name; header names have no case. */
export const refusal = (field: string) => ({
  status: 400,
  body: {
    code: 'invalid_request',
    side_effects: 'none',
    errors: expect.arrayContaining([
      {
        field: expect.stringMatching(new RegExp(`^${field.replace(/[.*+]/g, '\\$&')}$`, 'i')),
        message: expect.any(String),
      },
    ]),
  },
})

/** The item at an index, from the end where it is negative. Throws where there is none. */
export function at<Item>(items: readonly Item[], index: number): Item {
  const item = items.at(index)
  if (item === undefined) throw new Error(`There is no item ${index} in ${items.length}`)
  return item
}

export const seqs = (messages: readonly { readonly seq: number }[]) => messages.map(({ seq }) => seq)

/** Whole numbers from `first` to `last`, both included. */
export const range = (first: number, last: number) =>
  Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => first + index)

/** The payload of a message, byte for byte. */
export function payloadOf({ data, data_base64 }: Pick<Message, 'data' | 'data_base64'>): Buffer {
  return data === undefined ? Buffer.from(data_base64 ?? '', 'base64') : Buffer.from(data, 'utf8')
}

const POLL_MS = 20
const GIVE_UP_MS = 15_000

/** Looks until there is something to see. Throws after `withinMs`, naming `what` was awaited. */
export async function until<Seen>(
  what: string,
  look: () => Promise<Seen | undefined | false>,
  withinMs = GIVE_UP_MS,
): Promise<Seen> {
  const giveUpAt = performance.now() + withinMs
  for (;;) {
    const seen = await look()
    if (seen !== undefined && seen !== false) return seen
    if (performance.now() > giveUpAt) throw new Error(`Not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/** Runs `task` for every item, so many at a time; the results are in the order of the items. */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  width: number,
  task: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  const queue = items.entries()
  const work = async () => {
    for (const [index, item] of queue) results[index] = await task(item)
  }
  await Promise.all(Array.from({ length: width }, work))
  return results
}
