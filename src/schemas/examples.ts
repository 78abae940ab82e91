/** The contract's examples. They tell one story, a shop's orders; operations refer to them by name. */

import type { ackResultsSchema, acksSchema } from './ack.ts'
import type { batchSchema, resultLineSchema, resultsSchema } from './batch.ts'
import type {
  consumerConfigSchema,
  consumerListSchema,
  consumerSchema,
  pulledSchema,
  pullSchema,
} from './consumer.ts'
import type { capabilitiesSchema } from './health.ts'
import type { deliverySchema, messageSchema } from './message.ts'
import type { outgoingSchema } from './outgoing.ts'
import { problemExample } from './problem.ts'
import type { publishedSchema } from './publish.ts'
import type { ndjsonLineSchema, pageSchema, tailEventSchema } from './read.ts'
import type { purgeSchema, streamConfigSchema, streamSchema, streamUpdateSchema } from './stream.ts'
import type { ticketRequestSchema, ticketSchema } from './ticket.ts'
import type * as z from './zod.ts'

const CURSOR = 'c1.k1.mXb0qQ1yq3bN0bVY0Zs5d1m6sT3cJg'
const ACK_TOKEN = 'a1.k1.F0Ex3KbtDgMfQmVSmdgT1IQlpNsR3'
const TICKET = 't1.k1.KLfnimo1vLPe3oDBdqGikkwasG890'

const stored = {
  stream: 'ORDERS',
  subject: 'orders.eu.42',
  seq: 42,
  time: '2026-11-20T10:00:00.123456789Z',
  headers: { 'Content-Type': ['application/json'] },
}
const message: z.input<typeof messageSchema> = { ...stored, data: '{"id":7}', cursor: CURSOR }
const delivery: z.input<typeof deliverySchema> = {
  ...stored,
  data: '{"id":7}',
  ack_token: ACK_TOKEN,
  delivery_count: 1,
  ack_deadline: '2026-11-20T10:00:30.250Z',
}
const gap = { from_seq: 5, to_seq: 7, reason: 'removed' } as const
const config = { subjects: ['orders.>'], max_age_ms: 86_400_000, duplicate_window_ms: 120_000 }
const stream: z.input<typeof streamSchema> = {
  config: { name: 'ORDERS', ...config, storage: 'file', retention: 'limits', max_msgs: -1 },
  created: '2026-11-20T09:00:00Z',
  state: {
    messages: 40,
    bytes: 4_560,
    first_seq: 3,
    first_ts: '2026-11-20T09:01:12.5Z',
    last_seq: 42,
    last_ts: '2026-11-20T10:00:00.123456789Z',
    num_subjects: 12,
    num_deleted: 0,
    consumer_count: 1,
  },
}
const consumerConfig: z.input<typeof consumerConfigSchema> = {
  filter_subjects: ['orders.eu.>'],
  ack_wait_ms: 30_000,
  max_deliver: 5,
}
const consumer: z.input<typeof consumerSchema> = {
  stream: 'ORDERS',
  name: 'billing',
  created: '2026-11-20T09:30:00Z',
  config: { ...consumerConfig, deliver_policy: 'all', ack_policy: 'explicit', max_ack_pending: 1_000 },
  delivered: { consumer_seq: 20, stream_seq: 42, last_active: '2026-11-20T10:00:00.25Z' },
  ack_floor: { consumer_seq: 19, stream_seq: 41, last_active: '2026-11-20T09:59:58.1Z' },
  num_ack_pending: 1,
  num_redelivered: 0,
  num_waiting: 0,
  num_pending: 0,
  paused: false,
  cursor: CURSOR,
}

const cloudEventValue = {
  specversion: '1.0',
  id: 'A234-1234',
  source: '/shop/eu',
  type: 'com.example.order.placed',
  subject: 'orders.eu.42',
  time: '2026-11-20T10:00:00Z',
  datacontenttype: 'application/json',
  data: { id: 7 },
}

const reading = {
  message: example<typeof messageSchema>('The payload is text', message),
  messageBinary: example<typeof messageSchema>('The payload is not text', {
    ...stored,
    headers: {},
    data_base64: '/wD+',
    cursor: CURSOR,
  }),
  page: example<typeof pageSchema>('A page', { messages: [message], cursor: CURSOR, up_to_date: true }),
  pageEmpty: example<typeof pageSchema>('Nothing new', { messages: [], cursor: CURSOR, up_to_date: true }),
  pageWithGap: example<typeof pageSchema>('With `on_gap=skip`, where messages are gone', {
    messages: [message],
    cursor: CURSOR,
    up_to_date: true,
    gap,
  }),
  gapLine: example<typeof ndjsonLineSchema>('A gap', { gap }),
  endLine: example<typeof ndjsonLineSchema>('The last line', { cursor: CURSOR, up_to_date: true }),
  errorLine: example<typeof ndjsonLineSchema>('The last line of a read that failed', {
    error: problemExample('jetstream_unavailable'),
  }),
  messageEvent: example<typeof tailEventSchema>('A message', { id: CURSOR, event: 'message', data: message }),
  cloudEventEvent: {
    summary: 'A message, with `format=cloudevents`',
    value: { id: CURSOR, event: 'message', data: cloudEventValue },
  },
  caughtUpEvent: example<typeof tailEventSchema>('History has been read', {
    id: CURSOR,
    event: 'caught_up',
    data: { cursor: CURSOR },
  }),
  gapEvent: example<typeof tailEventSchema>('A gap', {
    id: CURSOR,
    event: 'gap',
    data: { ...gap, cursor: CURSOR },
  }),
  errorEvent: example<typeof tailEventSchema>('The stream failed and ends', {
    event: 'error',
    data: problemExample('stream_not_found'),
  }),
}

const streams = {
  streamConfig: example<typeof streamConfigSchema>('Orders, kept for a day', { name: 'ORDERS', ...config }),
  streamUpdate: example<typeof streamUpdateSchema>('Orders, kept for a week', {
    ...config,
    max_age_ms: 604_800_000,
  }),
  stream: example<typeof streamSchema>('A stream', stream),
  streamList: { summary: 'The only page', value: { streams: [stream], total: 1, next_offset: null } },
  purgeAll: example<typeof purgeSchema>('Everything', {}),
  purgeOlder: example<typeof purgeSchema>('European orders before sequence 40', {
    filter: 'orders.eu.>',
    seq: 40,
  }),
  purged: { summary: 'Done', value: { purged: 37 } },
  subjectCounts: {
    summary: 'The only page',
    value: { subjects: { 'orders.eu.42': 3, 'orders.us.7': 1 }, next_offset: null },
  },
}

const consuming = {
  consumerConfig: example<typeof consumerConfigSchema>(
    'European orders, tried five times at most',
    consumerConfig,
  ),
  consumerFromCursor: example<typeof consumerConfigSchema>('Goes on where a read by cursor stopped', {
    cursor: CURSOR,
  }),
  consumer: example<typeof consumerSchema>('A consumer', consumer),
  consumerList: example<typeof consumerListSchema>('The only page', {
    consumers: [consumer],
    total: 1,
    next_offset: null,
  }),
  pause: { summary: 'For an hour', value: { pause_until: '2026-11-20T11:00:00Z' } },
  reset: { summary: 'Deliver again from sequence 40', value: { seq: 40 } },
  pull: example<typeof pullSchema>('Up to 10, waiting for 5 s', { batch: 10, wait_ms: 5_000 }),
  pulled: example<typeof pulledSchema>('One message', { messages: [delivery], num_pending: 0 }),
  pulledNothing: example<typeof pulledSchema>('None came in time', { messages: [], num_pending: 0 }),
  deliveryEvent: { summary: 'A message', value: { id: CURSOR, event: 'message', data: delivery } },
  acks: example<typeof acksSchema>('One of each', {
    acks: [
      { token: ACK_TOKEN, action: 'ack' },
      { token: ACK_TOKEN, action: 'nak', delay_ms: 5_000 },
      { token: ACK_TOKEN, action: 'progress' },
      { token: ACK_TOKEN, action: 'term', reason: 'No such customer' },
    ],
  }),
  ackResults: example<typeof ackResultsSchema>('Done, too late, renewed, refused', {
    results: [
      { status: 'ok' },
      { status: 'stale' },
      { status: 'ok', ack_token: ACK_TOKEN, ack_deadline: '2026-11-20T10:01:00.5Z' },
      { error: problemExample('ack_token_invalid') },
    ],
  }),
}

const storedResult = { index: 0, stream: 'ORDERS', seq: 42, duplicate: false }
const failedResult = { index: 1, error: problemExample('precondition_failed') }
const publishing = {
  outgoing: example<typeof outgoingSchema>('An order, stored once', {
    subject: 'orders.eu.42',
    json: { id: 7 },
    id: 'order-7',
  }),
  outgoingLater: example<typeof outgoingSchema>('Delivered later', {
    subject: 'schedules.orders.42',
    data: 'Your order is on its way',
    deliver_at: '2026-11-21T09:00:00Z',
    schedule_target: 'orders.eu.42',
  }),
  batch: example<typeof batchSchema>('Two messages, each by itself', {
    messages: [
      { subject: 'orders.eu.42', data: '{"id":7}', id: 'order-7' },
      { subject: 'orders.eu.43', data_base64: '/wD+', expected_last_subject_seq: 0 },
    ],
  }),
  batchAtomic: example<typeof batchSchema>('All or none', {
    messages: [
      { subject: 'accounts.1', json: { balance: 90 }, expected_last_subject_seq: 40 },
      { subject: 'accounts.2', json: { balance: 110 }, expected_last_subject_seq: 41 },
    ],
    atomic: true,
  }),
  cloudEvent: { summary: 'An event', value: cloudEventValue },
  cloudEvents: { summary: 'A batch of one event', value: [cloudEventValue] },
  publishResults: example<typeof resultsSchema>('One stored, one refused', {
    results: [storedResult, failedResult],
  }),
  storedLine: example<typeof resultLineSchema>('Stored', storedResult),
  failedLine: example<typeof resultLineSchema>('Refused', failedResult),
  publishEnd: example<typeof resultLineSchema>('The last line, where JetStream went away', {
    error: problemExample('jetstream_unavailable'),
  }),
}

const others = {
  published: example<typeof publishedSchema>('Stored', {
    stream: 'ORDERS',
    seq: 42,
    duplicate: false,
    cursor: CURSOR,
  }),
  duplicate: example<typeof publishedSchema>('Known already', {
    stream: 'ORDERS',
    seq: 42,
    duplicate: true,
    cursor: CURSOR,
  }),
  payload: { summary: 'JSON, or any other bytes', value: '{"id":7}' },
  ticketRequest: example<typeof ticketRequestSchema>('European orders from now on', {
    stream: 'ORDERS',
    subjects: ['orders.eu.>'],
  }),
  ticketRequestConsumer: example<typeof ticketRequestSchema>('The messages of a durable consumer', {
    stream: 'ORDERS',
    consumer: 'billing',
  }),
  ticket: example<typeof ticketSchema>('A ticket', {
    ticket: TICKET,
    url: `https://sluice.example.com/v1/streams/ORDERS/messages?ticket=${TICKET}`,
    open_until: '2026-11-20T10:01:00.250Z',
    valid_until: '2026-11-20T11:00:00.250Z',
  }),
  health: { summary: 'All is well', value: { status: 'ok' } },
  capabilities: example<typeof capabilitiesSchema>('A server of the 2.15 line', {
    server: { version: '2.15.1', api_level: 5 },
    supports: {
      batched_direct_get: true,
      message_ttl: true,
      consumer_pause: true,
      consumer_reset: true,
      counters: true,
      atomic_batches: true,
      message_schedules: true,
      cron_schedules: true,
    },
    limits: {
      max_payload_bytes: 1_048_576,
      max_body_bytes: 1_048_576,
      max_batch_bytes: 8_388_608,
      max_batch_messages: 10_000,
      max_headers: 1_000,
      max_header_bytes: 65_536,
      max_json_values: 100_000,
      max_json_depth: 1_000,
      max_held_bytes: 536_870_912,
      max_memory_bytes: 536_870_912,
      max_memory_bytes_per_tenant: 268_435_456,
      publish_deadline_ms: 15_000,
      max_publishers: 256,
      max_page_bytes: 8_388_608,
      max_limit: 1_000,
      max_batch: 1_000,
      max_wait_ms: 45_000,
      max_readers: 20_000,
      max_waiting: 10_000,
      reader_buffer_bytes: 1_048_576,
    },
  }),
  document: {
    summary: 'How it begins',
    value: { openapi: '3.1.0', info: { title: 'Sluice', version: '1' } },
  },
  documentation: { summary: 'How it begins', value: '<!doctype html>' },
  metrics: {
    summary: 'Some of it',
    value:
      '# HELP sluice_publishes_total Messages that JetStream confirmed.\n' +
      '# TYPE sluice_publishes_total counter\nsluice_publishes_total 42\n',
  },
}

/** Every example, by the name that operations call it by. */
export const examples = { ...reading, ...publishing, ...streams, ...consuming, ...others }

/** References to examples, for a media type of the contract. */
export function examplesOf(...names: (keyof typeof examples)[]) {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/examples/${name}` }]))
}

/** A JSON body in the contract. */
export function json<Schema extends z.ZodType>(schema: Schema, ...names: (keyof typeof examples)[]) {
  return { 'application/json': { schema, examples: examplesOf(...names) } }
}

/** One content under several media types of the contract. */
export function ofTypes<Type extends string, Content>(types: readonly Type[], content: Content) {
  return Object.fromEntries(types.map((type) => [type, content])) as Record<Type, Content>
}

function example<Schema extends z.ZodType>(summary: string, value: z.input<Schema>) {
  return { summary, value }
}
