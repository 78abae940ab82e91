/** Positions on the way to the live end, and taking of a page what is not there already. */
import type { Page, Position } from '../reading.ts'

/** A message of the stream, or where one was; `time`: of a message. */
export interface At {
  readonly seq: number
  readonly time: string | undefined
}

/** The position at another place of the same stream. */
export const movedTo = ({ created }: Position, { seq, time }: At): Position => ({
  seq,
  ...(created === undefined ? {} : { created }),
  ...(time === undefined ? {} : { time }),
})

/** The page without what comes after `lastSeq`: that waits at the seat, also where it has been removed by now. */
export function upTo(lastSeq: number, page: Page): Page {
  if (page.position.seq <= lastSeq) return page
  const { gap, upToDate } = page
  const messages = page.messages.filter(({ seq }) => seq <= lastSeq)
  const last = messages.at(-1)
  const time = last?.seq === lastSeq ? last.time : undefined
  const position = movedTo(page.position, { seq: lastSeq, time })
  const told = gap && gap.fromSeq <= lastSeq ? { gap: { ...gap, toSeq: Math.min(gap.toSeq, lastSeq) } } : {}
  return { messages, position, upToDate, ...told }
}
