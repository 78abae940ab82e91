/** Tickets: how a browser page gets to open an `EventSource`, which cannot send a credential. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { AppEnv } from '../context.ts'
import { refuse } from '../errors.ts'
import { createRouter, noQuery } from '../router.ts'
import { json } from '../schemas/examples.ts'
import { problems } from '../schemas/problem.ts'
import { ticketRequestSchema, ticketSchema } from '../schemas/ticket.ts'
import { fromMs } from '../schemas/time.ts'

/** How long a ticket opens without a `Last-Event-ID`. */
const OPEN_MS = 60_000

const createTicketRoute = createRoute({
  method: 'post',
  path: '/v1/tickets',
  operationId: 'createTicket',
  tags: ['Browsers'],
  summary: 'Make a URL that an EventSource can open',
  description:
    'A ticket opens one stream with one filter, by the right of the credential that asked for it. A URL may end up in a ' +
    'log: after a minute it is good for a reconnect alone.',
  request: {
    query: noQuery,
    body: { required: true, content: json(ticketRequestSchema, 'ticketRequest', 'ticketRequestConsumer') },
  },
  responses: {
    201: { description: 'The ticket.', content: json(ticketSchema, 'ticket') },
    ...problems(
      'stream_not_found',
      'consumer_not_found',
      'cursor_invalid',
      'cursor_mismatch',
      'payload_too_large',
      'unsupported_media_type',
    ),
  },
})

export const tickets = createRouter().openapi(createTicketRoute, async (c) => {
  const { stream, subjects, start, cursor, consumer } = c.req.valid('json')
  await checkReadable(c, stream, subjects, cursor, consumer)
  const { now, publicAddress, settings, tickets } = c.var.dependencies
  const openUntilMs = now() + OPEN_MS
  const validUntilMs = now() + settings.TICKET_VALID_MS
  const ticket = tickets.seal({
    credential: c.var.caller.credential,
    stream,
    subjects,
    consumer: consumer ?? '',
    start: start ?? '',
    cursor: cursor ?? '',
    openUntilMs,
    validUntilMs,
  })
  if (ticket === undefined) throw refuse('subjects', 'are too long to go into a URL')
  const under = consumer === undefined ? '' : `/consumers/${encodeURIComponent(consumer)}`
  const path = `/v1/streams/${encodeURIComponent(stream)}${under}/messages`
  const url = publicAddress.urlOf(path, { url: c.req.url, origin: c.req.header('Origin') })
  // A proxy in front may end TLS, and a page of an https site may not open an http URL.
  if (/^https\b/i.test(c.req.header('X-Forwarded-Proto') ?? '')) url.protocol = 'https:'
  url.searchParams.set('ticket', ticket)
  return c.json(
    { ticket, url: url.href, open_until: fromMs(openUntilMs), valid_until: fromMs(validUntilMs) },
    201,
  )
})

/** A ticket for what its credential cannot see would only fail later, where nobody reads the reason. */
async function checkReadable(
  c: Context<AppEnv>,
  stream: string,
  subjects: readonly string[],
  cursor: string | undefined,
  consumer: string | undefined,
) {
  const { jetstream, cursors } = c.var.session
  if (cursor !== undefined) cursors.scope(stream, subjects).open(cursor)
  if (consumer === undefined) await jetstream.streamInfo(stream)
  else await jetstream.consumerInfo(stream, consumer)
}
