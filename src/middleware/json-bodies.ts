/** Owns what a JSON body may be: declared as JSON, and of a bounded size. */
import type { MiddlewareHandler } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import type { AppEnv } from '../context.ts'
import { BridgeError } from '../errors.ts'
import { refuseBody } from '../read-body.ts'

/** A thousand ack tokens, with room to spare. */
const MAX_JSON_BYTES = 1_048_576
const JSON_TYPE = /^application\/json\s*(;|$)/i

const bounded = bodyLimit({
  maxSize: MAX_JSON_BYTES,
  onError: (c) => refuseBody(c.req.raw, MAX_JSON_BYTES),
})

/**
 * Throws `unsupported_media_type`, `payload_too_large`. The type is insisted on because a page of any origin can send
 * `text/plain` without asking first, but not JSON. A request without a body passes: some operations need none.
 */
export const jsonBodies: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { method } = c.req
  if (method !== 'POST' && method !== 'PUT') return next()
  const type = c.req.header('Content-Type')
  if (type === undefined && hasNoBody(c.req.raw)) return next()
  if (!JSON_TYPE.test(type ?? '')) {
    throw new BridgeError('unsupported_media_type', 'Send the body as Content-Type: application/json.')
  }
  return bounded(c, next)
}

function hasNoBody(request: Request): boolean {
  return request.body === null || request.headers.get('Content-Length') === '0'
}
