/** Who asks: a credential out of the request, and the tenant it is. NATS decides what it may do. */
import { createHash } from 'node:crypto'
import { getPath } from 'hono/utils/url'
import type { Caller, Dependencies } from '../context.ts'
import { BridgeError } from '../errors.ts'
import type { NatsCredential } from '../jetstream.ts'
import { RecentCallers } from './recent-callers.ts'

/** Bounds what one caller can make the bridge keep. */
const MAX_CREDENTIAL_CHARS = 4_096

/** What asks nothing of JetStream, and so of nobody. What `/metrics` asks is its own affair. */
const PUBLIC_PATHS = new Set(['/', '/livez', '/docs', '/openapi.json', '/metrics'])

/** What a ticket may open; anywhere else it is a parameter that nobody knows. */
const EVENTS_PATH = /^\/v1\/streams\/[^/]+\/(consumers\/[^/]+\/)?messages$/

/** Whether server-sent events are at a path, as hono reads it. */
export function isEventsPath(path: string): boolean {
  return EVENTS_PATH.test(path)
}

export function isPublic(path: string): boolean {
  return PUBLIC_PATHS.has(path)
}

/**
 * Who sends a request: by its ticket, by its `Authorization`, or the bridge's own credential with AUTH=none.
 * A ticket is opened here; what it opens is checked where it is used. Throws `unauthenticated`, `ticket_invalid`.
 */
export function identify(request: Request, { settings, tickets }: Dependencies): Caller {
  const token = readTicket(request)
  if (token !== null) {
    const ticket = tickets.open(token)
    if (!ticket) throw new BridgeError('ticket_invalid', 'The ticket cannot be read.')
    // One made with AUTH=none reads by the bridge's own credential, which with AUTH=nats is nobody's.
    if ((ticket.credential.kind === 'own') !== (settings.AUTH === 'none'))
      throw new BridgeError('ticket_invalid', 'The ticket is of another kind of bridge.')
    return { credential: ticket.credential, tenant: tenantOf(ticket.credential), ticket }
  }
  // Readiness is asked by machines that have no credential: it tells nothing but that NATS answers.
  if (settings.AUTH === 'none' || getPath(request) === '/readyz') return OWN_CALLER
  const authorization = request.headers.get('Authorization') ?? ''
  return recentCallers.get(authorization) ?? callerOf(readAuthorization(authorization))
}

const recentCallers = new RecentCallers()

const callerOf = (credential: NatsCredential): Caller => ({ credential, tenant: tenantOf(credential) })

/** Remembers whom NATS has accepted, and forgets whom it refuses: nobody else is worth any memory. */
export function rememberCaller(request: Request, caller: Caller, isAccepted: boolean): void {
  if (caller.ticket || caller.credential.kind === 'own') return
  const authorization = request.headers.get('Authorization') ?? ''
  if (isAccepted) recentCallers.accepted(authorization, caller)
  else recentCallers.refused(authorization)
}

/** The ticket of a request. Parsing a URL costs more than all else here, so one that cannot hold any is not parsed. */
function readTicket(request: Request): string | null {
  const { url } = request
  const query = url.indexOf('?')
  const mayHoldOne = query !== -1 && (url.includes('ticket', query) || url.includes('%', query))
  if (!mayHoldOne || !isEventsPath(getPath(request))) return null
  return new URL(url).searchParams.get('ticket')
}

const OWN_CALLER: Caller = { credential: { kind: 'own' }, tenant: 'own' }

function readAuthorization(header: string): NatsCredential {
  if (!header)
    throw new BridgeError('unauthenticated', 'Send a NATS user (Basic) or token (Bearer) in Authorization.')
  const [, scheme = '', value = ''] = /^(\w+) +(\S+)$/.exec(header) ?? []
  if (value === '' || value.length > MAX_CREDENTIAL_CHARS) throw malformed()
  if (scheme.toLowerCase() === 'bearer') return { kind: 'token', token: value }
  if (scheme.toLowerCase() !== 'basic') throw malformed()
  const pair = Buffer.from(value, 'base64').toString('utf8')
  const colon = pair.indexOf(':')
  if (colon < 1) throw malformed()
  return { kind: 'user', user: pair.slice(0, colon), password: pair.slice(colon + 1) }
}

const malformed = () =>
  new BridgeError('unauthenticated', 'Authorization must be Basic or Bearer, well formed.')

/** A name for a credential that does not show it: equal credentials, and no others, share it. */
function tenantOf(credential: NatsCredential): string {
  switch (credential.kind) {
    case 'own':
      return 'own'
    case 'user':
      return digest('user', credential.user, credential.password)
    case 'token':
      return digest('token', credential.token)
  }
}

function digest(...parts: string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
}
