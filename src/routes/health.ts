/** What machines ask before they send work: is it alive, is NATS there, what can it do. */
import { createRoute } from '@hono/zod-openapi'
import { BridgeError } from '../errors.ts'
import { createRouter, noQuery } from '../router.ts'
import { MAX_BATCH_MESSAGES } from '../schemas/batch.ts'
import { json } from '../schemas/examples.ts'
import { MAX_HEADER_BYTES, MAX_HEADERS } from '../schemas/header-bounds.ts'
import { capabilitiesSchema, healthSchema } from '../schemas/health.ts'
import { MAX_JSON_DEPTH, MAX_JSON_VALUES } from '../schemas/json-bounds.ts'
import { LEVEL_OF_2_11, LEVEL_OF_2_12, LEVEL_OF_2_14 } from '../schemas/nats-headers.ts'
import { problems, problemsOf } from '../schemas/problem.ts'

const tags = ['Around it']

const liveRoute = createRoute({
  method: 'get',
  path: '/livez',
  operationId: 'getLiveness',
  tags,
  summary: 'Is the bridge alive',
  description: 'Answers without asking NATS: fit for a liveness probe, without a credential.',
  security: [],
  request: { query: noQuery },
  responses: {
    200: { description: 'Alive.', content: json(healthSchema, 'health') },
    ...problemsOf(['invalid_request', 'forbidden', 'internal']),
  },
})

const readyRoute = createRoute({
  method: 'get',
  path: '/readyz',
  operationId: 'getReadiness',
  tags,
  summary: 'Is NATS there',
  description: 'A round trip to NATS and JetStream: fit for a readiness probe, without a credential.',
  security: [],
  request: { query: noQuery },
  responses: {
    200: { description: 'Ready.', content: json(healthSchema, 'health') },
    ...problemsOf([
      'invalid_request',
      'forbidden',
      'ticket_invalid',
      'internal',
      'jetstream_unavailable',
      'jetstream_timeout',
    ]),
  },
})

const capabilitiesRoute = createRoute({
  method: 'get',
  path: '/v1/capabilities',
  operationId: 'getCapabilities',
  tags,
  summary: 'What this server can do',
  description: 'The version of the NATS server, what it supports of this contract, and the limits in force.',
  request: { query: noQuery },
  responses: {
    200: {
      description: 'The capabilities.',
      content: json(capabilitiesSchema, 'capabilities'),
    },
    ...problems(),
  },
})

export const health = createRouter()
  .openapi(liveRoute, (c) => c.json({ status: 'ok' as const }, 200))
  .openapi(readyRoute, async (c) => {
    try {
      await c.var.dependencies.openSession(c.var.caller).jetstream.ping()
    } catch (failure) {
      const isRefused =
        failure instanceof BridgeError && ['unauthenticated', 'forbidden'].includes(failure.code)
      if (!isRefused) throw failure
      // With AUTH=nats the bridge may have no credential of its own: a refusal shows that NATS answers.
      if (c.var.dependencies.settings.AUTH === 'none')
        throw new BridgeError('jetstream_unavailable', 'NATS refuses the credential of the bridge itself.', {
          cause: failure,
        })
    }
    return c.json({ status: 'ok' as const }, 200)
  })
  .openapi(capabilitiesRoute, async (c) => {
    const { settings } = c.var.dependencies
    const { version, apiLevel, maxPayloadBytes } = await c.var.session.jetstream.server()
    return c.json(
      {
        server: { version, api_level: apiLevel },
        supports: {
          batched_direct_get: apiLevel >= LEVEL_OF_2_11,
          message_ttl: apiLevel >= LEVEL_OF_2_11,
          consumer_pause: apiLevel >= LEVEL_OF_2_11,
          consumer_reset: apiLevel >= LEVEL_OF_2_14,
          counters: apiLevel >= LEVEL_OF_2_12,
          atomic_batches: apiLevel >= LEVEL_OF_2_12,
          message_schedules: apiLevel >= LEVEL_OF_2_12,
          cron_schedules: apiLevel >= LEVEL_OF_2_14,
        },
        limits: {
          max_payload_bytes: maxPayloadBytes,
          max_body_bytes: Math.min(maxPayloadBytes, settings.MAX_BODY_BYTES),
          max_batch_bytes: settings.MAX_BATCH_BYTES,
          max_batch_messages: MAX_BATCH_MESSAGES,
          max_headers: MAX_HEADERS,
          max_header_bytes: MAX_HEADER_BYTES,
          max_json_values: MAX_JSON_VALUES,
          max_json_depth: MAX_JSON_DEPTH,
          max_held_bytes: settings.MAX_MEMORY_BYTES,
          max_memory_bytes: settings.MAX_MEMORY_BYTES,
          max_memory_bytes_per_tenant: Math.min(
            settings.MAX_MEMORY_BYTES,
            settings.MAX_MEMORY_BYTES_PER_TENANT,
          ),
          publish_deadline_ms: settings.PUBLISH_DEADLINE_MS,
          max_publishers: Math.min(settings.MAX_PUBLISHERS, settings.MAX_PUBLISHERS_PER_TENANT),
          max_page_bytes: settings.MAX_PAGE_BYTES,
          max_limit: settings.MAX_PAGE_MESSAGES,
          max_batch: settings.MAX_PULL_BATCH,
          max_wait_ms: settings.MAX_WAIT_MS,
          max_readers: Math.min(settings.MAX_READERS, settings.MAX_READERS_PER_TENANT),
          max_waiting: Math.min(settings.MAX_WAITING, settings.MAX_WAITING_PER_TENANT),
          reader_buffer_bytes: settings.READER_BUFFER_BYTES,
        },
      },
      200,
    )
  })
