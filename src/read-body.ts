/** Owns reading a request's body whole, never more of it than allowed. */
import { BridgeError } from './errors.ts'

/** Throws `payload_too_large` over `maxBytes`, before more is read than that. */
export async function readBody(request: Request, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = () => new BridgeError('payload_too_large', `The payload may have ${maxBytes} bytes.`)
  const declared = Number(request.headers.get('Content-Length') ?? Number.NaN)
  if (declared > maxBytes) throw tooLarge()
  // A declared length is held to by the HTTP server.
  if (declared >= 0) return new Uint8Array(await request.arrayBuffer())
  if (!request.body) return new Uint8Array()

  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body) {
    size += chunk.length
    if (size > maxBytes) throw tooLarge()
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
