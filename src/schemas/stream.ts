/** The wire form of streams: JetStream's own configuration, with durations in milliseconds. */

import type { StreamInfo } from '../jetstream.ts'
import { MAX_DURATION_MS, MAX_SUBJECTS, metadata, shortText } from './bounds.ts'
import { toWire } from './durations.ts'
import { integer, streamName, subjectFilter } from './names.ts'
import { jetStreamTime } from './times.ts'
import * as z from './zod.ts'

/** Far more than streams have. */
const MAX_SOURCES = 256
const MAX_TAGS = 64

/** Sequences are exact up to 2^53: what begins here has room for as many messages again. */
const MAX_FIRST_SEQ = 2 ** 52

/** -1 is JetStream's word for no limit. */
const limit = integer(-1)
const durationMs = integer(0, MAX_DURATION_MS)

const subjectTransform = z
  .strictObject({
    src: shortText.openapi({ description: 'The subjects it is for.', example: 'orders.*.*' }),
    dest: shortText.openapi({ description: 'What they become.', example: 'sales.{{wildcard(2)}}' }),
  })
  .openapi('SubjectTransform', { description: 'Renames subjects.' })

const source = z
  .strictObject({
    name: streamName,
    opt_start_seq: integer(0).optional().openapi({ description: 'Copy from this sequence on.' }),
    opt_start_time: jetStreamTime.optional().openapi({ description: 'Copy what was stored since.' }),
    filter_subject: shortText.optional().openapi({ description: 'Copy only these subjects.' }),
    subject_transforms: z
      .array(subjectTransform)
      .max(MAX_SUBJECTS)
      .optional()
      .openapi({ description: 'Copy only these subjects, renamed.' }),
    external: z
      .strictObject({
        api: shortText.openapi({ description: "The prefix of that account's or domain's JetStream API." }),
        deliver: shortText.optional().openapi({ description: 'The prefix of the subjects to deliver to.' }),
      })
      .optional()
      .openapi({ description: 'A stream of another account or domain.' }),
  })
  .openapi('StreamSource', { description: 'A stream to copy from.' })

const configFields = {
  description: shortText.optional().openapi({ description: 'For people.' }),
  subjects: z
    .array(subjectFilter)
    .max(MAX_SUBJECTS)
    .optional()
    .openapi({
      description:
        'The subjects it listens on. None may begin with a wildcard, `$` or `_INBOX`: NATS has its own there.',
      example: ['orders.>'],
    }),
  retention: z.enum(['limits', 'interest', 'workqueue']).default('limits').openapi({
    description: 'What removes messages: limits alone, or consumers that are done with them too.',
  }),
  storage: z.enum(['file', 'memory']).default('file').openapi({ description: 'Where messages are kept.' }),
  num_replicas: integer(1, 5).default(1).openapi({ description: 'Copies in the cluster.' }),
  discard: z
    .enum(['old', 'new'])
    .default('old')
    .openapi({ description: 'What goes at a limit: the oldest messages, or the new one.' }),
  discard_new_per_subject: z
    .boolean()
    .optional()
    .openapi({ description: 'With `discard` `new`: refuse at `max_msgs_per_subject` too.' }),
  max_consumers: limit.optional().openapi({ description: 'Consumers at most; -1: no limit.' }),
  max_msgs: limit.optional().openapi({ description: 'Messages at most; -1: no limit.' }),
  max_msgs_per_subject: limit
    .optional()
    .openapi({ description: 'Messages of one subject at most; -1: no limit.' }),
  max_bytes: limit.optional().openapi({ description: 'Bytes at most; -1: no limit.' }),
  max_age_ms: durationMs.optional().openapi({ description: 'Messages older than this go; 0: none do.' }),
  max_msg_size: limit
    .optional()
    .openapi({ description: 'Bytes of one message at most; -1: no limit but that of the server.' }),
  duplicate_window_ms: durationMs
    .optional()
    .openapi({ description: 'How long an Idempotency-Key is remembered.' }),
  no_ack: z
    .boolean()
    .optional()
    .openapi({ description: 'Confirms no publish: a publish over HTTP then fails as unconfirmed.' }),
  compression: z.enum(['none', 's2']).optional().openapi({ description: 'How files are compressed.' }),
  first_seq: integer(0, MAX_FIRST_SEQ).optional().openapi({
    description: 'The sequence of the first message ever; at most 2^52, which leaves room for as many.',
  }),
  subject_transform: subjectTransform
    .openapi({ description: 'Renames subjects before messages are stored.' })
    .optional(),
  republish: z
    .strictObject({
      src: shortText.optional().openapi({ description: 'Only these subjects.' }),
      dest: shortText.openapi({
        description: 'The subjects to publish them on, which begin with a token of their own.',
      }),
      headers_only: z.boolean().optional().openapi({ description: 'Without the payloads.' }),
    })
    .optional()
    .openapi({ description: 'Publishes what is stored, on NATS itself.' }),
  placement: z
    .strictObject({
      cluster: shortText.optional().openapi({ description: 'The name of the cluster.' }),
      tags: z
        .array(shortText)
        .max(MAX_TAGS)
        .optional()
        .openapi({ description: 'The servers must have them all.' }),
      preferred: shortText.optional().openapi({ description: 'The server that is to lead.' }),
    })
    .optional()
    .openapi({ description: 'Which servers keep it.' }),
  mirror: source.openapi({ description: 'The one stream that this is a copy of.' }).optional(),
  sources: z
    .array(source)
    .max(MAX_SOURCES)
    .optional()
    .openapi({ description: 'Streams whose messages are copied into this one.' }),
  mirror_direct: z
    .boolean()
    .optional()
    .openapi({ description: 'A mirror answers reads for its origin too.' }),
  allow_direct: z
    .boolean()
    .default(true)
    .openapi({ description: 'Lets replicas answer reads by cursor, in batches.' }),
  sealed: z.boolean().optional().openapi({ description: 'Nothing comes in or goes out any more.' }),
  deny_delete: z.boolean().optional().openapi({ description: 'No message can be deleted by itself.' }),
  deny_purge: z.boolean().optional().openapi({ description: 'It cannot be purged.' }),
  allow_rollup_hdrs: z.boolean().optional().openapi({ description: 'Takes `Nats-Rollup` on a publish.' }),
  allow_msg_ttl: z.boolean().optional().openapi({ description: 'Takes `Nats-TTL` on a publish; NATS 2.11.' }),
  subject_delete_marker_ttl_ms: durationMs.optional().openapi({
    description: 'How long a marker stays where the last message of a subject aged out; NATS 2.11.',
  }),
  allow_msg_counter: z
    .boolean()
    .optional()
    .openapi({ description: 'Its messages are counters, by `Nats-Incr`; NATS 2.12.' }),
  allow_atomic: z
    .boolean()
    .optional()
    .openapi({ description: 'Takes batches that are stored as a whole; NATS 2.12.' }),
  allow_batched: z
    .boolean()
    .optional()
    .openapi({ description: 'Takes batches that are confirmed together; NATS 2.14.' }),
  allow_msg_schedules: z
    .boolean()
    .optional()
    .openapi({ description: 'Takes messages to be delivered later; NATS 2.12.' }),
  persist_mode: z
    .enum(['default', 'async'])
    .optional()
    .openapi({ description: '`async`: confirms a publish before it is on disk; NATS 2.12.' }),
  consumer_limits: z
    .strictObject({
      inactive_threshold_ms: durationMs
        .optional()
        .openapi({ description: 'Their longest `inactive_threshold_ms`.' }),
      max_ack_pending: limit.optional().openapi({ description: 'Their largest `max_ack_pending`.' }),
    })
    .optional()
    .openapi({ description: 'What consumers of it may have, and have by default.' }),
  metadata: metadata.optional().openapi({ description: 'Whatever else is to be known of it.' }),
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
    created: z.iso
      .datetime({ offset: true })
      .openapi({ description: 'When it was made: another stream under its name has another time.' }),
    state: z
      .object({
        messages: integer(0).openapi({ description: 'Messages it holds.' }),
        bytes: integer(0).openapi({ description: 'Bytes it holds.' }),
        first_seq: integer(0).openapi({
          description: 'Sequence of the oldest message; rounded beyond 2^53.',
        }),
        first_ts: z.string().openapi({ description: 'When that was stored.' }),
        last_seq: integer(0).openapi({ description: 'The last sequence given out.' }),
        last_ts: z.string().openapi({ description: 'When that was stored.' }),
        num_subjects: integer(0).openapi({ description: 'Subjects that have messages.' }),
        num_deleted: integer(0).openapi({ description: 'Sequences between first and last that are gone.' }),
        consumer_count: integer(0).openapi({ description: 'Consumers it has.' }),
      })
      .openapi({ description: 'What it holds now.' }),
  })
  .openapi('Stream', { description: 'A stream: its configuration and its state.' })

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
    streams: z.array(streamSchema).openapi({ description: 'By name.' }),
    total: integer(0).openapi({ description: 'How many there are on all pages.' }),
    next_offset: integer(0)
      .nullable()
      .openapi({ description: 'Where the next page begins; null at the end.' }),
  })
  .openapi('StreamList', { description: 'A page of the streams.' })

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
  .openapi('Purge', { description: 'Which messages to remove; all where nothing is said.' })

export const purgedSchema = z
  .object({ purged: integer(0).openapi({ description: 'Messages removed.' }) })
  .openapi('Purged', { description: 'What a purge has removed.' })

export const subjectCountsSchema = z
  .object({
    subjects: z
      .record(z.string(), integer(0))
      .openapi({ description: 'Messages by subject.', example: { 'orders.eu.42': 3 } }),
    next_offset: integer(0)
      .nullable()
      .openapi({ description: 'Where the next page begins; null at the end.' }),
  })
  .openapi('SubjectCounts', { description: 'A page of the subjects that have messages.' })
