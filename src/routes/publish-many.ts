/** Publishes of many messages, and of CloudEvents: what their body is, by its type. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { AppEnv } from '../context.ts'
import { BridgeError, refuse } from '../errors.ts'
import { isLinesType, LINES_TYPE, LINES_TYPES, mediaTypeOf } from '../media-types.ts'
import { createRouter, noQuery, parseInput } from '../router.ts'
import { batchSchema, MAX_BATCH_MESSAGES, resultLineSchema, resultsSchema } from '../schemas/batch.ts'
import { cloudEventSchema } from '../schemas/cloud-event.ts'
import { EVENT_BATCH_TYPE, EVENT_TYPE } from '../schemas/cloud-event-headers.ts'
import { examplesOf, json, ofTypes } from '../schemas/examples.ts'
import { MAX_SUBJECT_BYTES } from '../schemas/names.ts'
import { outgoingSchema } from '../schemas/outgoing.ts'
import { problems } from '../schemas/problem.ts'
import { publishedSchema } from '../schemas/publish.ts'
import * as z from '../schemas/zod.ts'
import { publishedAnswer } from './publish.ts'
import { answerBatch, BATCH_TYPE } from './publish-batch.ts'
import { answerBinaryEvent, answerEvent, answerEvents, SUBJECT_HEADER } from './publish-events.ts'
import { answerLines } from './publish-lines.ts'

/** A template is no longer than the subject that it makes may be. */
const MAX_TEMPLATE_CHARS = MAX_SUBJECT_BYTES
const template = z.string().min(1).max(MAX_TEMPLATE_CHARS)

const eventQuery = z.strictObject({
  subject: template.optional().openapi({
    description:
      'Of CloudEvents: the NATS subject, in which `{type}` stands for the attribute `type`, and so for each. Default ' +
      "`{subject}`: the event's own.",
    example: 'events.{type}',
  }),
})

const publishMessagesRoute = createRoute({
  method: 'post',
  path: '/v1/messages',
  operationId: 'publishMessages',
  tags: ['Publish'],
  summary: 'Publish many messages, or CloudEvents',
  description:
    'Newline-delimited JSON is answered in the same: a result for each message, in their order, the first while the request ' +
    'is still being sent. Results have to be read meanwhile, since no more lines are taken than results are: a client, or a proxy, that ' +
    'reads nothing before it has sent everything gets through with some thousands of lines at a time. Where results stay ' +
    'unread for 10 s (`UNREAD_RESULTS_MS`) while lines come, nothing more is published, and the last line of the answer is ' +
    '`results_unread`, whose `next_index` is the first message that was not: send those again. A JSON batch is answered with the results of all, or with `atomic` stored as a whole or not at all; what was refused then says so in ' +
    '`results` of the problem. A CloudEvent is stored in binary mode, once for each `source` and `id`: an event in JSON is ' +
    'answered as a publish of one message is, a batch of them as a batch; so is one with `ce-*` headers and any other body. ' +
    'A body may be sent with `Content-Encoding: gzip`. How many JSON values and headers it may have is in ' +
    '`GET /v1/capabilities`: lines have a bound each, a batch one for all of it.',
  request: {
    query: eventQuery,
    headers: z.object({
      [SUBJECT_HEADER]: template
        .optional()
        .openapi({ description: 'Of CloudEvents: the same as the query parameter `subject`.' }),
    }),
    body: {
      required: true,
      content: {
        ...json(batchSchema, 'batch', 'batchAtomic'),
        ...ofTypes(LINES_TYPES, {
          schema: outgoingSchema,
          examples: examplesOf('outgoing', 'outgoingLater'),
        }),
        [EVENT_TYPE]: { schema: cloudEventSchema, examples: examplesOf('cloudEvent') },
        [EVENT_BATCH_TYPE]: {
          schema: z.array(cloudEventSchema).max(MAX_BATCH_MESSAGES),
          examples: examplesOf('cloudEvents'),
        },
      },
    },
  },
  responses: {
    200: {
      description: 'What became of each message. Of one event: the stream had it already.',
      content: {
        ...json(z.union([resultsSchema, publishedSchema]), 'publishResults', 'duplicate'),
        ...ofTypes(LINES_TYPES, {
          schema: resultLineSchema,
          examples: examplesOf('storedLine', 'failedLine', 'publishEnd'),
        }),
      },
    },
    201: publishedAnswer('The event is stored.', 'published'),
    ...problems(
      'subject_not_found',
      'precondition_failed',
      'idempotency_conflict',
      'batch_incomplete',
      'batch_refused',
      'batch_too_large',
      'batches_in_flight',
      'payload_too_large',
      'results_unread',
      'unsupported_media_type',
      'publish_unconfirmed',
      'publish_unconfirmed_keyed',
      'stream_full',
      'host_full',
    ),
  },
})

export const publishMany = createRouter()

// The contract alone: a body is read as it comes, or each message of it by itself.
publishMany.openAPIRegistry.registerPath(publishMessagesRoute)

publishMany.post(publishMessagesRoute.getRoutingPath(), async (c) => {
  for (const name of OF_ONE_MESSAGE)
    if (c.req.header(name) !== undefined) throw refuse(name, 'is for a publish of one message alone')
  const type = mediaTypeOf(c.req.header('Content-Type'))
  if (c.req.header('ce-specversion') !== undefined) return await answerBinaryEvent(c, readTemplate(c))
  if (type === EVENT_TYPE) return await answerEvent(c, readTemplate(c))
  if (type === EVENT_BATCH_TYPE) return await answerEvents(c, readTemplate(c))
  parseInput(noQuery, c.req.query())
  if (isLinesType(type)) return await answerLines(c, type)
  if (type === BATCH_TYPE) return await answerBatch(c)
  throw new BridgeError(
    'unsupported_media_type',
    `Content-Type must be ${[LINES_TYPE, BATCH_TYPE, EVENT_TYPE, EVENT_BATCH_TYPE].join(', ')}.`,
  )
})

/** Headers that would be passed over here, though they change what a publish of one message does. */
const OF_ONE_MESSAGE = ['idempotency-key', 'if-match', 'if-none-match']

function readTemplate(c: Context<AppEnv>): string | undefined {
  const { subject } = parseInput(eventQuery, c.req.query())
  const said = c.req.header(SUBJECT_HEADER)
  if (subject !== undefined && said !== undefined)
    throw refuse(SUBJECT_HEADER, 'must not be given together with the query parameter subject')
  return subject ?? (said === undefined ? undefined : parseInput(template, said))
}
