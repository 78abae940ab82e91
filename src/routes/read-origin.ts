/** What the three representations of a read share: where it begins, and by whose right. */
import type { Context } from 'hono'
import type { AppEnv } from '../context.ts'
import { BridgeError, refuse } from '../errors.ts'
import type { CursorScope, ReadOrigin } from '../reading.ts'
import type { ReadQuery } from '../schemas/read.ts'
import { start as startSchema } from '../schemas/read.ts'
import type { Ticket } from '../tokens/ticket.ts'

/** What to read, from where. */
export interface Reading {
  readonly filters: readonly string[]
  readonly scope: CursorScope
  readonly from: ReadOrigin
}

/**
 * Settles a read: a `Last-Event-ID` (server-sent events alone), a `cursor`, or a `start`.
 * Throws `cursor_invalid`, `cursor_mismatch`, `ticket_invalid`.
 */
export function settleReading(
  c: Context<AppEnv>,
  stream: string,
  query: ReadQuery,
  byDefault: 'beginning' | 'new',
): Reading {
  const { ticket } = c.var.caller
  if (ticket) return settleTicketed(c, stream, query, ticket)
  if (query.cursor !== undefined && query.start !== undefined)
    throw refuse('start', 'must not be given together with cursor')
  const filters = query.subject
  const scope = c.var.session.cursors.scope(stream, filters)
  const cursor = (byDefault === 'new' ? lastEventIdOf(c) : undefined) || query.cursor
  const from = cursor ? { position: scope.open(cursor) } : { start: query.start ?? { at: byDefault } }
  return { filters, scope, from }
}

/** The event after which a client resumes: some clients can send no header and say it in the URL. Empty: none. */
export function lastEventIdOf(c: Context<AppEnv>): string {
  return c.req.header('Last-Event-ID') || c.req.query('lastEventId') || ''
}

/** With a ticket, the ticket says all there is to say. */
function settleTicketed(c: Context<AppEnv>, stream: string, query: ReadQuery, ticket: Ticket): Reading {
  const { subject, ticket: _, payload: __, format: ___, lastEventId: ____, ...rest } = query
  const said = Object.entries({ ...rest, subject: subject.length > 0 ? subject : undefined })
  const [unwanted] = said.find(([, value]) => value !== undefined) ?? []
  if (unwanted !== undefined) throw refuse(unwanted, 'is fixed by the ticket')
  if (ticket.stream !== stream || ticket.consumer !== '')
    throw new BridgeError('ticket_invalid', 'The ticket is for something else.')

  const scope = c.var.session.cursors.scope(stream, ticket.subjects)
  const resumed = useTicket(c, ticket, (lastEventId) => scope.openOwn(lastEventId))
  if (resumed) return { filters: ticket.subjects, scope, from: { position: resumed } }
  const from = ticket.cursor
    ? { position: scope.open(ticket.cursor) }
    : { start: startSchema.parse(ticket.start || 'new') }
  return { filters: ticket.subjects, scope, from }
}

/**
 * Opens by a ticket: within its first minute freely, then only with a `Last-Event-ID` that `open` takes.
 * Throws `ticket_invalid`.
 */
export function useTicket<Resumed>(
  c: Context<AppEnv>,
  ticket: Ticket,
  open: (lastEventId: string) => Resumed,
): Resumed | undefined {
  const now = c.var.dependencies.now()
  const lastEventId = lastEventIdOf(c)
  if (lastEventId && now <= ticket.validUntilMs) return open(lastEventId)
  if (!lastEventId && now <= ticket.openUntilMs) return undefined
  throw new BridgeError('ticket_invalid', 'The ticket is no longer good for this: get another.')
}
