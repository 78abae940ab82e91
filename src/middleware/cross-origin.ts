/** Owns which browser pages may call: those of listed origins and of the bridge itself, and no others. */
import type { Context } from 'hono'
import { answer } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { BridgeError } from '../errors.ts'

const PREFLIGHT_SECONDS = 7_200
const METHODS = 'GET, HEAD, POST, PUT, DELETE'
const REQUEST_HEADERS = [
  'Accept',
  'Authorization',
  'Content-Encoding',
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
const EXPOSE = 'Access-Control-Expose-Headers'

/**
 * Marks what a listed origin may read, and answers its preflights. Refuses the rest with `forbidden`: a browser would
 * hide the answer from the page, but not undo what the request did.
 */
export function admitOrigin(c: Context<AppEnv>, listed: ReadonlySet<string>): Response | undefined {
  const origin = c.req.header('Origin')
  if (origin === undefined || isSameHost(origin, c.req.url)) return undefined
  if (!listed.has(origin)) throw new BridgeError('forbidden', 'The origin of the page may not call.')
  const headers = c.get('headers')
  headers['Access-Control-Allow-Origin'] = origin
  headers[EXPOSE] = EXPOSED
  if (c.req.method !== 'OPTIONS' || !c.req.header('Access-Control-Request-Method')) return undefined
  return answer(c, null, {
    status: 204,
    headers: {
      'Access-Control-Allow-Methods': METHODS,
      'Access-Control-Allow-Headers': allowedHeaders(c.req.header('Access-Control-Request-Headers')),
      'Access-Control-Max-Age': String(PREFLIGHT_SECONDS),
    },
  })
}

/** Lets a page that may read the answer read these headers of it, too. */
export function exposeAlso(c: Context<AppEnv>, ...names: readonly string[]): void {
  const headers = c.get('headers')
  if (headers[EXPOSE] !== undefined) headers[EXPOSE] = [headers[EXPOSE], ...names].join(', ')
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
