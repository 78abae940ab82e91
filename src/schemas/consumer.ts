/** Owns the wire form of durable consumers: JetStream's own configuration and state, durations in milliseconds. */
import { z } from '@hono/zod-openapi'
import type { ConsumerInfo } from '../jetstream.ts'
import { toWire } from './durations.ts'
import { cursorText, deliverySchema } from './message.ts'
import { consumerName, integer, streamName, subjectFilter } from './names.ts'

export const MAX_BATCH = 1_000
export const MAX_WAIT_MS = 60_000

/** What the cursor and the consumer's name stand for is not settable twice. */
export const consumerConfigSchema = z
  .strictObject({
    description: z.string().optional(),
    filter_subjects: z.array(subjectFilter).optional(),
    deliver_policy: z
      .enum(['all', 'last', 'new', 'by_start_sequence', 'by_start_time', 'last_per_subject'])
      .optional()
      .openapi({ description: 'Default `all`; with `cursor` it must be absent.' }),
    opt_start_seq: integer(1).optional(),
    opt_start_time: z.iso.datetime({ offset: true }).optional(),
    cursor: cursorText.optional().openapi({ description: 'Start right after this position.' }),
    ack_policy: z.enum(['explicit', 'all', 'none']).default('explicit'),
    ack_wait_ms: integer(1)
      .optional()
      .openapi({ description: 'How long a delivery may stay unsettled; default 30,000.' }),
    max_deliver: integer(-1).optional(),
    max_ack_pending: integer(-1).optional(),
    backoff_ms: z
      .array(integer(1))
      .optional()
      .openapi({ description: 'Ack wait of the first, second, … delivery.' }),
    inactive_threshold_ms: integer(0)
      .optional()
      .openapi({ description: 'Delete the consumer when nobody used it so long.' }),
    max_waiting: integer(1).optional(),
    num_replicas: integer(0, 5).optional(),
    mem_storage: z.boolean().optional(),
    sample_freq: z.string().optional(),
    headers_only: z.boolean().optional(),
    replay_policy: z.enum(['instant', 'original']).optional(),
    pause_until: z.iso.datetime({ offset: true }).optional(),
    metadata: z.record(z.string(), z.string()).optional(),
  })
  .refine((config) => config.cursor === undefined || config.deliver_policy === undefined, {
    message: 'must not be given together with deliver_policy',
    path: ['cursor'],
  })
  .openapi('ConsumerConfig')

const sequencePair = z.object({
  consumer_seq: integer(0),
  stream_seq: integer(0),
  last_active: z.string().optional(),
})

export const consumerSchema = z
  .object({
    stream: streamName,
    name: consumerName,
    created: z.iso.datetime({ offset: true }),
    config: z.looseObject({}).openapi({ description: 'The configuration in force, as in ConsumerConfig.' }),
    delivered: sequencePair,
    ack_floor: sequencePair,
    num_ack_pending: integer(0),
    num_redelivered: integer(0),
    num_waiting: integer(0),
    num_pending: integer(0),
    paused: z.boolean(),
    cursor: cursorText.openapi({ description: 'The position at the ack floor: all before it is settled.' }),
  })
  .openapi('Consumer')

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
    consumers: z.array(consumerSchema),
    total: integer(0),
    next_offset: integer(0)
      .nullable()
      .openapi({ description: 'Where the next page begins; null at the end.' }),
  })
  .openapi('ConsumerList')

export const pauseSchema = z.strictObject({ pause_until: z.iso.datetime({ offset: true }) }).openapi('Pause')

export const resetSchema = z
  .strictObject({
    seq: integer(1)
      .optional()
      .openapi({ description: 'Deliver again from here; absent: from the ack floor.' }),
  })
  .openapi('Reset')

export const pullSchema = z
  .strictObject({
    batch: integer(1, MAX_BATCH).default(1),
    wait_ms: integer(0, MAX_WAIT_MS)
      .default(0)
      .openapi({ description: 'Wait so long for the first message.' }),
    max_bytes: integer(1)
      .optional()
      .openapi({ description: 'Payload, header and subject bytes; one message always passes.' }),
  })
  .openapi('Pull')

export const pulledSchema = z
  .object({
    messages: z.array(deliverySchema),
    num_pending: integer(0).openapi({ description: 'Messages the consumer has yet to deliver.' }),
  })
  .openapi('Pulled')
