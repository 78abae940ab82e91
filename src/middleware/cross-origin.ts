/** Owns which browser pages may call: those of listed origins and of the bridge itself, and no others. */
import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../context.ts'
import { BridgeError } from '../errors.ts'

const PREFLIGHT_SECONDS = 7_200
const METHODS = 'GET, HEAD, POST, PUT, DELETE'
const REQUEST_HEADERS = [
  'Accept',
  'Authorization',
  'Content-Type',
  'Idempotency-Key',
  'If-Match',
  'If-None-Match',
  'Last-Event-ID',
  'X-Request-Id',
  'traceparent',
  'tracestate',
]
/** Header families of a publish, of which each name is allowed when a preflight asks for it. */
const REQUEST_HEADER_FAMILIES = /^(natsh|nats|ce)-[a-z0-9-]+$/
const EXPOSED = 'X-Request-Id, Location, Link, ETag, Retry-After'

/**
 * Answers preflights, marks what a listed origin may read, and refuses the rest with `forbidden`: a browser would hide
 * the answer from the page, but not undo what the request did.
 */
export function crossOrigin(origins: readonly string[]): MiddlewareHandler<AppEnv> {
  const listed = new Set(origins)
  return async (c, next) => {
    const origin = c.req.header('Origin')
    c.header('Vary', 'Origin')
    if (origin === undefined || isSameHost(origin, c.req.url)) return next()
    if (!listed.has(origin)) throw new BridgeError('forbidden', 'The origin of the page may not call.')
    c.header('Access-Control-Allow-Origin', origin)
    c.header('Access-Control-Expose-Headers', EXPOSED)
    if (c.req.method !== 'OPTIONS' || !c.req.header('Access-Control-Request-Method')) return next()
    c.header('Access-Control-Allow-Methods', METHODS)
    c.header('Access-Control-Allow-Headers', allowedHeaders(c.req.header('Access-Control-Request-Headers')))
    c.header('Access-Control-Max-Age', String(PREFLIGHT_SECONDS))
    return c.body(null, 204)
  }
}

/** A proxy in front may end TLS, so the scheme does not count. */
function isSameHost(origin: string, url: string): boolean {
  return URL.canParse(origin) && new URL(origin).host === new URL(url).host
}

function allowedHeaders(asked = ''): string {
  const ofFamilies = asked
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => REQUEST_HEADER_FAMILIES.test(name))
  return [...REQUEST_HEADERS, ...ofFamilies].join(', ')
}
