/** How large a page is as JSON, which may be six times its payload: what would be more than a page may have is left to the next. */
import { escapedBytes, MOST_ESCAPED_GROWTH, messageBytes } from '../message-size.ts'
import type { MessageForm, Page } from '../reading.ts'

/** The page, or as much of it as `maxBytes` of JSON hold: one message at least. `form`: how payloads are written. */
export function fitting(page: Page, maxBytes: number, form: MessageForm | undefined): Page {
  const copies = form === 'json' ? 2 : 1
  if (copies * MOST_ESCAPED_GROWTH * (page.heldBytes ?? 0) <= maxBytes) return page
  let bytes = 0
  const at = page.messages.findIndex((message, index) => {
    const { payload } = message
    bytes += messageBytes(message) - payload.length + copies * escapedBytes(payload)
    return bytes > maxBytes && index > 0
  })
  return at === -1 ? page : endedAfter(page, at)
}

function endedAfter(page: Page, count: number): Page {
  const messages = page.messages.slice(0, count)
  const { seq = page.position.seq, time } = messages.at(-1) ?? {}
  const { created } = page.position
  const { snapshotSeq } = page
  return {
    ...page,
    messages,
    upToDate: false,
    position: {
      seq,
      ...(created === undefined ? {} : { created }),
      ...(time === undefined ? {} : { time }),
      ...(snapshotSeq === undefined ? {} : { snapshotSeq }),
    },
  }
}
