/** Owns reading a request's body whole, never more of it than allowed, and refusing one without breaking its connection. */
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { BridgeError } from './errors.ts'

/** A body that is refused is still taken off the connection, up to so much and for so long: else the answer is lost. */
const MAX_DRAINED_BYTES = 16_777_216
const MAX_DRAIN_MS = 2_000

const GZIP = /^(x-)?gzip$/i
const PLAIN = /^identity$/i

/**
 * The body as its sender had it before it was compressed, inflated as far as it is read. Throws `unsupported_media_type`
 * for another compression than gzip; a body that is not what it says fails with `invalid_request` as it is read.
 */
export function bodyOf(request: Request): AsyncIterable<Uint8Array> {
  const body = request.body ?? new Blob([]).stream()
  return isCompressed(request) ? inflate(body) : body
}

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
    throw new BridgeError('invalid_request', 'body: is not whole gzip', {
      errors: [{ field: 'body', message: 'is not whole gzip' }],
      cause,
    })
  }
}

const declaredLength = (request: Request) => Number(request.headers.get('Content-Length') ?? Number.NaN)

/**
 * Reads a body whole, inflated where it is compressed. Throws `payload_too_large` over `maxBytes`, before more is kept
 * than that, and as `bodyOf`.
 */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  const declared = declaredLength(request)
  const isInflated = isCompressed(request)
  if (declared > maxBytes) return refuseBody(request, maxBytes)
  // A declared length is held to by the HTTP server.
  if (declared >= 0 && !isInflated) return new Uint8Array(await request.arrayBuffer())
  if (!request.body) return new Uint8Array()

  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of bodyOf(request)) {
    size += chunk.length
    if (size > maxBytes) throw tooLarge(maxBytes)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Takes the body off the connection, then throws `payload_too_large`. */
export async function refuseBody(request: Request, maxBytes: number): Promise<never> {
  if (declaredLength(request) <= MAX_DRAINED_BYTES && request.body && !request.body.locked) {
    const drained = drain(request.body)
    await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, MAX_DRAIN_MS))])
  }
  throw tooLarge(maxBytes)
}

const tooLarge = (maxBytes: number) =>
  new BridgeError('payload_too_large', `The body may have ${maxBytes} bytes.`)

async function drain(body: ReadableStream<Uint8Array>) {
  try {
    for await (const _ of body);
  } catch {
    // The client has left: there is nobody to answer.
  }
}
