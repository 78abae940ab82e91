/** Owns the wire form of streams: JetStream's own configuration, with durations in milliseconds. */
import { z } from '@hono/zod-openapi'
import type { StreamInfo } from '../jetstream.ts'
import { toWire } from './durations.ts'
import { integer, streamName, subjectFilter } from './names.ts'

/** -1 is JetStream's word for no limit. */
const limit = integer(-1)
const durationMs = integer(0)

const subjectTransform = z.strictObject({ src: z.string(), dest: z.string() })

const source = z
  .strictObject({
    name: streamName,
    opt_start_seq: integer(0).optional(),
    opt_start_time: z.iso.datetime({ offset: true }).optional(),
    filter_subject: z.string().optional(),
    subject_transforms: z.array(subjectTransform).optional(),
    external: z.strictObject({ api: z.string(), deliver: z.string().optional() }).optional(),
  })
  .openapi('StreamSource')

const configFields = {
  description: z.string().optional(),
  subjects: z
    .array(subjectFilter)
    .optional()
    .openapi({ description: 'The subjects it listens on.', example: ['orders.>'] }),
  retention: z.enum(['limits', 'interest', 'workqueue']).default('limits'),
  storage: z.enum(['file', 'memory']).default('file'),
  num_replicas: integer(1, 5).default(1),
  discard: z.enum(['old', 'new']).default('old'),
  discard_new_per_subject: z.boolean().optional(),
  max_consumers: limit.optional(),
  max_msgs: limit.optional(),
  max_msgs_per_subject: limit.optional(),
  max_bytes: limit.optional(),
  max_age_ms: durationMs.optional().openapi({ description: 'Messages older than this go; 0: none do.' }),
  max_msg_size: limit.optional(),
  duplicate_window_ms: durationMs
    .optional()
    .openapi({ description: 'How long an Idempotency-Key is remembered.' }),
  no_ack: z.boolean().optional(),
  compression: z.enum(['none', 's2']).optional(),
  first_seq: integer(0).optional(),
  subject_transform: subjectTransform.optional(),
  republish: z
    .strictObject({ src: z.string().optional(), dest: z.string(), headers_only: z.boolean().optional() })
    .optional(),
  placement: z
    .strictObject({
      cluster: z.string().optional(),
      tags: z.array(z.string()).optional(),
      preferred: z.string().optional(),
    })
    .optional(),
  mirror: source.optional(),
  sources: z.array(source).optional(),
  mirror_direct: z.boolean().optional(),
  allow_direct: z
    .boolean()
    .default(true)
    .openapi({ description: 'Lets replicas answer reads by cursor, in batches.' }),
  sealed: z.boolean().optional(),
  deny_delete: z.boolean().optional(),
  deny_purge: z.boolean().optional(),
  allow_rollup_hdrs: z.boolean().optional(),
  allow_msg_ttl: z.boolean().optional(),
  subject_delete_marker_ttl_ms: durationMs.optional(),
  allow_msg_counter: z.boolean().optional(),
  allow_atomic: z.boolean().optional(),
  allow_batched: z.boolean().optional(),
  allow_msg_schedules: z.boolean().optional(),
  persist_mode: z.enum(['default', 'async']).optional(),
  consumer_limits: z
    .strictObject({ inactive_threshold_ms: durationMs.optional(), max_ack_pending: limit.optional() })
    .optional(),
  metadata: z.record(z.string(), z.string()).optional(),
}

export const streamConfigSchema = z
  .strictObject({ name: streamName, ...configFields })
  .openapi('StreamConfig', {
    description: "JetStream's stream configuration; what is absent is the server's default.",
  })

export const streamUpdateSchema = z
  .strictObject({ name: streamName.optional(), ...configFields })
  .openapi('StreamUpdate', { description: 'The whole new configuration of the stream in the path.' })

export const streamSchema = z
  .object({
    config: z
      .looseObject({ name: streamName })
      .openapi({ description: 'The configuration in force, as in StreamConfig.' }),
    created: z.iso.datetime({ offset: true }),
    state: z.object({
      messages: integer(0),
      bytes: integer(0),
      first_seq: integer(0),
      first_ts: z.string(),
      last_seq: integer(0),
      last_ts: z.string(),
      num_subjects: integer(0),
      num_deleted: integer(0),
      consumer_count: integer(0),
    }),
  })
  .openapi('Stream')

export function encodeStream(info: StreamInfo): z.output<typeof streamSchema> {
  const { messages, bytes, first_seq, first_ts, last_seq, last_ts, consumer_count } = info.state
  return {
    config: { ...toWire(info.config), name: info.config.name },
    created: info.created,
    state: {
      messages,
      bytes,
      first_seq,
      first_ts,
      last_seq,
      last_ts,
      num_subjects: info.state.num_subjects ?? 0,
      num_deleted: info.state.num_deleted ?? 0,
      consumer_count,
    },
  }
}

export const streamListSchema = z
  .object({
    streams: z.array(streamSchema),
    total: integer(0),
    next_offset: integer(0)
      .nullable()
      .openapi({ description: 'Where the next page begins; null at the end.' }),
  })
  .openapi('StreamList')

export const purgeSchema = z
  .strictObject({
    filter: subjectFilter.optional().openapi({ description: 'Only messages of these subjects.' }),
    seq: integer(1).optional().openapi({ description: 'Up to, not including, this sequence.' }),
    keep: integer(0)
      .optional()
      .openapi({ description: 'Keep so many of the newest. Not together with `seq`.' }),
  })
  .refine((purge) => purge.seq === undefined || purge.keep === undefined, {
    message: 'must not be given together with seq',
    path: ['keep'],
  })
  .openapi('Purge')

export const purgedSchema = z.object({ purged: integer(0) }).openapi('Purged')

export const subjectCountsSchema = z
  .object({
    subjects: z
      .record(z.string(), integer(0))
      .openapi({ description: 'Messages by subject.', example: { 'orders.eu.42': 3 } }),
    next_offset: integer(0)
      .nullable()
      .openapi({ description: 'Where the next page begins; null at the end.' }),
  })
  .openapi('SubjectCounts')
