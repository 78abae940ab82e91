/** Server-sent events as text: what a reader of a stream is told. */
import type { StoredMessage } from '../jetstream.ts'
import type { CursorScope, Gap, MessageForm, Page } from '../reading.ts'
import { createMessageEncoder } from '../schemas/message.ts'
import { pageCursors } from '../tokens/cursor.ts'

/** When the client should come back after a cut. */
const RETRY_MS = 1_000

/** Nothing but a sign of life. */
export const HEARTBEAT = ': \n\n'

export const retryEvent = (cursor?: string): string =>
  `retry: ${RETRY_MS}\n${cursor === undefined ? '' : `id: ${cursor}\n`}\n`

/** A sign of life that moves the client's last event id on: nothing up to there was for it. */
export const movingHeartbeat = (cursor: string): string => `: \nid: ${cursor}\n\n`

export function caughtUpEvent(cursor: string): string {
  return encodeEvent('caught_up', cursor, JSON.stringify({ cursor }))
}

export function gapEvent(cursor: string, { fromSeq, toSeq }: Gap): string {
  const gap = { from_seq: fromSeq, to_seq: toSeq, reason: 'removed', cursor }
  return encodeEvent('gap', cursor, JSON.stringify(gap))
}

/** The last event of a stream that failed. */
export function errorEvent(problem: object): string {
  return `event: error\ndata: ${JSON.stringify(problem)}\n\n`
}

/** What the events of messages have in common. */
export interface Wording {
  readonly stream: string
  readonly scope: CursorScope
  readonly form: MessageForm
}

/** `cursors`: the one right after each message, in their order. */
export function messageEvents(
  { stream, form }: Wording,
  messages: readonly StoredMessage[],
  cursors: readonly string[],
): string {
  const encode = createMessageEncoder(stream, form)
  let text = ''
  for (const [index, message] of messages.entries()) {
    const cursor = cursors[index] ?? ''
    text += encodeEvent('message', cursor, encode(message, `"cursor":"${cursor}"`))
  }
  return text
}

/** The events of a page of history, in one text. */
export function pageEvents(wording: Wording, page: Page): string {
  const { position, gap, messages } = page
  const incarnation = position.created === undefined ? {} : { created: position.created }
  const gapText = gap ? gapEvent(wording.scope.seal({ ...incarnation, seq: gap.toSeq }), gap) : ''
  return gapText + messageEvents(wording, messages, pageCursors(wording.scope, page))
}

function encodeEvent(event: string, id: string, data: string): string {
  return `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`
}
