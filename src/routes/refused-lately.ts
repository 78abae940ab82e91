/**
 * Refusals of a consumer's events. A browser comes back each second to an answer that begins well and ends with an error:
 * what can be known is refused before it begins, and what was refused behind its beginning is so when the client is back.
 */
import type { Context } from 'hono'
import type { AppEnv, Dependencies } from '../context.ts'
import { BridgeError, type ErrorCode } from '../errors.ts'

/** How long a refusal is remembered, ms: longer than a browser takes to come back. */
const REMEMBERED_MS = 5_000
const MAX_REMEMBERED = 1_000
/** What stays as it is until somebody changes a consumer or a permission. */
const LASTING: ReadonlySet<ErrorCode> = new Set(['forbidden', 'refused_by_jetstream', 'not_supported'])

interface Refusal {
  readonly failure: BridgeError
  readonly until: number
}

const byHost = new WeakMap<Dependencies, Map<string, Refusal>>()

function refusalsOf(c: Context<AppEnv>): Map<string, Refusal> {
  const { dependencies } = c.var
  const known = byHost.get(dependencies) ?? new Map<string, Refusal>()
  byHost.set(dependencies, known)
  return known
}

const keyOf = (c: Context<AppEnv>) => `${c.var.caller.tenant} ${c.req.path}`

/** Remembers what ended the events of this path for this caller, where that lasts. */
export function rememberRefusal(c: Context<AppEnv>, failure: unknown): void {
  if (!(failure instanceof BridgeError && LASTING.has(failure.code))) return
  const refusals = refusalsOf(c)
  const [oldest] = refusals.keys()
  if (oldest !== undefined && refusals.size >= MAX_REMEMBERED) refusals.delete(oldest)
  refusals.set(keyOf(c), { failure, until: c.var.dependencies.now() + REMEMBERED_MS })
}

/** Throws what ended the events of this path for this caller moments ago. */
export function throwIfRefused(c: Context<AppEnv>): void {
  const refusals = refusalsOf(c)
  const refusal = refusals.get(keyOf(c))
  if (!refusal) return
  if (c.var.dependencies.now() < refusal.until) throw refusal.failure
  refusals.delete(keyOf(c))
}
