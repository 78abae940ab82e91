/** Where a read begins: a position checked against the stream as it is now, or a start found in it. */
import { BridgeError, refuse } from '../errors.ts'
import type { HistoryCalls, StoredMessage, StreamInfo } from '../jetstream.ts'
import type { CursorScope, Position, Start } from '../reading.ts'
import { isSameCreation, markOf, toNanos } from '../schemas/time.ts'
import { checksumOf, contentMark, digestMessage, STEP_MS } from '../tokens/cursor.ts'
import { someAtOnce } from '../turns.ts'
import { FILTERS_AT_ONCE, type ReadBatch } from './batches.ts'
import { tailSeq } from './tail-start.ts'

/** Right before the first message there is. */
export function earliest({ created, state }: StreamInfo): Position {
  return { created, seq: Math.max(0, state.first_seq - 1) }
}

/** Right after the last message there is. */
export function latest({ created, state }: StreamInfo): Position {
  return { created, seq: state.last_seq, ...(state.last_seq > 0 ? { time: state.last_ts } : {}) }
}

/** Asks for the message at the position. */
export type AskMessage = () => Promise<StoredMessage | undefined>

interface Verification {
  readonly scope: CursorScope
  readonly askMessage: AskMessage
  /** Whether the server may say another creation time after a restart. */
  readonly movesTimes: () => Promise<boolean>
}

/**
 * Throws `stream_recreated` where the position is not of this stream as it is: made again under the same name, or with
 * its tail lost and the sequences used again.
 */
export async function verify(
  info: StreamInfo,
  position: Position,
  { scope, askMessage, movesTimes }: Verification,
): Promise<void> {
  const { created, state } = info
  const isHere = position.seq <= state.last_seq
  const isSame = position.created === undefined || position.created === created
  if (isHere && isSame && (await isSameMessage(info, position, askMessage))) return
  if (isHere && !isSame && (await isStoredThen(position, askMessage))) return
  if (isHere && !isSame && (await movesTimes()) && (await isSameSince(info, position, askMessage))) return
  throw new BridgeError(
    'stream_recreated',
    `Stream "${info.config.name}" is not the one the cursor is from.`,
    {
      members: { earliest_cursor: scope.seal(earliest(info)) },
    },
  )
}

/**
 * Whether the stream is the one it is of although it says another creation time, later than the right one. Its message shows
 * that; and a stream is never older than it says, so one that was there before the position was made is the same, too.
 */
async function isSameSince(info: StreamInfo, position: Position, askMessage: AskMessage): Promise<boolean> {
  const { seq, created = '', createdAsOf, time, mark } = position
  if (seq > 0 && (time !== undefined || mark !== undefined)) {
    const message = await askMessage()
    if (message) return isOfTime(position, message.time)
  }
  const knownAt = createdAsOf ?? time
  const wasThere = knownAt !== undefined && Date.parse(info.created) + CLOCKS_DIFFER_MS < Date.parse(knownAt)
  return (
    (wasThere || isSameCreation(created, info.created)) && (await isSameMessage(info, position, askMessage))
  )
}

/** Clocks of servers differ by less, ms. */
const CLOCKS_DIFFER_MS = 5_000
/** A publish is stored no later than this after its cursor says that it was, ms. */
const STORED_AFTER_MS = 2 * STEP_MS
/** And not so much sooner: it took its time, or was tried again. */
const STORED_BEFORE_MS = 60_000

/**
 * Whether the message at the position is the one that a publish stored, of which its cursor knows the content and about
 * when it was confirmed. What had been asked of the stream may have been out of date by then.
 */
async function isStoredThen({ createdAsOf, content }: Position, askMessage: AskMessage): Promise<boolean> {
  if (createdAsOf === undefined || content === undefined) return false
  const message = await askMessage()
  if (!message || content !== contentMark(message)) return false
  const laterMs = Date.parse(message.time) - Date.parse(createdAsOf)
  return laterMs < STORED_AFTER_MS && laterMs > -STORED_BEFORE_MS
}

/** Whether a position says what message it stands at. */
export const tellsMessage = ({ seq, time, mark, content, checksum, digest }: Position): boolean =>
  seq > 0 && [time, mark, content, checksum, digest].some((known) => known !== undefined)

/** Whether the message at the position is the one it was; one that is gone cannot be told. */
async function isSameMessage(
  { state }: StreamInfo,
  position: Position,
  askMessage: AskMessage,
): Promise<boolean> {
  const { seq, content, checksum } = position
  const isTimed = position.time !== undefined || position.mark !== undefined
  if (seq < state.first_seq || !tellsMessage(position)) return true
  if (seq === state.last_seq && isTimed && isOfTime(position, state.last_ts)) return true
  const message = await askMessage()
  if (!message) return true
  if (isTimed) return isOfTime(position, message.time)
  if (content !== undefined) return content === contentMark(message)
  const { subject, payload } = message
  if (checksum !== undefined) return checksum === checksumOf(subject, payload)
  return digestMessage(subject, payload) === position.digest
}

const isOfTime = ({ time, mark }: Position, stored: string) =>
  time === undefined ? mark === markOf(stored) : toNanos(time) === toNanos(stored)

/** `filters`: none that another covers; empty: every message. */
export async function findStart(
  jetstream: HistoryCalls,
  readBatch: ReadBatch,
  info: StreamInfo,
  start: Start,
  filters: readonly string[],
): Promise<Position> {
  const { created, state } = info
  switch (start.at) {
    case 'beginning':
      return earliest(info)
    case 'new':
      return latest(info)
    case 'last':
      return beforeLast(jetstream, info, filters)
    case 'last_per_subject':
      return state.last_seq > 0 ? { created, seq: 0, snapshotSeq: state.last_seq } : latest(info)
    case 'seq':
      if (start.seq > state.last_seq + 1)
        throw refuse('start', `the stream ends at sequence ${state.last_seq}`)
      return { created, seq: Math.max(start.seq, state.first_seq, 1) - 1 }
    case 'time':
      return beforeTime(jetstream, readBatch, info, start.time)
    case 'tail':
      return { created, seq: (await tailSeq({ jetstream, readBatch, info, filters }, start.count)) - 1 }
  }
}

async function beforeLast(
  jetstream: HistoryCalls,
  info: StreamInfo,
  filters: readonly string[],
): Promise<Position> {
  const wanted = filters.length > 0 ? filters : ['>']
  const lasts = await someAtOnce(wanted, FILTERS_AT_ONCE, (filter) =>
    jetstream.getMessage(info.config.name, { lastBySubject: filter }),
  )
  const seq = Math.max(0, ...lasts.map((message) => message?.seq ?? 0))
  return seq > 0 ? { created: info.created, seq: seq - 1 } : latest(info)
}

/** A time past the end is the end: what comes is later than all there is. */
async function beforeTime(
  jetstream: HistoryCalls,
  readBatch: ReadBatch,
  info: StreamInfo,
  time: string,
): Promise<Position> {
  const wanted = toNanos(time) ?? 0n
  if (info.state.messages === 0 || wanted > (toNanos(info.state.last_ts) ?? 0n)) return latest(info)
  if (wanted <= (toNanos(info.state.first_ts) ?? 0n)) return earliest(info)
  const { messages } = await readBatch({ from: { time }, batch: 1, maxBytes: 1 })
  const seq = messages[0]?.seq ?? (await firstSince(jetstream, info, wanted))
  return { created: info.created, seq: seq - 1 }
}

/** For a replica that lags and has nothing so late: the leader tells it, by halving, since it looks up no times. */
async function firstSince(jetstream: HistoryCalls, { config, state }: StreamInfo, wanted: bigint) {
  let before = state.first_seq - 1
  let since = state.last_seq + 1
  while (since - before > 1) {
    const middle = Math.floor((before + since) / 2)
    const message = await jetstream.getMessage(config.name, { seq: middle, nextBySubject: '>' })
    if (!message || (toNanos(message.time) ?? 0n) >= wanted) since = middle
    else before = Math.max(middle, Math.min(message.seq, since - 1))
  }
  return since
}
