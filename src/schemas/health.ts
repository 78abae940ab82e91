/** Owns the wire form of what the bridge says of itself and its server. */
import { z } from '@hono/zod-openapi'
import { integer } from './names.ts'

export const healthSchema = z.object({ status: z.literal('ok') }).openapi('Health')

export const capabilitiesSchema = z
  .object({
    server: z.object({
      version: z.string().openapi({ example: '2.15.1' }),
      api_level: integer(0).openapi({
        description: "JetStream's API level; 0 before NATS 2.11.",
        example: 5,
      }),
    }),
    supports: z.object({
      batched_direct_get: z
        .boolean()
        .openapi({ description: 'History is read in batches from any replica.' }),
      message_ttl: z.boolean().openapi({ description: '`Nats-TTL` on a publish.' }),
      consumer_pause: z.boolean(),
      consumer_reset: z.boolean(),
      counters: z.boolean().openapi({ description: '`Nats-Incr` on a publish.' }),
    }),
    limits: z.object({
      max_payload_bytes: integer(0).openapi({ description: 'Payload and headers of one message.' }),
      max_page_bytes: integer(0).openapi({ description: 'Payload bytes of one page or pull.' }),
      max_limit: integer(0).openapi({ description: 'Messages of one page.' }),
      max_batch: integer(0).openapi({ description: 'Messages of one pull.' }),
      max_wait_ms: integer(0),
    }),
  })
  .openapi('Capabilities')
