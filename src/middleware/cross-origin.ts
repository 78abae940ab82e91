/** Which browser pages may call: those of listed origins and of the bridge itself, and no others. */
import type { Context } from 'hono'
import { matchedRoutes } from 'hono/route'
import { answer } from '../answer.ts'
import type { AppEnv, Caller } from '../context.ts'
import { BridgeError } from '../errors.ts'
import type { PublicAddress } from '../public-address.ts'

const PREFLIGHT_SECONDS = 7_200
const METHODS = 'GET, HEAD, POST, PUT, DELETE'
/** Allowed whether a preflight asks for them or not, so that a remembered one holds for the next request, too. */
const REQUEST_HEADERS = [
  'Accept',
  'Authorization',
  'Cache-Control',
  'Content-Encoding',
  'Content-Type',
  'Idempotency-Key',
  'If-Match',
  'If-None-Match',
  'Last-Event-ID',
  'X-Request-Id',
  'baggage',
  'traceparent',
  'tracestate',
]
/** A preflight is answered with so many names that it asked for at most. */
const MAX_ASKED_HEADERS = 64
const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$/
/** What browsers keep from pages, and what proxies in front of the bridge say of a client: neither is a page's to set. */
const NOT_OF_PAGES =
  /^(cookie2?|host|origin|connection|upgrade|te|trailer|transfer-encoding|content-length|forwarded|x-forwarded-.+|x-real-ip|(proxy|sec)-.+)$/
const EXPOSED = 'X-Request-Id, Location, Link, ETag, Retry-After'
const EXPOSE = 'Access-Control-Expose-Headers'
/** What is shown of a text that the client chose. */
const MAX_SHOWN_CHARS = 256

/**
 * Throws `forbidden` for a host that is no name of the loopback where only those are answered: a page may lead a name of its
 * own to this machine, and is then of the bridge's origin.
 */
export function admitHost(c: Context<AppEnv>, publicAddress: PublicAddress): void {
  const called = c.req.header('Host') ?? new URL(c.req.url).host
  if (publicAddress.isLocal(called) && publicAddress.isLocal(authorityOf(c.req.url))) return
  throw new BridgeError(
    'forbidden',
    `This bridge answers on the loopback alone, not as Host ${shown(called)}: name that in PUBLIC_ORIGIN, or set LOOPBACK_ONLY=false.`,
  )
}

function authorityOf(url: string): string {
  const from = url.indexOf('//') + 2
  const to = url.indexOf('/', from)
  return url.slice(from, to === -1 ? undefined : to)
}

/**
 * Marks what a listed origin may read, and answers its preflights. Refuses the rest with `forbidden`: a browser would
 * hide the answer from the page, but not undo what the request did.
 */
export function admitOrigin(
  c: Context<AppEnv>,
  listed: ReadonlySet<string>,
  publicAddress: PublicAddress,
): Response | undefined {
  const origin = c.req.header('Origin')
  if (origin === undefined || publicAddress.isOwn(origin, c.req.url)) return undefined
  if (!listed.has(origin)) throw refuseOrigin(origin, authorityOf(c.req.url))
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
      Vary: `${headers.Vary}, Access-Control-Request-Method, Access-Control-Request-Headers`,
    },
  })
}

function refuseOrigin(origin: string, host: string): BridgeError {
  return new BridgeError(
    'forbidden',
    `Pages of the origin ${shown(origin)} may not call: it is not in CORS_ORIGINS, and not the bridge's own, which was called ` +
      `as Host ${shown(host)}. Behind a proxy that passes on another Host, name the bridge's origin in PUBLIC_ORIGIN.`,
  )
}

const shown = (text: string) => text.slice(0, MAX_SHOWN_CHARS)

/** What takes work although it is a GET. Anything but a GET is taken to change something. */
const TAKES_WORK: ReadonlySet<string> = new Set(['/v1/streams/:stream/consumers/:consumer/messages'])
const ONLY_READS = new Set(['GET', 'HEAD', 'OPTIONS'])

/** What a browser says of a request that its user made, or a page of the bridge. */
const OWN_SITES = new Set(['same-origin', 'none'])

/**
 * Throws `forbidden` where a page of another origin has the browser change something, or take work, by what the caller has
 * without saying so: the bridge's own credential. An image or a form need not send an `Origin`; browsers say in
 * `Sec-Fetch-Site` whose they are. Whoever sends a credential or a ticket of its own is no such page.
 */
export function admitAmbient(c: Context<AppEnv>, { credential, ticket }: Caller): void {
  if (credential.kind !== 'own' || ticket) return
  const site = c.req.header('Sec-Fetch-Site')
  // An origin that was sent has been looked at.
  if (site === undefined || OWN_SITES.has(site) || c.req.header('Origin') !== undefined) return
  if (ONLY_READS.has(c.req.method) && !matchedRoutes(c).some(({ path }) => TAKES_WORK.has(path))) return
  throw new BridgeError(
    'forbidden',
    `A page of another site may not do this without an Origin that is in CORS_ORIGINS (Sec-Fetch-Site is ${shown(site)}).`,
  )
}

/** Lets a page that may read the answer read these headers of it, too. */
export function exposeAlso(c: Context<AppEnv>, ...names: readonly string[]): void {
  const headers = c.get('headers')
  if (headers[EXPOSE] !== undefined) headers[EXPOSE] = [headers[EXPOSE], ...names].join(', ')
}

/**
 * A listed page may send any header that pages can send: it may send a credential, so that no other header gives it more,
 * and what libraries add for tracing and caching has no end. What the bridge does not know it does not read.
 */
function allowedHeaders(asked = ''): string {
  const names = asked
    .split(',', MAX_ASKED_HEADERS)
    .map((name) => name.trim().toLowerCase())
    .filter((name) => HEADER_NAME.test(name) && !NOT_OF_PAGES.test(name))
  return [...REQUEST_HEADERS, ...names].join(', ')
}
