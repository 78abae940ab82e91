/** Owns what a JSON body may be: declared as JSON, and of a bounded size. */
import type { Context } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { AppEnv } from '../context.ts'
import { BridgeError } from '../errors.ts'
import { brokenOff, isCompressed, refuseBody } from '../read-body.ts'

/** A thousand ack tokens, with room to spare. */
const MAX_JSON_BYTES = 1_048_576
/** Of a pull, which keeps its body for as long as it waits. */
const MAX_PULL_BYTES = 4_096
const JSON_TYPE = /^application\/json\s*(;|$)/i

/** For a body of unknown length: reads it, at most so much of it. */
const readBounded = (maxSize: number) =>
  bodyLimit({ maxSize, onError: (c) => refuseBody(c.req.raw, maxSize) })

const bounded = readBounded(MAX_JSON_BYTES)
const boundedPull = readBounded(MAX_PULL_BYTES)

/**
 * Throws `unsupported_media_type`, `payload_too_large`. The type is insisted on because a page of any origin can send
 * `text/plain` without asking first, but not JSON. A request without a body passes: some operations need none.
 */
export async function admitJsonBody(c: Context<AppEnv>): Promise<void> {
  const { headers } = c.req.raw
  const type = headers.get('Content-Type')
  const length = headers.get('Content-Length')
  // Looking at the body itself would have Node make a stream of it, so its length is asked first.
  if (type === null && (length === '0' || c.req.raw.body === null)) return
  if (!JSON_TYPE.test(type ?? '')) {
    throw new BridgeError('unsupported_media_type', 'Send the body as Content-Type: application/json.')
  }
  if (isCompressed(c.req.raw))
    throw new BridgeError('unsupported_media_type', 'Content-Encoding is for publishes alone.')
  // A declared length is held to by the HTTP server.
  const isDeclared = length !== null && !headers.has('Transfer-Encoding')
  const isPull = c.req.path.endsWith('/pull')
  const maxBytes = isPull ? MAX_PULL_BYTES : MAX_JSON_BYTES
  if (!isDeclared)
    await (isPull ? boundedPull : bounded)(c, async () => {}).catch((failure: unknown) => {
      throw failure instanceof BridgeError ? failure : brokenOff(failure)
    })
  else if (Number(length) > maxBytes) await refuseBody(c.req.raw, maxBytes)
}
