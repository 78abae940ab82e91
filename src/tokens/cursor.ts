/** Cursors: a reader's position, its stream and its filter, sealed into one opaque text. */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { BridgeError } from '../errors.ts'
import type { OutgoingMessage } from '../jetstream.ts'
import type { CursorRun, CursorScope, Page, Position } from '../reading.ts'
import { INCR, MSG_ID } from '../schemas/nats-headers.ts'
import { fromNanos, toNanos } from '../schemas/time.ts'
import { createRun, openRun, type Run } from './run.ts'
import { createSealer, type Keyring, MAX_TOKEN_CHARS, type Sealer } from './seal.ts'

/** One position: flags, stream and filter digests, seq, then what the flags name, 8 bytes each. */
const ALONE = 'c1'
/** A position in a run: the same as its head, and a block that tells how far behind it. */
const IN_RUN = 'c2'
/** The same in a run of publishes, whose blocks tell the message's content, and when it was confirmed. */
const OF_PUBLISH = 'c3'
const FLAGS = { created: 1, time: 2, digest: 4, snapshotSeq: 8, createdAsOf: 64 } as const
/** Of the head of an older run of publishes, `c2`: what stands for a message in its block is of its content, not its time. */
const PUBLISHED_CONTENT = 32
/** The same of still older ones: a checksum of its subject and payload. */
const PUBLISHED = 16
/** How exactly a publish's cursor tells when it was made, ms. */
export const STEP_MS = 5
/** Of the 32 bits of a block that tell the distance from its head, those that do so for a publish. The others count steps since `createdAsOf`. */
const DISTANCE_BITS = 20
const MAX_DISTANCE = 2 ** DISTANCE_BITS
const MAX_STEPS = 2 ** (32 - DISTANCE_BITS)
/** So far behind the head of such a run may a message be that was stored before the first of it. */
const PUBLISHED_BEFORE = MAX_DISTANCE / 2
const DIGEST_BYTES = 8
const HEAD_BYTES = 1 + 2 * DIGEST_BYTES + 8
/** Names that callers make up must not fill the memory. */
const MAX_KNOWN_SCOPES = 1_000
const NANOS_PER_MS = 1_000_000n
const NO_FILTER = Buffer.alloc(DIGEST_BYTES)

/** What stands for a filter in the ids of a consumer's events. */
export const deliveryFilter = (consumer: string): readonly string[] => [`$consumer.${consumer}`]

/** Cursors of one tenant. */
export interface Cursors {
  /** `filters`: the subject filters of the read, in any order; empty: every message. */
  scope(stream: string, filters: readonly string[]): CursorScope
}

/** `tenant`: whose cursors these are; another's do not open. */
export function createCursors(keyring: Keyring, tenant: string): Cursors {
  const sealing = {
    keyring,
    alone: createSealer(keyring, ALONE, tenant),
    inRun: createSealer(keyring, IN_RUN, tenant),
    ofPublish: createSealer(keyring, OF_PUBLISH, tenant),
  }
  // A publish seals one cursor in a scope of its own, and without a filter there are only as many as streams.
  const unfiltered = new Map<string, CursorScope>()
  return {
    scope(stream, filters) {
      if (filters.length > 0) return cursorScope(sealing, stream, filters)
      const known = unfiltered.get(stream) ?? cursorScope(sealing, stream, filters)
      if (unfiltered.size < MAX_KNOWN_SCOPES) unfiltered.set(stream, known)
      return known
    },
  }
}

/** Eight bytes that stand for texts, whatever their length. */
function digestOf(...parts: (string | Uint8Array)[]): Buffer {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part).update('\0')
  return hash.digest().subarray(0, DIGEST_BYTES)
}

/**
 * What a publish's cursor knows of its message, whose time only the stream knows: the CRC-32 of its key and payload, which
 * are stored as they were sent. A subject may be mapped or transformed on the way. Undefined: a counter, whose payload is
 * the new value.
 */
export function contentMark({ headers, payload }: Content): number | undefined {
  return headers[INCR] === undefined ? crc32(payload, crc32(headers[MSG_ID]?.[0] ?? '')) : undefined
}

type Content = Pick<OutgoingMessage, 'headers' | 'payload'>

/** What it knew in older ones. */
export function checksumOf(subject: string, payload: Uint8Array): number {
  return crc32(payload, crc32(subject))
}

/** What it knew in cursors of version 1. */
export function digestMessage(subject: string, payload: Uint8Array): string {
  return digestOf(subject, payload).toString('base64url')
}

/** The cursor right after each message of a page. */
export function pageCursors(scope: CursorScope, { messages, position, snapshotSeq }: Page): string[] {
  const [first] = messages
  if (!first) return []
  const base = {
    seq: first.seq,
    ...(position.created === undefined ? {} : { created: position.created }),
    ...(snapshotSeq === undefined ? {} : { snapshotSeq }),
  }
  return scope.run(base).seal(messages)
}

/** What seals and opens cursors of either form. */
interface Sealing {
  readonly keyring: Keyring
  readonly alone: Sealer
  readonly inRun: Sealer
  readonly ofPublish: Sealer
}

function cursorScope(sealing: Sealing, stream: string, filters: readonly string[]): CursorScope {
  const streamDigest = digestOf(stream)
  const filterDigest = filters.length === 0 ? NO_FILTER : digestOf(...[...new Set(filters)].sort())
  const head = Buffer.concat([Buffer.alloc(1), streamDigest, filterDigest, Buffer.alloc(8)])

  const openAs = (token: string, accepted: readonly Buffer[]) => {
    const opened = openToken(sealing, token)
    if (!opened) throw new BridgeError('cursor_invalid', 'The cursor cannot be read.')
    const { packed, block, kind } = opened
    if (!packed.subarray(1, 1 + DIGEST_BYTES).equals(streamDigest)) {
      throw new BridgeError('cursor_mismatch', `The cursor is not of stream "${stream}".`)
    }
    const itsFilter = packed.subarray(1 + DIGEST_BYTES, 1 + 2 * DIGEST_BYTES)
    if (!accepted.some((filter) => filter.equals(itsFilter))) {
      throw new BridgeError('cursor_mismatch', 'The cursor is of a read with another subject filter.')
    }
    const position = unpack(packed)
    if (!block) return position
    return kind === OF_PUBLISH ? ofPublish(position, block) : moveTo(position, packed[0] ?? 0, block)
  }
  const sealPublished = publishedRun(sealing, head)
  return {
    seal: (position) =>
      position.content === undefined
        ? sealing.alone.seal(pack(head, { ...position, ...later(position, stepsOf(position) * STEP_MS) }))
        : sealPublished(position, position.content),
    run: (base) => cursorRun(sealing, head, base),
    open: (token) => openAs(token, [NO_FILTER, filterDigest]),
    openOwn: (token) => openAs(token, [filterDigest]),
  }
}

interface Block {
  readonly offset: number
  readonly mark: number
}

/** The position of a block of `c3`, by that of its head. */
function ofPublish(head: Position, { offset, mark }: Block): Position {
  const distance = offset % MAX_DISTANCE
  const laterMs = ((offset - distance) / MAX_DISTANCE) * STEP_MS
  return { ...head, seq: head.seq + distance, ...later(head, laterMs), content: mark }
}

/** The position of a block of `c2`, by that of its head and the flags there. */
function moveTo(head: Position, flags: number, { offset, mark }: Block): Position {
  const seq = head.seq + offset
  if (flags & PUBLISHED_CONTENT) return { ...head, seq, content: mark }
  return flags & PUBLISHED ? { ...head, seq, checksum: mark } : { ...head, seq, mark }
}

function later({ createdAsOf }: Position, ms: number): Partial<Position> {
  const nanos = createdAsOf === undefined ? undefined : toNanos(createdAsOf)
  return nanos === undefined ? {} : { createdAsOf: fromNanos(nanos + BigInt(ms) * NANOS_PER_MS) }
}

/** `time` of the base is left out: each message has its own. */
function cursorRun(
  { keyring: [key], inRun }: Sealing,
  head: Buffer,
  { time: _, mark: __, digest: ___, checksum: ____, content: _____, laterMs: ______, ...base }: Position,
): CursorRun {
  const begin = (seq: number) => {
    const token = inRun.seal(pack(head, { ...base, seq }))
    return { token, run: createRun(key, token, seq) }
  }
  let { token, run } = begin(base.seq)
  const sealOne = (message: { seq: number; time: string }): string => {
    ;({ token, run } = begin(message.seq))
    return `${token}.${run.seal([message])}`
  }
  return {
    seal(messages) {
      const texts = run.seal(messages)
      // Too far from the head, which happens where a filter leaves out billions: each gets a head of its own.
      return texts ? texts.map((text) => `${token}.${text}`) : messages.map(sealOne)
    },
  }
}

/** Steps since `createdAsOf`: none where there are more than a block can count, since an earlier time is right as well. */
function stepsOf({ laterMs = 0 }: Position): number {
  const steps = Math.floor(laterMs / STEP_MS)
  return steps >= 0 && steps < MAX_STEPS ? steps : 0
}

/** One run for all publishes to a stream; begun anew where more is known of the stream, or a message too far off. */
function publishedRun({ keyring: [key], ofPublish }: Sealing, head: Buffer) {
  let begun: { of: Position; seq: number; token: string; run: Run } | undefined
  const begin = (of: Position) => {
    const seq = Math.max(0, of.seq - PUBLISHED_BEFORE)
    const token = ofPublish.seal(pack(head, { ...of, seq }))
    return { of, seq, token, run: createRun(key, token, seq) }
  }
  return (position: Position, content: number): string => {
    const { seq, created, createdAsOf } = position
    const isOf = begun?.of.created === created && begun?.of.createdAsOf === createdAsOf
    if (!begun || !isOf || seq < begun.seq || seq - begun.seq >= MAX_DISTANCE) begun = begin(position)
    const offset = stepsOf(position) * MAX_DISTANCE + (seq - begun.seq)
    return `${begun.token}.${begun.run.sealOne(offset, content)}`
  }
}

/** What is packed in a token of either form. Undefined: nothing of ours. */
function openToken({ keyring, alone, inRun, ofPublish }: Sealing, token: string) {
  if (token.startsWith(`${ALONE}.`)) {
    const packed = alone.open(token)
    return packed && packed.length >= HEAD_BYTES ? { kind: ALONE, packed: Buffer.from(packed) } : undefined
  }
  if (token.length > MAX_TOKEN_CHARS) return undefined
  const headEnd = token.lastIndexOf('.')
  const head = token.slice(0, headEnd)
  const kind = head.startsWith(`${OF_PUBLISH}.`) ? OF_PUBLISH : IN_RUN
  const packed = (kind === OF_PUBLISH ? ofPublish : inRun).open(head)
  const key = keyring.find(({ id }) => head.startsWith(`${kind}.${id}.`))
  const block = packed && key && openRun(key, head, token.slice(headEnd + 1))
  return block && { kind, packed: Buffer.from(packed), block }
}

function pack(head: Buffer, position: Position): Buffer {
  const nanos = (time: string | undefined) => (time ? toNanos(time) : undefined)
  const optional: (readonly [number, bigint | undefined])[] = [
    [FLAGS.created, nanos(position.created)],
    [FLAGS.time, nanos(position.time)],
    [
      FLAGS.digest,
      position.digest === undefined ? undefined : Buffer.from(position.digest, 'base64url').readBigUInt64BE(),
    ],
    [FLAGS.snapshotSeq, position.snapshotSeq === undefined ? undefined : BigInt(position.snapshotSeq)],
    [FLAGS.createdAsOf, nanos(position.createdAsOf)],
  ]
  const packed = Buffer.alloc(HEAD_BYTES + 8 * optional.length)
  head.copy(packed)
  packed.writeBigUInt64BE(BigInt(position.seq), HEAD_BYTES - 8)
  let flags = 0
  let at = HEAD_BYTES
  for (const [flag, value] of optional) {
    if (value === undefined) continue
    flags |= flag
    at = packed.writeBigUInt64BE(BigInt.asUintN(64, value), at)
  }
  packed[0] = flags
  return packed.subarray(0, at)
}

function unpack(packed: Buffer): Position {
  const flags = packed[0] ?? 0
  let at = HEAD_BYTES
  const next = (flag: number) => {
    if ((flags & flag) === 0) return undefined
    at += 8
    return packed.readBigUInt64BE(at - 8)
  }
  const time = (nanos: bigint | undefined) =>
    nanos === undefined ? undefined : fromNanos(BigInt.asIntN(64, nanos))
  const created = time(next(FLAGS.created))
  const messageTime = time(next(FLAGS.time))
  const digest = next(FLAGS.digest)
  const snapshotSeq = next(FLAGS.snapshotSeq)
  const createdAsOf = time(next(FLAGS.createdAsOf))
  return {
    seq: Number(packed.readBigUInt64BE(HEAD_BYTES - 8)),
    ...(created === undefined ? {} : { created }),
    ...(createdAsOf === undefined ? {} : { createdAsOf }),
    ...(messageTime === undefined ? {} : { time: messageTime }),
    ...(digest === undefined ? {} : { digest: digestText(digest) }),
    ...(snapshotSeq === undefined ? {} : { snapshotSeq: Number(snapshotSeq) }),
  }
}

function digestText(digest: bigint): string {
  const bytes = Buffer.alloc(DIGEST_BYTES)
  bytes.writeBigUInt64BE(digest)
  return bytes.toString('base64url')
}
