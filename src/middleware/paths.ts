/** What the path of a request may be: percent-encoded UTF-8, without segments that a URL parser would take away. */
import type { Context } from 'hono'
import { matchedRoutes } from 'hono/route'
import type { AppEnv } from '../context.ts'
import { BridgeError, refuse } from '../errors.ts'

/** Node's server takes a head of 16 KiB; hono looks through a query again and again, so that workerd needs the same bound. */
const MAX_TARGET_CHARS = 16_384
const DOT_SEGMENT = /\/(?:\.|%2e){1,2}(?:\/|$)/i

/**
 * Looks at the path as the client sent it. Node's URL parser resolves `..`, also where it is encoded, so that another route
 * would run; hono leaves what is no UTF-8 as it stands, so that it would become part of a name. Throws `not_found`, `invalid_request`.
 */
export function requirePlainPath(c: Context<AppEnv>): void {
  const target = c.env?.incoming?.url ?? c.req.url
  if (target.length > MAX_TARGET_CHARS) throw refuse('url', `must be at most ${MAX_TARGET_CHARS} characters`)
  if (!target.includes('%') && !target.includes('/.')) return
  const [path = ''] = target.split(/[?#]/, 1)
  if (DOT_SEGMENT.test(path)) throw new BridgeError('not_found', 'There is nothing at this path.')
  if (!isDecodable(path)) throw refuse(badParameter(c, path), 'must be percent-encoded UTF-8')
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
