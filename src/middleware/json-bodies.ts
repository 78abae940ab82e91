/** JSON bodies of requests: how they are read, of which type they have to be, and how large they may be. */
import type { Context } from 'hono'
import type { AppEnv } from '../context.ts'
import { BridgeError, refuse } from '../errors.ts'
import { JSON_TYPE, mediaTypeOf } from '../media-types.ts'
import { allInTime, isCompressed, readBody, refuseBody } from '../read-body.ts'
import { parsedBytes, requireBoundedJson } from '../schemas/json-bounds.ts'

/** A thousand ack tokens, with room to spare. */
const MAX_JSON_BYTES = 1_048_576
/** Of a pull, which keeps its body for as long as it waits. */
const MAX_PULL_BYTES = 4_096

/** So small a body costs about what its connection does, and is not counted. */
const SMALL_BYTES = 16_384

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
  // A stream or a consumer may be called so, too, but is not what is posted to.
  const isPull = c.req.method === 'POST' && c.req.path.endsWith('/pull')
  const maxBytes = isPull ? MAX_PULL_BYTES : MAX_JSON_BYTES
  if (isDeclared) {
    requireJson(c.req.raw)
    if (Number(length) > maxBytes) await refuseBody(c.req.raw, maxBytes)
  }
  const isSmall = isDeclared && Number(length) <= SMALL_BYTES
  return isSmall ? await readSmall(c, Number(length)) : await readCounted(c, maxBytes)
}

async function readSmall(c: Context<AppEnv>, bytes: number): Promise<unknown> {
  const { settings, startTimer } = c.var.dependencies
  const text = await allInTime(c.req.text(), bytes, { silenceMs: settings.BODY_SILENCE_MS, startTimer })
  if (text === '') return {}
  requireJson(c.req.raw)
  requireBoundedJson(text, 'body')
  return parseJson(text)
}

/** Has the host count the body, and then what is parsed out of it, until the request is answered. */
async function readCounted(c: Context<AppEnv>, maxBytes: number): Promise<unknown> {
  const { openHold, settings, startTimer } = c.var.dependencies
  const hold = openHold(c.var.caller.tenant)
  const leave = c.get('leave')
  c.set('leave', () => {
    leave?.()
    hold.release()
  })
  const bounds = { maxBytes, hold, silenceMs: settings.BODY_SILENCE_MS, startTimer, asItCame: true }
  const text = utf8.decode(await readBody(c.req.raw, bounds))
  if (text === '') return {}
  requireJson(c.req.raw)
  hold.take(parsedBytes(text, requireBoundedJson(text, 'body')), 'parsed')
  return parseJson(text)
}

const utf8 = new TextDecoder()

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
    throw refuse('body', 'must be JSON', cause)
  }
}
