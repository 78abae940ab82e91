/** The last word to a reader whose host ends: from where to go on, and when to come back. */

/** Readers of one host do not all come back at the same moment. */
const EARLIEST_MS = 500
const SPREAD_MS = 3_000

/** Has a reader come again, at a moment of its own. */
export const comeBack = (): string => `retry: ${EARLIEST_MS + Math.floor(Math.random() * SPREAD_MS)}\n\n`

/** A sign of life with an id: without data it is no event, and EventSource remembers both. */
export const farewell = (cursor: string): string =>
  `retry: ${EARLIEST_MS + Math.floor(Math.random() * SPREAD_MS)}\nid: ${cursor}\n\n`
