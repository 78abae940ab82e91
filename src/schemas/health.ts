/** The wire form of what the bridge says of itself and its server. */

import { integer } from './names.ts'
import * as z from './zod.ts'

export const healthSchema = z
  .object({ status: z.literal('ok').openapi({ description: 'Anything else is a problem.' }) })
  .openapi('Health', { description: 'All is well.' })

export const capabilitiesSchema = z
  .object({
    server: z
      .object({
        version: z.string().openapi({ description: 'Its release.', example: '2.15.1' }),
        api_level: integer(0).openapi({
          description: "JetStream's API level; 0 before NATS 2.11.",
          example: 5,
        }),
      })
      .openapi({ description: 'The NATS server.' }),
    supports: z
      .object({
        batched_direct_get: z
          .boolean()
          .openapi({ description: 'History is read in batches from any replica.' }),
        message_ttl: z.boolean().openapi({ description: '`Nats-TTL` on a publish.' }),
        consumer_pause: z.boolean().openapi({ description: 'Pausing and resuming consumers.' }),
        consumer_reset: z.boolean().openapi({ description: 'Resetting consumers.' }),
        counters: z.boolean().openapi({ description: '`Nats-Incr` on a publish, and `incr`.' }),
        atomic_batches: z.boolean().openapi({ description: 'Batches with `atomic`.' }),
        message_schedules: z
          .boolean()
          .openapi({ description: '`Nats-Schedule` with a time, and `deliver_at`.' }),
        cron_schedules: z.boolean().openapi({
          description: '`Nats-Schedule` with cron, time zones and sources, and `cancel_schedule`.',
        }),
      })
      .openapi({
        description: 'What works on this server; the rest is `not_supported`, or read in another way.',
      }),
    limits: z
      .object({
        max_payload_bytes: integer(0).openapi({ description: 'Payload and headers of one message.' }),
        max_body_bytes: integer(0).openapi({ description: 'The body of a publish.' }),
        max_batch_bytes: integer(0).openapi({ description: 'A batch in one JSON document, or an event.' }),
        max_batch_messages: integer(0).openapi({
          description: 'Messages of one batch; an atomic one has a limit of its own at the NATS server.',
        }),
        max_headers: integer(0).openapi({ description: 'Header values of one message, over all names.' }),
        max_header_bytes: integer(0).openapi({ description: 'Header names and values of one message.' }),
        max_json_values: integer(0).openapi({
          description: 'Values in one JSON text: a body, or a line of a stream of lines.',
        }),
        max_json_depth: integer(0).openapi({ description: 'How deeply they may be nested.' }),
        max_held_bytes: integer(0).openapi({ description: 'What `max_memory_bytes` was called first.' }),
        max_memory_bytes: integer(0).openapi({
          description:
            'What one host, on Workers one isolate, holds in memory for all its clients: bodies, what is parsed out of them, ' +
            'answers that are not taken, and what waits for live readers.',
        }),
        max_memory_bytes_per_tenant: integer(0).openapi({
          description: 'What it holds for this credential; one request alone may have more.',
        }),
        publish_deadline_ms: integer(0).openapi({
          description: 'How long a publish with a key is tried again after JetStream went away under it.',
        }),
        max_publishers: integer(0).openapi({
          description: 'Requests of this credential at one host that publish many messages.',
        }),
        max_page_bytes: integer(0).openapi({ description: 'Payload bytes of one page or pull.' }),
        max_limit: integer(0).openapi({
          description: 'Messages of one page; who asks for more gets so many.',
        }),
        max_batch: integer(0).openapi({
          description: 'Messages of one pull; who asks for more gets so many.',
        }),
        max_wait_ms: integer(0).openapi({
          description: 'How long a read or pull may wait; who asks for longer waits so long.',
        }),
        max_readers: integer(0).openapi({
          description: 'Readers of server-sent events that this credential may have at one host.',
        }),
        max_waiting: integer(0).openapi({
          description: 'Reads and pulls of this credential that may wait at one host.',
        }),
        reader_buffer_bytes: integer(0).openapi({
          description: 'What a slow reader may leave unread before it goes back to catching up.',
        }),
      })
      .openapi({ description: 'The limits in force.' }),
  })
  .openapi('Capabilities', { description: 'What the bridge can do with its NATS server.' })
