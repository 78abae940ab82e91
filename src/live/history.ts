/** The next page of history: read in batches from any replica, its end and its holes confirmed by the leader. */
import { BridgeError } from '../errors.ts'
import type { Batch, HistoryCalls, StoredMessage, StreamInfo } from '../jetstream.ts'
import { messageBytes } from '../message-size.ts'
import type { Gap, Page, PageRequest, Position, ReadRequest } from '../reading.ts'
import type { Scan } from '../scans.ts'
import { someAtOnce } from '../turns.ts'
import {
  type BatchesRequest,
  chooseReadBatch,
  FILTERS_AT_ONCE,
  mergeBatches,
  type ReadBatch,
  readBatches,
  tryBatches,
} from './batches.ts'
import { endingWith } from './ending.ts'
import { withoutCovered } from './filters.ts'
import { PageRoom } from './page-room.ts'
import { type AskMessage, findStart, tellsMessage, verify } from './position.ts'
import { readSnapshot } from './snapshot.ts'

/** After so long a page ends with what it has, ms: slow servers make it short, not late. */
const PAGE_MS = 10_000

/** API level of servers that may say another creation time after a restart. */
const MOVING_TIMES = 0
/** More filters than these make a read a search. */
const FEW_FILTERS = 4

/**
 * Throws `stream_not_found`, `stream_recreated`, `cursor_expired`, as `scan` where the read is a search, and `host_full` or
 * `too_many_requests` where there is no room for the page. `scan` absent: searches are done at once.
 */
export async function readPage(jetstream: HistoryCalls, request: PageRequest, scan?: Scan): Promise<Page> {
  const room = new PageRoom(jetstream, request)
  const waiting = room.begin()
  if (waiting) await waiting
  try {
    return room.settle(await readInTurn(jetstream, request, { room, scan }))
  } catch (failure) {
    room.leave()
    throw failure
  }
}

async function readInTurn(
  jetstream: HistoryCalls,
  request: PageRequest,
  { room, scan }: { readonly room: PageRoom; readonly scan: Scan | undefined },
): Promise<Page> {
  const filters = withoutCovered(request.filters)
  const parts = { filters, room }
  if (!scan || !isSearch(request, filters)) return await readWith(jetstream, request, parts)
  return await scan(request.left?.(), (signal) => readWith(endingWith(jetstream, signal), request, parts))
}

/** Whether its cost at NATS is not bounded by the size of the page: it goes by how many subjects or filters there are. */
function isSearch({ from }: PageRequest, filters: readonly string[]): boolean {
  if (filters.length > FEW_FILTERS) return true
  if ('position' in from) return from.position.snapshotSeq !== undefined
  const { at } = from.start
  return at === 'last_per_subject' || (at === 'tail' && filters.some((filter) => /[*>]/.test(filter)))
}

async function readWith(
  jetstream: HistoryCalls,
  request: PageRequest,
  { filters, room }: Pick<Reading, 'filters' | 'room'>,
): Promise<Page> {
  const { stream, scope, from } = request
  const ahead = askAhead(jetstream, request, filters)
  const info = await jetstream.streamInfo(stream)
  requireExact(info)
  const readBatch = await chooseReadBatch(jetstream, info)
  const reading = { jetstream, readBatch, request, filters, info, ahead, room }
  if ('start' in from) {
    return readFrom(reading, await findStart(jetstream, readBatch, info, from.start, filters))
  }
  const { position } = from
  const askMessage = ahead?.askMessage ?? (() => jetstream.getMessage(stream, { seq: position.seq }))
  const movesTimes = async () => (await jetstream.server()).apiLevel === MOVING_TIMES
  await verify(info, position, { scope, askMessage, movesTimes })
  return readFrom(reading, { ...position, created: info.created })
}

/** Throws `sequence_too_large`: where one sequence is rounded to another, a reader would read the same again for ever. */
function requireExact({ config, state }: StreamInfo): void {
  if (state.last_seq < Number.MAX_SAFE_INTEGER) return
  throw new BridgeError(
    'sequence_too_large',
    `Stream "${config.name}" has a sequence beyond 9007199254740990.`,
  )
}

/** What is asked for before the leader has said what the stream is: to be dropped where that says otherwise. */
interface Ahead {
  readonly fromSeq: number
  readonly batches: Promise<readonly Batch[] | undefined>
  readonly askMessage: AskMessage
}

function askAhead(
  jetstream: HistoryCalls,
  { stream, from, limit, maxBytes, eager }: PageRequest,
  filters: readonly string[],
): Ahead | undefined {
  // Of several filters it must be known before where the stream ends: `mergeBatches`.
  if (!eager || filters.length > 1 || 'start' in from || from.position.snapshotSeq !== undefined)
    return undefined
  const { position } = from
  const fromSeq = position.seq + 1
  const batches = tryBatches(jetstream, stream, { filters, fromSeq, limit, maxBytes })
  const message = tellsMessage(position) ? jetstream.getMessage(stream, { seq: position.seq }) : undefined
  // Whoever asks for it hears what stood against it.
  message?.catch(() => undefined)
  return { fromSeq, batches, askMessage: async () => message }
}

/** What a page is read with. */
interface Reading {
  readonly jetstream: HistoryCalls
  readonly readBatch: ReadBatch
  readonly request: PageRequest
  /** None that another covers. */
  readonly filters: readonly string[]
  /** The stream as the leader had it before the page was read. */
  readonly info: StreamInfo
  readonly ahead: Ahead | undefined
  readonly room: PageRoom
}

async function readFrom(reading: Reading, start: Position): Promise<Page> {
  if (start.snapshotSeq !== undefined) return readSnapshot(reading, start, start.snapshotSeq)
  const gap = holeBefore(start.seq + 1, reading.info.state.first_seq, reading.info.state.last_seq)
  return gap ? readBehind(reading, gap) : readOn(reading, start)
}

/**
 * Goes on behind a hole. To who begins without a position it is none: that reader has what there is.
 * Throws `cursor_expired` where the reader did not ask to skip it.
 */
async function readBehind(reading: Reading, gap: Gap): Promise<Page> {
  const { request, info } = reading
  const behind = { seq: gap.toSeq, created: info.created }
  if ('start' in request.from) return readOn(reading, behind)
  if (request.onGap === 'error') throw cursorExpired(request, behind, gap.fromSeq)
  const page = await readOn(reading, behind)
  // It may have grown meanwhile: then the next hole begins right where this one ends.
  return { ...page, gap: { fromSeq: gap.fromSeq, toSeq: page.gap?.toSeq ?? gap.toSeq } }
}

/** What was removed from `fromSeq` on; `behind`: right after it, where reading can go on. */
export function cursorExpired({ scope }: ReadRequest, behind: Position, fromSeq: number): BridgeError {
  const { seq } = behind
  return new BridgeError(
    'cursor_expired',
    `Messages ${fromSeq} to ${seq} were removed before they were read.`,
    {
      members: { earliest_seq: seq + 1, missed: seq - fromSeq + 1, earliest_cursor: scope.seal(behind) },
    },
  )
}

/** What is gone from `nextSeq` on, where the stream now begins at `firstSeq`. */
function holeBefore(nextSeq: number, firstSeq: number, lastSeq: number): Gap | undefined {
  const toSeq = Math.min(firstSeq - 1, lastSeq)
  return toSeq >= nextSeq ? { fromSeq: nextSeq, toSeq } : undefined
}

/** Reads until the page is full, the stream ends, or a hole opens while reading: the next page then begins at the hole. */
async function readOn(reading: Reading, start: Position): Promise<Page> {
  const { request, info } = reading
  const messages: StoredMessage[] = []
  let position = start
  let bytesLeft = request.maxBytes
  const endsAt = performance.now() + PAGE_MS
  while (messages.length < request.limit && bytesLeft > 0) {
    if (messages.length > 0 && !reading.room.hasRoomBeside(request.maxBytes - bytesLeft)) break
    const nextSeq = position.seq + 1
    const read = await readStep(reading, nextSeq, request.limit - messages.length, bytesLeft)
    const hole = await holeInStep(reading, nextSeq, read)
    const step = hole ? beforeHole(read, nextSeq) : read
    if (hole && step.messages.length === 0) {
      if (messages.length > 0) break
      return readBehind(reading, hole)
    }
    const fitting = countFitting(step.messages, bytesLeft, messages.length === 0)
    messages.push(...step.messages.slice(0, fitting))
    if (fitting < step.messages.length)
      return { messages, position: positionOf(info, messages, position), upToDate: false }
    if (step.atEnd) return { messages, position: endOf(info, step, position), upToDate: true }
    bytesLeft -= bytesOf(step.messages)
    position = positionAt(info, step)
    // Behind the end that is known, the leader tells one message at a time: the next page learns of a new end.
    const isBehind = position.seq > info.state.last_seq
    if (messages.length > 0 && (hole || request.oneBatch || isBehind || performance.now() > endsAt)) break
  }
  return { messages, position, upToDate: false }
}

const bytesOf = (messages: readonly StoredMessage[]) =>
  messages.reduce((sum, message) => sum + messageBytes(message), 0)

/** How many of the first messages fit, one at least where there is none yet: JetStream stops with the one that does not. */
function countFitting(messages: readonly StoredMessage[], maxBytes: number, oneAtLeast: boolean): number {
  let bytes = 0
  const tooMany = messages.findIndex((message, index) => {
    bytes += messageBytes(message)
    return bytes > maxBytes && (index > 0 || !oneAtLeast)
  })
  return tooMany === -1 ? messages.length : tooMany
}

function positionOf(
  { created }: StreamInfo,
  messages: readonly StoredMessage[],
  otherwise: Position,
): Position {
  const last = messages.at(-1)
  return last ? { created, seq: last.seq, time: last.time } : otherwise
}

/** Messages that match, and up to where all of them were seen. */
interface Step {
  readonly messages: readonly StoredMessage[]
  readonly seenSeq: number
  /** The leader has no more. */
  readonly atEnd: boolean
}

function positionAt({ created }: StreamInfo, { messages, seenSeq }: Step): Position {
  const last = messages.at(-1)
  return { created, seq: seenSeq, ...(last?.seq === seenSeq ? { time: last.time } : {}) }
}

/** The end of the stream as it was before the page was read: all up to there has been seen. */
function endOf({ created, state }: StreamInfo, step: Step, before: Position): Position {
  if (step.seenSeq > state.last_seq) return positionAt({ created } as StreamInfo, step)
  if (state.last_seq < before.seq) return before
  return { created, seq: state.last_seq, time: state.last_ts }
}

/** Throws `jetstream_unavailable` rather than read the same again. */
async function readStep(reading: Reading, nextSeq: number, limit: number, maxBytes: number): Promise<Step> {
  const read = await batchesOf(reading, { fromSeq: nextSeq, limit, maxBytes })
  const batches = await confirmBatches(reading, nextSeq, read)
  const merged = mergeBatches(batches, limit, reading.info.state.last_seq)
  const step =
    merged.seenSeq === undefined
      ? await confirmEnd(reading, nextSeq, merged.messages, limit)
      : { messages: merged.messages, seenSeq: merged.seenSeq, atEnd: false }
  const firstSeq = step.messages[0]?.seq ?? nextSeq
  if (step.atEnd || (firstSeq >= nextSeq && step.seenSeq >= nextSeq)) return step
  throw new BridgeError('jetstream_unavailable', 'JetStream answered with messages that were not asked for.')
}

async function batchesOf(
  { readBatch, filters, info, ahead }: Reading,
  request: Omit<BatchesRequest, 'filters'>,
): Promise<readonly Batch[]> {
  if (request.fromSeq > info.state.last_seq) return []
  const batches = ahead?.fromSeq === request.fromSeq ? await ahead.batches : undefined
  return batches ?? readBatches(readBatch, { ...request, filters })
}

/**
 * Each of several filters may have been answered by another replica: where one says that it has no more, the leader may
 * have a message of its filter before those that another replica knew of others.
 */
async function confirmBatches(
  { jetstream, request, filters }: Reading,
  nextSeq: number,
  batches: readonly Batch[],
): Promise<readonly Batch[]> {
  if (batches.length < 2) return batches
  return await someAtOnce(batches, FILTERS_AT_ONCE, async (batch, index) => {
    const { messages, numPending } = batch
    if (numPending > 0) return batch
    const seq = Math.max(nextSeq - 1, messages.at(-1)?.seq ?? 0) + 1
    const next = await nextMatching(jetstream, request.stream, filters.slice(index, index + 1), seq)
    return next ? { messages: [...messages, next], numPending: 1 } : batch
  })
}

/** A replica that lags ends too early: the leader has the last word. */
async function confirmEnd(
  { jetstream, request, filters, info }: Reading,
  nextSeq: number,
  messages: readonly StoredMessage[],
  limit: number,
): Promise<Step> {
  const from = (messages.at(-1)?.seq ?? nextSeq - 1) + 1
  const ask = () => nextMatching(jetstream, request.stream, filters, from)
  const found = await ask()
  // Each filter was asked at a moment of its own: what another one has before that message it has by now.
  const next = found && filters.length > 1 ? await ask() : found
  if (!next) return { messages, seenSeq: Math.max(from - 1, info.state.last_seq), atEnd: true }
  if (messages.length < limit) return { messages: [...messages, next], seenSeq: next.seq, atEnd: false }
  return { messages, seenSeq: from - 1, atEnd: false }
}

/** The first message from `from` on that matches, as the leader has it. */
async function nextMatching(
  jetstream: HistoryCalls,
  stream: string,
  filters: readonly string[],
  from: number,
): Promise<StoredMessage | undefined> {
  const wanted = filters.length > 0 ? filters : ['>']
  const found = await someAtOnce(wanted, FILTERS_AT_ONCE, (filter) =>
    jetstream.getMessage(stream, { seq: from, nextBySubject: filter }),
  )
  return found.filter((message) => message !== undefined).sort((a, b) => a.seq - b.seq)[0]
}

/**
 * What may have been removed before it was read, in front of a step or in its middle: a batch is not read at one moment,
 * and limits remove while it is. Without a filter a run without a break shows that nothing was; else the stream is asked
 * where it begins now.
 */
async function holeInStep(
  { jetstream, request, filters, info }: Reading,
  nextSeq: number,
  step: Step,
): Promise<Gap | undefined> {
  const unbroken = step.seenSeq - nextSeq + 1 === step.messages.length
  if (filters.length === 0 && unbroken) return undefined
  if (nextSeq > info.state.last_seq && step.messages.length === 0) return undefined
  const now = await jetstream.streamInfo(request.stream)
  if (now.created !== info.created)
    throw new BridgeError('stream_not_found', 'The stream was made again while it was read.')
  const hole = holeBefore(nextSeq, now.state.first_seq, step.seenSeq)
  return hole && beforeHole(step, nextSeq).seenSeq < hole.toSeq ? hole : undefined
}

/** The messages of a step that follow each other without a break from `nextSeq` on: nothing was removed among them. */
function beforeHole({ messages }: Step, nextSeq: number): Step {
  const broken = messages.findIndex(({ seq }, index) => seq !== nextSeq + index)
  const sure = broken === -1 ? messages : messages.slice(0, broken)
  return { messages: sure, seenSeq: nextSeq + sure.length - 1, atEnd: false }
}
