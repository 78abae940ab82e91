/** The wire form of durable consumers: JetStream's own configuration and state, durations in milliseconds. */

import type { ConsumerInfo } from '../jetstream.ts'
import { MAX_DURATION_MS, MAX_SUBJECTS, metadata, shortText } from './bounds.ts'
import { toWire } from './durations.ts'
import { cursorText, deliverySchema } from './message.ts'
import { consumerName, integer, streamName, subjectFilter } from './names.ts'
import { problemSchema } from './problem.ts'
import { errorEventSchema } from './read.ts'
import { anyTime, jetStreamTime } from './times.ts'
import * as z from './zod.ts'

export const MAX_BATCH = 1_000
/** Far more than anybody waits for. */
const MAX_BACKOFF_STEPS = 1_000
export const MAX_WAIT_MS = 60_000

/** What the cursor and the consumer's name stand for is not settable twice. */
export const consumerConfigSchema = z
  .strictObject({
    description: shortText.optional().openapi({ description: 'For people.' }),
    filter_subjects: z
      .array(subjectFilter)
      .max(MAX_SUBJECTS)
      .optional()
      .openapi({
        description: 'Deliver only these subjects; absent: every message.',
        example: ['orders.eu.>'],
      }),
    deliver_policy: z
      .enum(['all', 'last', 'new', 'by_start_sequence', 'by_start_time', 'last_per_subject'])
      .optional()
      .openapi({ description: 'Default `all`; with `cursor` it must be absent.' }),
    opt_start_seq: integer(1)
      .optional()
      .openapi({ description: 'With `by_start_sequence`: the first sequence to deliver.' }),
    opt_start_time: jetStreamTime
      .optional()
      .openapi({ description: 'With `by_start_time`: deliver what was stored since.' }),
    cursor: cursorText.optional().openapi({ description: 'Start right after this position.' }),
    ack_policy: z.enum(['explicit', 'all', 'none']).default('explicit').openapi({
      description:
        '`explicit`: each delivery is acknowledged. `all`: with those before it. `none`: not at all.',
    }),
    ack_wait_ms: integer(1, MAX_DURATION_MS)
      .optional()
      .openapi({ description: 'How long a delivery may stay unsettled; default 30,000.' }),
    max_deliver: integer(-1)
      .optional()
      .openapi({ description: 'How often a message is delivered at most; -1, the default: for ever.' }),
    max_ack_pending: integer(-1).optional().openapi({
      description: 'Deliveries that may be unsettled at a time; default 1,000, -1: no limit.',
    }),
    backoff_ms: z
      .array(integer(1, MAX_DURATION_MS))
      .max(MAX_BACKOFF_STEPS)
      .optional()
      .openapi({ description: 'Ack wait of the first, second, … delivery.' }),
    inactive_threshold_ms: integer(0, MAX_DURATION_MS)
      .optional()
      .openapi({ description: 'Delete the consumer when nobody used it so long.' }),
    max_waiting: integer(1)
      .optional()
      .openapi({ description: 'Pulls that may wait at a time; default 512.' }),
    max_batch: integer(1)
      .optional()
      .openapi({ description: 'Messages that one pull may ask JetStream for; pulls here stay within it.' }),
    max_bytes: integer(1)
      .optional()
      .openapi({ description: 'The same in bytes; a larger message comes alone.' }),
    max_expires_ms: integer(1).optional().openapi({
      description: 'How long one pull may wait at JetStream; a longer `wait_ms` here waits several times.',
    }),
    num_replicas: integer(0, 5)
      .optional()
      .openapi({ description: 'Copies of its state; 0, the default: as many as the stream has.' }),
    mem_storage: z.boolean().optional().openapi({ description: 'Keep its state in memory.' }),
    sample_freq: shortText
      .optional()
      .openapi({ description: 'The share of acks that JetStream reports on, in percent.', example: '100' }),
    headers_only: z.boolean().optional().openapi({ description: 'Deliver messages without their payloads.' }),
    replay_policy: z
      .enum(['instant', 'original'])
      .optional()
      .openapi({ description: '`original`: at the pace they were stored. Default `instant`.' }),
    pause_until: anyTime.optional().openapi({ description: 'Deliver nothing before; NATS 2.11.' }),
    metadata: metadata.optional().openapi({ description: 'Whatever else is to be known of it.' }),
  })
  .refine((config) => config.cursor === undefined || config.deliver_policy === undefined, {
    message: 'must not be given together with deliver_policy',
    path: ['cursor'],
  })
  .openapi('ConsumerConfig', {
    description: "JetStream's configuration of a durable consumer; what is absent is the server's default.",
  })

const sequencePair = z
  .object({
    consumer_seq: integer(0).openapi({ description: 'Counts deliveries.' }),
    stream_seq: integer(0).openapi({ description: 'The sequence in the stream.' }),
    last_active: z.string().optional().openapi({ description: 'When it last moved.' }),
  })
  .openapi('SequencePair', { description: 'How far a consumer is.' })

export const consumerSchema = z
  .object({
    stream: streamName,
    name: consumerName,
    created: z.iso.datetime({ offset: true }).openapi({ description: 'When it was made.' }),
    config: z.looseObject({}).openapi({ description: 'The configuration in force, as in ConsumerConfig.' }),
    delivered: sequencePair.openapi({ description: 'The last delivery.' }),
    ack_floor: sequencePair.openapi({ description: 'Up to here everything is settled.' }),
    num_ack_pending: integer(0).openapi({ description: 'Deliveries that are not settled yet.' }),
    num_redelivered: integer(0).openapi({ description: 'Those among them delivered more than once.' }),
    num_waiting: integer(0).openapi({ description: 'Pulls that wait for a message.' }),
    num_pending: integer(0).openapi({ description: 'Messages it has yet to deliver.' }),
    paused: z.boolean().openapi({ description: 'It delivers nothing for now.' }),
    cursor: cursorText.openapi({ description: 'The position at the ack floor: all before it is settled.' }),
  })
  .openapi('Consumer', { description: 'A durable consumer: its configuration and its state.' })

export function encodeConsumer(info: ConsumerInfo, cursor: string): z.output<typeof consumerSchema> {
  const { filter_subject, durable_name: _, name: __, ...config } = info.config
  return {
    stream: info.stream_name,
    name: info.name,
    created: info.created,
    config: toWire(
      typeof filter_subject === 'string' ? { ...config, filter_subjects: [filter_subject] } : config,
    ),
    delivered: info.delivered,
    ack_floor: info.ack_floor,
    num_ack_pending: info.num_ack_pending,
    num_redelivered: info.num_redelivered,
    num_waiting: info.num_waiting,
    num_pending: info.num_pending,
    paused: info.paused ?? false,
    cursor,
  }
}

export const consumerListSchema = z
  .object({
    consumers: z.array(consumerSchema).openapi({ description: 'By name.' }),
    total: integer(0).openapi({ description: 'How many there are on all pages.' }),
    next_offset: integer(0)
      .nullable()
      .openapi({ description: 'Where the next page begins; null at the end.' }),
  })
  .openapi('ConsumerList', { description: 'A page of the consumers of a stream.' })

export const pauseSchema = z
  .strictObject({
    pause_until: anyTime.openapi({ description: 'Deliver nothing before.' }),
  })
  .openapi('Pause', { description: 'How long a consumer is to pause.' })

export const resetSchema = z
  .strictObject({
    seq: integer(1)
      .optional()
      .openapi({ description: 'Deliver again from here; absent: from the ack floor.' }),
  })
  .openapi('Reset', { description: 'Where a consumer is to go on.' })

export const pullSchema = z
  .strictObject({
    batch: integer(1, MAX_BATCH).default(1).openapi({ description: 'Messages at most.' }),
    wait_ms: integer(0, MAX_WAIT_MS).default(0).openapi({
      description:
        'Wait so long for the first message; granted up to `max_wait_ms` of `GET /v1/capabilities`, by default 45000.',
    }),
    max_bytes: integer(1)
      .optional()
      .openapi({ description: 'Payload, header and subject bytes; one message always passes.' }),
  })
  .openapi('Pull', { description: 'How much to pull, and how long to wait.' })

export const pulledSchema = z
  .object({
    messages: z.array(deliverySchema).openapi({ description: 'In the order of delivery.' }),
    num_pending: integer(0).openapi({ description: 'Messages the consumer has yet to deliver.' }),
    error: problemSchema.optional().openapi({
      description: 'The pull failed after its answer had begun with white space: there are no messages.',
    }),
  })
  .openapi('Pulled', { description: 'Messages handed out, each to be settled by its `ack_token`.' })

export const consumerEventSchema = z
  .union([
    z
      .object({
        id: z.string().openapi({ description: 'Lets a ticket reconnect; it is no position to read from.' }),
        event: z.literal('message').openapi({ description: 'The name of the event.' }),
        data: deliverySchema,
      })
      .openapi('DeliveryEvent', { description: 'One message, to be settled by its `ack_token`.' }),
    errorEventSchema,
  ])
  .openapi('ConsumerEvent', {
    description: 'One server-sent event: `data` is JSON on one line. Comments are heartbeats.',
  })
