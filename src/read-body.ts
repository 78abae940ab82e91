/** Owns reading a request's body whole, never more of it than allowed, and refusing one without breaking its connection. */
import { BridgeError } from './errors.ts'

/** A body that is refused is still taken off the connection, up to so much and for so long: else the answer is lost. */
const MAX_DRAINED_BYTES = 16_777_216
const MAX_DRAIN_MS = 2_000

const declaredLength = (request: Request) => Number(request.headers.get('Content-Length') ?? Number.NaN)

/** Throws `payload_too_large` over `maxBytes`, before more is kept than that. */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  const declared = declaredLength(request)
  if (declared > maxBytes) return refuseBody(request, maxBytes)
  // A declared length is held to by the HTTP server.
  if (declared >= 0) return new Uint8Array(await request.arrayBuffer())
  if (!request.body) return new Uint8Array()

  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body) {
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
