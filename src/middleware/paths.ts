/** What the target of a request may be: percent-encoded UTF-8, its path without segments that a URL parser would take away. */
import type { Context } from 'hono'
import { matchedRoutes } from 'hono/route'
import type { AppEnv } from '../context.ts'
import { BridgeError, refuse } from '../errors.ts'

/** Node's server takes a head of 16 KiB; hono looks through a query again and again, so that workerd needs the same bound. */
const MAX_TARGET_CHARS = 16_384
const BAD_ENCODING = 'must be percent-encoded UTF-8'
const DOT_SEGMENT = /\/(?:\.|%2e){1,2}(?:\/|$)/i

/**
 * Looks at the path as the client sent it. Node's URL parser resolves `..`, also where it is encoded, so that another route
 * would run; hono leaves what is no UTF-8 as it stands, so that it would become part of a name or a filter. Throws `not_found`, `invalid_request`.
 */
export function requirePlainPath(c: Context<AppEnv>): void {
  const target = c.env?.incoming?.url ?? c.req.url
  if (target.length > MAX_TARGET_CHARS) throw refuse('url', `must be at most ${MAX_TARGET_CHARS} characters`)
  if (!target.includes('%') && !target.includes('/.')) return
  const [whole = ''] = target.split('#', 1)
  const [path = ''] = whole.split('?', 1)
  if (DOT_SEGMENT.test(path)) throw new BridgeError('not_found', 'There is nothing at this path.')
  if (!isDecodable(path)) throw refuse(badParameter(c, path), BAD_ENCODING)
  const pairs = whole.slice(path.length + 1)
  if (!isDecodable(pairs)) throw refuse(badPair(pairs), BAD_ENCODING)
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}

/** The name of the parameter that cannot be decoded; `path` where it is no parameter. */
function badParameter(c: Context<AppEnv>, path: string): string {
  const segments = path.replace(/^https?:\/\/[^/]*/i, '').split('/')
  const bad = segments.findIndex((segment) => !isDecodable(segment))
  const name = matchedRoutes(c).at(-1)?.path.split('/')[bad] ?? ''
  return name.startsWith(':') ? name.slice(1) : 'path'
}

/** The name of the query parameter that cannot be decoded; `query` where it is the name itself. */
function badPair(pairs: string): string {
  const [name = ''] = (pairs.split('&').find((pair) => !isDecodable(pair)) ?? '').split('=', 1)
  return isDecodable(name) && name !== '' ? decodeURIComponent(name) : 'query'
}
