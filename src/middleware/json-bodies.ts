/** JSON bodies of requests: how they are read, of which type they have to be, and how large they may be. */
import type { Context } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { AppEnv } from '../context.ts'
import { BridgeError } from '../errors.ts'
import { JSON_TYPE, mediaTypeOf } from '../media-types.ts'
import { brokenOff, isCompressed, refuseBody } from '../read-body.ts'
import { requireBoundedJson } from '../schemas/json-bounds.ts'

/** A thousand ack tokens, with room to spare. */
const MAX_JSON_BYTES = 1_048_576
/** Of a pull, which keeps its body for as long as it waits. */
const MAX_PULL_BYTES = 4_096

/** For a body of unknown length: reads it, at most so much of it. */
const readBounded = (maxSize: number) =>
  bodyLimit({ maxSize, onError: (c) => refuseBody(c.req.raw, maxSize) })

const bounded = readBounded(MAX_JSON_BYTES)
const boundedPull = readBounded(MAX_PULL_BYTES)

/**
 * The JSON value of a body. A body without a byte is `{}`, whatever its type and its framing: many clients name a type
 * for a body that they do not send, and some operations need none.
 * Throws `unsupported_media_type`, `payload_too_large`, `invalid_request`.
 */
export async function readJsonBody(c: Context<AppEnv>): Promise<unknown> {
  const { headers } = c.req.raw
  const length = headers.get('Content-Length')
  // A declared length is held to by the HTTP server.
  const isDeclared = length !== null && !headers.has('Transfer-Encoding')
  if (isDeclared && Number(length) === 0) return {}
  const isPull = c.req.path.endsWith('/pull')
  if (isDeclared) {
    const maxBytes = isPull ? MAX_PULL_BYTES : MAX_JSON_BYTES
    requireJson(c.req.raw)
    if (Number(length) > maxBytes) await refuseBody(c.req.raw, maxBytes)
  } else {
    await (isPull ? boundedPull : bounded)(c, async () => {}).catch((failure: unknown) => {
      throw failure instanceof BridgeError ? failure : brokenOff(failure)
    })
  }
  const text = await c.req.text().catch((cause: unknown) => Promise.reject(brokenOff(cause)))
  if (text === '') return {}
  requireJson(c.req.raw)
  requireBoundedJson(text, 'body')
  return parseJson(text)
}

/** The type is insisted on because a page of any origin can send `text/plain` without asking first, but not JSON. */
function requireJson(request: Request) {
  if (mediaTypeOf(request.headers.get('Content-Type')) !== JSON_TYPE)
    throw new BridgeError('unsupported_media_type', 'Send the body as Content-Type: application/json.')
  if (isCompressed(request))
    throw new BridgeError('unsupported_media_type', 'Content-Encoding is for publishes alone.')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new BridgeError('invalid_request', 'body: must be JSON', {
      errors: [{ field: 'body', message: 'must be JSON' }],
      cause,
    })
  }
}
