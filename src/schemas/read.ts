/** The wire form of reads by cursor: the query, the page, and the events of a stream. */

import type { Start } from '../reading.ts'
import { MAX_PASSED_CHARS } from './bounds.ts'
import { cloudEventSchema } from './cloud-event.ts'
import { cursorQuery, cursorText, messageSchema, payloadForm } from './message.ts'
import { queryInteger, subjectFilters, withLists } from './names.ts'
import { problemSchema } from './problem.ts'
import { isJetStreamTime } from './time.ts'
import * as z from './zod.ts'

/** As long as a token may be. */
const MAX_ID_CHARS = 8_192

export const MAX_LIMIT = 1_000
export const DEFAULT_LIMIT = 100
const MAX_WAIT_MS = 60_000
const MAX_TAIL = 100_000
const MAX_PAGE_BYTES = 64 * 1_024 * 1_024

/** The longest is a time with nanoseconds and an offset. */
const MAX_START_CHARS = 64

/** Reads `seq:42` and the like. Undefined where the text is no start. */
function parseStart(text: string): Start | undefined {
  switch (text) {
    case 'beginning':
    case 'new':
    case 'last':
    case 'last_per_subject':
      return { at: text }
  }
  const [, kind, value = ''] = /^(seq|time|tail):(.+)$/.exec(text) ?? []
  const count = /^\d{1,16}$/.test(value) ? Number(value) : 0
  if (kind === 'seq' && count >= 1 && count <= Number.MAX_SAFE_INTEGER) return { at: 'seq', seq: count }
  if (kind === 'tail' && count >= 1 && count <= MAX_TAIL) return { at: 'tail', count }
  if (kind === 'time' && isJetStreamTime(value)) return { at: 'time', time: value }
  return undefined
}

/** Where to begin, as written. */
export const startText = z
  .string()
  .max(MAX_START_CHARS)
  .refine((text) => parseStart(text) !== undefined, {
    message: `must be beginning, new, last, last_per_subject, seq:N, time:RFC3339 or tail:N (N up to ${MAX_TAIL})`,
  })
  .openapi({
    type: 'string',
    description:
      'Where to begin without a cursor: `beginning`, `new`, `last`, `last_per_subject`, `seq:42`, ' +
      '`time:2026-11-20T10:00:00Z`, `tail:10`. Default `beginning`, for server-sent events `new`.',
    example: 'tail:10',
  })

export const start = startText.transform((text): Start => parseStart(text) ?? { at: 'beginning' })

/** A parameter without a value is one that is not there: a client may write it before it has anything to say. */
const absentWhereEmpty = (text: string | undefined) => text || undefined

export const lastEventId = z
  .string()
  .max(MAX_ID_CHARS)
  .optional()
  .transform(absentWhereEmpty)
  .openapi({
    description:
      'Resume server-sent events right after this event, where a client cannot send `Last-Event-ID`: the header goes before it, ' +
      'and it goes before `cursor`.',
  })

const query = z.strictObject({
  subject: subjectFilters,
  cursor: cursorQuery,
  lastEventId,
  start: start.optional(),
  limit: queryInteger(1, MAX_LIMIT)
    .optional()
    .openapi({
      description: `Messages at most. Default ${DEFAULT_LIMIT} for a page, none for NDJSON; not for server-sent events.`,
    }),
  max_bytes: queryInteger(1, MAX_PAGE_BYTES).optional().openapi({
    description: "Payload bytes of a page; one message always passes. Bounded by the server's own limit.",
  }),
  wait_ms: queryInteger(0, MAX_WAIT_MS)
    .optional()
    .openapi({
      description:
        'Hold the request so long until there is at least one message. Default 0. Granted up to `max_wait_ms` of ' +
        '`GET /v1/capabilities`, by default 45000: common proxies give up at 50 or 60 s.',
    }),
  on_gap: z
    .enum(['error', 'skip'])
    .optional()
    .openapi({
      description:
        'What to do where the stream now begins behind the cursor, since retention or a purge removed what came next. ' +
        'Default `error`, for server-sent events `skip`. What was removed behind a message that is still there is no gap: ' +
        'messages that were deleted one by one, replaced under `max_msgs_per_subject`, rolled up, purged by subject, or ' +
        'that outlived their `Nats-TTL` are left out in silence.',
    }),
  payload: payloadForm,
  format: z.enum(['cloudevents']).optional().openapi({
    description:
      'Of server-sent events: each message as a CloudEvent. Pages of events are asked for by `Accept`.',
  }),
  ticket: z
    .string()
    .max(MAX_PASSED_CHARS)
    .optional()
    .openapi({ description: 'A ticket from `POST /v1/tickets`, for server-sent events alone.' }),
})

export const readQuery = withLists(['subject'], query)

export type ReadQuery = z.output<typeof readQuery>

const gapShape = {
  from_seq: z.number().int().openapi({ description: 'First sequence that is gone.' }),
  to_seq: z.number().int().openapi({ description: 'Last sequence that is gone.' }),
  reason: z.enum(['removed']).openapi({ description: 'By retention or a purge.' }),
}

const gapSchema = z.object(gapShape).openapi('Gap', {
  description: 'Sequences that were removed from the beginning of the stream before the reader came to them.',
})

const endShape = {
  cursor: cursorText,
  up_to_date: z.boolean().openapi({ description: 'Nothing more was there when the answer was made.' }),
}

export const pageSchema = z
  .object({
    messages: z.array(messageSchema).openapi({ description: 'In the order of the stream; may be empty.' }),
    ...endShape,
    gap: gapSchema.optional(),
  })
  .openapi('Page', {
    description:
      'Messages after a position. `cursor` is always there: it moves past what the filter left out.',
  })

export const ndjsonLineSchema = z
  .union([
    messageSchema,
    z.object({ gap: gapSchema }).openapi('GapLine', {
      description: 'With `on_gap=skip`: comes before the messages behind the gap.',
    }),
    z.object(endShape).openapi('EndLine', { description: 'The last line.' }),
    z.object({ error: problemSchema }).openapi('ErrorLine', {
      description: 'The last line of a read that failed after it had begun.',
    }),
  ])
  .openapi('ReadLine', { description: 'One line of newline-delimited JSON.' })

const event = <Name extends string, Data extends z.ZodType>(name: Name, data: Data) =>
  z.object({
    id: cursorText
      .optional()
      .openapi({ description: 'The position right after this event: what `Last-Event-ID` resumes from.' }),
    event: z.literal(name).openapi({ description: 'The name of the event.' }),
    data,
  })

export const errorEventSchema = event('error', problemSchema).openapi('ErrorEvent', {
  description: 'The stream failed and ends.',
})

export const tailEventSchema = z
  .union([
    event('message', messageSchema).openapi('MessageEvent', { description: 'One message.' }),
    event('message', cloudEventSchema).openapi('MessageCloudEvent', {
      description: 'One message, with `format=cloudevents`.',
    }),
    event('caught_up', z.object({ cursor: cursorText }).openapi({ description: 'Where that is.' })).openapi(
      'CaughtUpEvent',
      {
        description: 'History has been read; what follows is live.',
      },
    ),
    event(
      'gap',
      z.object({ ...gapShape, cursor: cursorText }).openapi({ description: 'Which, and where it goes on.' }),
    ).openapi('GapEvent', {
      description: 'Sequences that were removed before the reader came to them; what follows is behind them.',
    }),
    errorEventSchema,
  ])
  .openapi('TailEvent', {
    description:
      'One server-sent event: `id` is a cursor, `data` is JSON on one line. Comments are heartbeats; where nothing matched ' +
      'for long they carry a fresh `id`.',
  })
