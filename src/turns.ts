/** Waiting: for the next turn of the event loop, for a time, or for others to be done. */

/** Runs once what is at hand has been handled; `setImmediate` is absent in older runtimes. */
export const soon: (act: () => void) => unknown = globalThis.setImmediate ?? ((act) => setTimeout(act, 0))

export const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Does `work` for each item, for at most `atOnce` of them at a time. After a failure nothing more is begun. */
export async function someAtOnce<Item, Done>(
  items: readonly Item[],
  atOnce: number,
  work: (item: Item, index: number) => Promise<Done>,
): Promise<Done[]> {
  if (items.length <= atOnce) return await Promise.all(items.map(work))
  const done: Done[] = []
  const entries = items.entries()
  let hasFailed = false
  const takeTurns = async () => {
    for (const [index, item] of entries) {
      if (hasFailed) return
      try {
        done[index] = await work(item, index)
      } catch (failure) {
        hasFailed = true
        throw failure
      }
    }
  }
  await Promise.all(Array.from({ length: atOnce }, takeTurns))
  return done
}
