/** Owns waiting: for the next turn of the event loop, or for a time. */

/** Runs once what is at hand has been handled; `setImmediate` is absent in older runtimes. */
export const soon: (act: () => void) => unknown = globalThis.setImmediate ?? ((act) => setTimeout(act, 0))

export const delay = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
