/** Reading a request's body whole, never more of it than allowed, and refusing one without breaking its connection. */
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { BridgeError, refuse } from './errors.ts'
import type { Hold } from './holds.ts'
import type { StartTimer } from './timers.ts'
import { delay } from './turns.ts'

/** A body that is refused is still taken off the connection, up to so much and for so long: else the answer is lost. */
const MAX_DRAINED_BYTES = 16_777_216
const MAX_DRAIN_MS = 2_000

/** So much is read in one go, which is the fast way, and counted once it is there: about what a connection costs anyway. */
const AT_ONCE_BYTES = 65_536

/** A body that has to be whole is so within this, ms. */
const WHOLE_MS = 300_000

const GZIP = /^(x-)?gzip$/i
const PLAIN = /^identity$/i

/**
 * The body as its sender had it before it was compressed, inflated as far as it is read. Throws `unsupported_media_type`
 * for another compression than gzip; a body that is not what it says fails with `invalid_request` as it is read.
 */
export function bodyOf(request: Request): AsyncIterable<Uint8Array> {
  const body = toItsEnd(request.body ?? new Blob([]).stream())
  return isCompressed(request) ? inflate(body) : body
}

/** A body that breaks off, or is not framed as HTTP wants it, is the sender's fault, and tells nothing of the bridge. */
async function* toItsEnd(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* body
  } catch (cause) {
    throw cause instanceof BridgeError ? cause : brokenOff(cause)
  }
}

/** The problem of a body that breaks off. */
export const brokenOff = (cause: unknown) => refuse('body', 'did not come whole', cause)

/** Throws `unsupported_media_type`. */
export function isCompressed({ headers }: Request): boolean {
  const encoding = headers.get('Content-Encoding')
  if (encoding === null || PLAIN.test(encoding)) return false
  if (GZIP.test(encoding)) return true
  throw new BridgeError('unsupported_media_type', 'Content-Encoding must be gzip, or none.')
}

/** By Node's zlib, which inflates as much as is read, also in workerd; a DecompressionStream there inflates all at once. */
async function* inflate(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const gunzip = createGunzip()
  let compressedBytes = 0
  const counted = async function* () {
    for await (const chunk of body) {
      compressedBytes += chunk.length
      yield chunk
    }
  }
  try {
    const piped = pipeline(counted(), gunzip)
    piped.catch(() => undefined)
    for await (const chunk of gunzip) yield chunk
    // What follows the last member is passed over by zlib, and so is a body of nothing.
    if (compressedBytes === 0 || gunzip.bytesWritten < compressedBytes)
      throw new Error('There is more, or nothing.')
  } catch (cause) {
    if (cause instanceof BridgeError) throw cause
    throw refuse('body', 'is not whole gzip', cause)
  }
}

const declaredLength = (request: Request) => Number(request.headers.get('Content-Length') ?? Number.NaN)

/** A body comes at least so fast, bytes a second: else it would keep what it holds for as long as it likes. */
const MIN_BYTES_PER_SECOND = 4_096

/** How much of a body may be kept, who counts it, and how long it may be silent, ms. */
export interface BodyBounds {
  readonly maxBytes: number
  readonly hold: Hold
  readonly silenceMs: number
  readonly startTimer: StartTimer
  /** The body is not inflated: whoever reads it refuses one that is compressed. */
  readonly asItCame?: boolean
}

/** A step of reading, if it is done in time; `toFault`: what its failure means. Throws `body_timeout`. */
function inTime<Step>(
  step: Promise<Step>,
  {
    ms,
    startTimer,
    toFault,
  }: { ms: number; startTimer: StartTimer; toFault?: (failure: unknown) => unknown },
): Promise<Step> {
  return new Promise((resolve, reject) => {
    const stop = startTimer(() => reject(tooSlow()), ms)
    step.then(
      (value) => {
        stop()
        resolve(value)
      },
      (failure: unknown) => {
        stop()
        reject(toFault ? toFault(failure) : failure)
      },
    )
  })
}

const tooSlow = () => new BridgeError('body_timeout', 'The rest of the body did not come in time.')

interface SilenceBounds {
  /** The longest silence after what has come, ms. */
  readonly silenceMs: () => number
  readonly startTimer: StartTimer
}

/** A body that comes for as long as its sender likes, as long as it is never silent for too long. Throws `body_timeout`. */
export async function* withoutSilence(
  body: AsyncIterable<Uint8Array>,
  { silenceMs, startTimer }: SilenceBounds,
): AsyncGenerator<Uint8Array, void, undefined> {
  const chunks = body[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await inTime(chunks.next(), { ms: silenceMs(), startTimer })
      if (next.done) return
      yield next.value
    }
  } finally {
    // Not waited for: what is silent hears of it with its next chunk.
    chunks.return?.().catch(() => undefined)
  }
}

/** How long so many bytes may take at most, ms: a large body, too, has an end that does not wait for hours. */
const longestMs = (bytes: number, silenceMs: number) =>
  Math.min(silenceMs + (bytes / MIN_BYTES_PER_SECOND) * 1_000, WHOLE_MS)

/** A body that is read in one go, within the time that so many bytes may take. Throws `body_timeout`, `invalid_request`. */
export function allInTime<Body>(
  body: Promise<Body>,
  bytes: number,
  { silenceMs, startTimer }: Pick<BodyBounds, 'silenceMs' | 'startTimer'>,
): Promise<Body> {
  return inTime(body, { ms: longestMs(bytes, silenceMs), startTimer, toFault: brokenOff })
}

/**
 * Reads a body whole, inflated where it is compressed. Throws `payload_too_large` over `maxBytes`, before more is kept
 * than that, `host_full` or `too_many_requests` where the host holds too much besides, `body_timeout`, and as `bodyOf`.
 */
export async function readBody(request: Request, bounds: BodyBounds): Promise<Uint8Array> {
  const { maxBytes, hold } = bounds
  const declared = declaredLength(request)
  const isInflated = !bounds.asItCame && isCompressed(request)
  if (declared > maxBytes) return refuseBody(request, maxBytes)
  // A declared length is held to by the HTTP server.
  if (declared <= AT_ONCE_BYTES && !isInflated) {
    const body = await allInTime(request.arrayBuffer(), declared, bounds)
    hold.take(body.byteLength)
    return new Uint8Array(body)
  }
  if (!request.body) return new Uint8Array()
  try {
    if (declared > 0) hold.requireRoom(declared)
  } catch (failure) {
    await takeOff(request)
    throw failure
  }
  const body = isInflated ? bodyOf(request) : toItsEnd(request.body)
  return Buffer.concat(await collect(body[Symbol.asyncIterator](), bounds))
}

/** Counts each chunk as it comes. What finds no room is still taken off the connection, and not kept. */
async function collect(body: AsyncIterator<Uint8Array>, bounds: BodyBounds): Promise<Uint8Array[]> {
  const { maxBytes, hold, silenceMs, startTimer } = bounds
  const chunks: Uint8Array[] = []
  const beganAt = performance.now()
  let size = 0
  const read = () => {
    const leftMs = beganAt + longestMs(size, silenceMs) - performance.now()
    return inTime(body.next(), { ms: Math.min(silenceMs, leftMs), startTimer })
  }
  for (let next = await read(); !next.done; next = await read()) {
    size += next.value.length
    if (size > maxBytes) {
      await body.return?.()
      throw tooLarge(maxBytes)
    }
    try {
      hold.take(next.value.length)
    } catch (failure) {
      chunks.length = 0
      hold.give(size - next.value.length, 'bodies')
      await atMost(MAX_DRAIN_MS, drain({ [Symbol.asyncIterator]: () => body }))
      throw failure
    }
    chunks.push(next.value)
  }
  return chunks
}

/** Takes the body off the connection, then throws `payload_too_large`. */
export async function refuseBody(request: Request, maxBytes: number): Promise<never> {
  await takeOff(request)
  throw tooLarge(maxBytes)
}

/** Takes a body off the connection that nobody will read: an answer before its end may be lost on a client that still sends. */
export async function takeOff(request: Request): Promise<void> {
  if (declaredLength(request) > MAX_DRAINED_BYTES || !request.body || request.body.locked) return
  await atMost(MAX_DRAIN_MS, drainStream(request.body))
}

/** Where the runtime lets it be done, into one buffer again and again: chunks that nobody wants are garbage to collect. */
async function drainStream(body: ReadableStream<Uint8Array>): Promise<void> {
  let reader: ReadableStreamBYOBReader
  try {
    reader = body.getReader({ mode: 'byob' })
  } catch {
    return await drain(body)
  }
  try {
    let buffer = new ArrayBuffer(AT_ONCE_BYTES)
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(buffer))
      if (done) return
      buffer = value.buffer
    }
  } catch {
    // The client has left: there is nobody to answer.
  }
}

async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  await Promise.race([work, delay(ms)])
}

const tooLarge = (maxBytes: number) =>
  new BridgeError('payload_too_large', `The body may have ${maxBytes} bytes.`)

async function drain(body: AsyncIterable<Uint8Array>) {
  try {
    let drained = 0
    for await (const { length } of body) {
      drained += length
      if (drained > MAX_DRAINED_BYTES) return
    }
  } catch {
    // The client has left: there is nobody to answer.
  }
}
