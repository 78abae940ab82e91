/** Reads by cursor: a page, a stream of lines, or server-sent events, by what the client accepts. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { chooseType } from '../accept.ts'
import { answer, eventsHeaders } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { BridgeError, refuse, toProblem } from '../errors.ts'
import type { Hold } from '../holds.ts'
import { EVENTS_TYPE as EVENTS, isLinesType, LINES_TYPES, JSON_TYPE as PAGE } from '../media-types.ts'
import type { Counter } from '../metrics.ts'
import { exposeAlso } from '../middleware/cross-origin.ts'
import type { Page } from '../reading.ts'
import { createRouter } from '../router.ts'
import { MAX_PASSED_CHARS } from '../schemas/bounds.ts'
import { cloudEventSchema } from '../schemas/cloud-event.ts'
import { EVENT_BATCH_TYPE } from '../schemas/cloud-event-headers.ts'
import { examplesOf, json, ofTypes } from '../schemas/examples.ts'
import { streamName } from '../schemas/names.ts'
import { problems } from '../schemas/problem.ts'
import {
  DEFAULT_LIMIT,
  ndjsonLineSchema,
  pageSchema,
  type ReadQuery,
  readQuery,
  tailEventSchema,
} from '../schemas/read.ts'
import * as z from '../schemas/zod.ts'
import { declared } from './answers.ts'
import { answerHeld, holdUntilTaken, streamTaken, takeFirst } from './held-answers.ts'
import { encodeEventBatch, encodeLines, encodePage, type PageForm } from './page-bytes.ts'
import { fitting } from './page-size.ts'
import { openPages, type Pages, type ReadPage } from './pages-ahead.ts'
import { type Reading, settleReading } from './read-origin.ts'

const readMessagesRoute = createRoute({
  method: 'get',
  path: '/v1/streams/{stream}/messages',
  operationId: 'readMessages',
  tags: ['Read'],
  summary: 'Read a stream by cursor',
  description:
    'Reads history and waits for more, without a consumer and without anything kept on the server. Follow `cursor` (or the ' +
    '`Link`) to read on; it may be kept for as long as one likes. `Accept` chooses between a page, newline-delimited JSON ' +
    'until the end of the stream, server-sent events that join history to live, and a page of CloudEvents: each message ' +
    'that is none by itself becomes one. Messages are removed by an ' +
    'interest or workqueue stream when its consumers are done with them: such a stream is not safe to read by cursor.',
  request: {
    params: z.object({ stream: streamName }),
    query: readQuery,
    headers: z.object({
      'last-event-id': z
        .string()
        .max(MAX_PASSED_CHARS)
        .optional()
        .openapi({ description: 'Resume server-sent events right after this event.' }),
    }),
  },
  responses: {
    200: {
      description: 'The messages after the cursor. Each line, and each event, has the shape given.',
      headers: z.object({
        Link: z.string().optional().openapi({ description: 'The next page, `rel="next"`.' }),
        'Sluice-Cursor': z
          .string()
          .optional()
          .openapi({ description: 'Of a page of CloudEvents: its `cursor`.' }),
        'Sluice-Up-To-Date': z
          .enum(['true', 'false'])
          .optional()
          .openapi({ description: 'Of a page of CloudEvents: its `up_to_date`.' }),
        'Sluice-Gap': z.string().optional().openapi({
          description: 'Of a page of CloudEvents: its `gap`, as first and last sequence, `5-7`.',
        }),
      }),
      content: {
        ...json(pageSchema, 'page', 'pageEmpty', 'pageWithGap'),
        ...ofTypes(LINES_TYPES, {
          schema: ndjsonLineSchema,
          examples: examplesOf('message', 'gapLine', 'endLine', 'errorLine'),
        }),
        [EVENT_BATCH_TYPE]: { schema: z.array(cloudEventSchema), examples: examplesOf('cloudEvents') },
        'text/event-stream': {
          schema: tailEventSchema,
          examples: examplesOf('messageEvent', 'cloudEventEvent', 'caughtUpEvent', 'gapEvent', 'errorEvent'),
        },
      },
    },
    ...problems(
      'cursor_invalid',
      'cursor_mismatch',
      'cursor_expired',
      'stream_recreated',
      'stream_not_found',
      'not_acceptable',
      'too_many_readers',
      'host_full',
    ),
  },
})

const FORMS = [PAGE, ...LINES_TYPES, EVENTS, EVENT_BATCH_TYPE]

export const messages = createRouter().openapi(readMessagesRoute, async (c) => {
  const { stream } = c.req.valid('param')
  const query = c.req.valid('query')
  const form = chooseForm(c)
  if (c.var.caller.ticket && form !== EVENTS)
    throw new BridgeError('ticket_invalid', `A ticket opens ${EVENTS} alone.`)
  if (form === EVENTS) return declared(await answerEvents(c, stream, query))
  for (const field of ['format', 'lastEventId'] as const)
    if (query[field] !== undefined) throw refuse(field, 'is for server-sent events alone')
  const reading = settleReading(c, stream, query, 'beginning')
  if (isLinesType(form)) return declared(await answerLines(c, stream, query, reading, form))
  return declared(await answerPage(c, stream, query, reading, form))
})

function chooseForm(c: Context<AppEnv>): string {
  const form = chooseType(c.req.header('Accept'), FORMS)
  if (form === undefined)
    throw new BridgeError('not_acceptable', `Accept must allow one of ${FORMS.join(', ')}.`)
  return form
}

/** A read that finds no room for a page waits so long for it, ms: before its answer has begun, and after. */
const ROOM_MS = 2_000
const ROOM_ON_THE_WAY_MS = 30_000

/** Reads page after page, each going on where the last ended; waits for the first message where `wait_ms` says so. */
function readPages(
  c: Context<AppEnv>,
  stream: string,
  query: ReadQuery,
  { filters, scope, from, hold }: Reading & { readonly hold: Hold },
): ReadPage {
  const { settings, waits } = c.var.dependencies
  const maxBytes = Math.min(query.max_bytes ?? Number.POSITIVE_INFINITY, settings.MAX_PAGE_BYTES)
  const waitMs = Math.min(query.wait_ms ?? 0, settings.MAX_WAIT_MS)
  const request = {
    stream,
    filters,
    scope,
    maxBytes,
    onGap: query.on_gap ?? 'error',
    left: () => c.req.raw.signal,
  } as const
  let origin = from
  let withinMs = ROOM_MS
  let patience = waitMs ? { wait: { forMs: waitMs, signal: c.req.raw.signal } } : undefined
  return async (how) => {
    const room = { hold, withinMs }
    const read = () => c.var.session.reader.page({ ...request, room, from: origin, ...how, ...patience })
    const wait = () =>
      waits.hold(c.var.caller.tenant, () => {
        c.var.waits()
        return read()
      })
    const page = await (patience ? wait() : read())
    origin = { position: page.position }
    withinMs = ROOM_ON_THE_WAY_MS
    patience = undefined
    return page
  }
}

async function answerPage(
  c: Context<AppEnv>,
  stream: string,
  query: ReadQuery,
  reading: Reading,
  form: string,
) {
  const { metrics, openHold, settings } = c.var.dependencies
  const limit = Math.min(query.limit ?? DEFAULT_LIMIT, settings.MAX_PAGE_MESSAGES)
  const hold = openHold(c.var.caller.tenant)
  try {
    // Who does not wait follows a cursor to the next page; who waits is at the end, where there is nothing to ask for.
    const read = await readPages(c, stream, query, { ...reading, hold })({ limit, eager: !query.wait_ms })
    const page = fitting(read, settings.MAX_PAGE_BYTES, query.payload)
    metrics.deliveries.page.add(page.messages.length)
    const cursor = reading.scope.seal(page.position)
    const { path } = c.var.dependencies.publicAddress
    const next = { Link: `<${path}${nextUrl(c.req.url, cursor)}>; rel="next"` }
    const held = { hold, madeOf: page.heldBytes ?? 0 }
    if (form === EVENT_BATCH_TYPE) {
      const said = pageHeaders(page, cursor)
      exposeAlso(c, ...Object.keys(said))
      const headers = { 'Content-Type': form, ...next, ...said }
      return answerHeld(c, encodeEventBatch(page, stream), { ...held, headers })
    }
    const pieces = encodePage(page, formOf(stream, query, reading), cursor)
    return answerHeld(c, pieces, { ...held, headers: { 'Content-Type': PAGE, ...next } })
  } catch (failure) {
    hold.release()
    throw failure
  }
}

/** What a page says besides its messages, where its body has no place for it. */
function pageHeaders({ gap, upToDate }: Page, cursor: string): Record<string, string> {
  return {
    'Sluice-Cursor': cursor,
    'Sluice-Up-To-Date': String(upToDate),
    ...(gap ? { 'Sluice-Gap': `${gap.fromSeq}-${gap.toSeq}` } : {}),
  }
}

const formOf = (stream: string, { payload }: ReadQuery, { scope }: Reading): PageForm => ({
  stream,
  scope,
  form: payload ?? 'text',
})

/** A path on this host, so that it holds behind any proxy. */
function nextUrl(url: string, cursor: string): string {
  const next = new URL(url)
  next.searchParams.delete('start')
  next.searchParams.set('cursor', cursor)
  return next.pathname + next.search
}

async function answerLines(
  c: Context<AppEnv>,
  stream: string,
  query: ReadQuery,
  reading: Reading,
  type: string,
) {
  const { metrics, openHold, startTimer } = c.var.dependencies
  const hold = openHold(c.var.caller.tenant)
  const leave = c.var.session.use()
  const release = () => {
    hold.release()
    leave()
  }
  try {
    const readPage = readPages(c, stream, query, { ...reading, hold })
    const pages = await openPages(readPage, query.limit ?? Number.POSITIVE_INFINITY)
    const pieces = writePages(pages, {
      form: formOf(stream, query, reading),
      requestId: c.var.requestId,
      counted: metrics.deliveries.lines,
      hold,
    })
    const next = async () => (await pieces.next()).value ?? undefined
    const body = streamTaken(next, { startTimer, end: holdUntilTaken(c, release) })
    return answer(c, body, { headers: { 'Content-Type': type } })
  } catch (failure) {
    release()
    throw failure
  }
}

interface WrittenPages {
  readonly form: PageForm
  readonly requestId: string
  readonly counted: Counter
  readonly hold: Hold
}

/** The lines of all pages, the next of which is read while one is taken; a failure is their last line. */
async function* writePages(
  pages: Pages,
  written: WrittenPages,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  try {
    for (let isLast = false; !isLast; ) {
      const page = await writePage(pages, written)
      isLast = page.isLast
      yield* page.first
      if (page.rest) yield* page.rest
      written.hold.give(page.bytes, 'answers')
    }
  } catch (failure) {
    yield new TextEncoder().encode(`${JSON.stringify({ error: toProblem(failure, written.requestId) })}\n`)
  }
}

/**
 * The next page as lines, whole up to 1 MiB: where its messages stay until the client has taken it, collecting garbage adds a
 * quarter to the time of the whole answer. `bytes`: what is counted of it, the lines or, where there are more, both.
 */
async function writePage(pages: Pages, { form, counted, hold }: WrittenPages) {
  const { page, isLast } = await pages.next()
  counted.add(page.messages.length)
  const lines = encodeLines(page, form, isLast)
  const { first, bytes: made, isWhole } = takeFirst(lines)
  const { heldBytes = 0 } = page
  const bytes = isWhole ? made : heldBytes + made
  if (bytes > heldBytes) await hold.wait(bytes - heldBytes, 'answers', ROOM_ON_THE_WAY_MS)
  else hold.give(heldBytes - bytes, 'answers')
  return { isLast, first, rest: isWhole ? undefined : lines, bytes }
}

async function answerEvents(c: Context<AppEnv>, stream: string, query: ReadQuery) {
  if (query.limit !== undefined) throw refuseForEvents('limit')
  if (query.wait_ms !== undefined) throw refuseForEvents('wait_ms')
  if (query.format !== undefined && query.payload !== undefined)
    throw refuse('payload', 'must not be given together with format')
  const { filters, scope, from } = settleReading(c, stream, query, 'new')
  const release = c.var.dependencies.readers.take(c.var.caller.tenant)
  try {
    const body = await c.var.session.reader.tail({
      stream,
      filters,
      scope,
      from,
      form: query.format ?? query.payload ?? 'text',
      onGap: query.on_gap ?? 'skip',
      requestId: c.var.requestId,
      onEnd: release,
      left: () => c.req.raw.signal,
    })
    return answer(c, body, { headers: eventsHeaders })
  } catch (failure) {
    release()
    throw failure
  }
}

const refuseForEvents = (field: string) => refuse(field, 'is not for server-sent events')
