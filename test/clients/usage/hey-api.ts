/** The use of the client that hey-api generates, with its own fetch client. */
import { createClient } from '../../../.sluice/clients/hey-api/client/index.js'
import {
  createStream,
  publishMessage,
  publishMessages,
  pullMessages,
  putConsumer,
  readMessages,
  settleDeliveries,
} from '../../../.sluice/clients/hey-api/sdk.gen.js'
import type {
  CloudEvent,
  OutgoingMessage,
  Problem,
  Published as PublishedOne,
  PublishResult,
  PublishResultLine,
  ReadLine,
  TailEvent,
} from '../../../.sluice/clients/hey-api/types.gen.js'
import { type CreateClient, linesOf, type Published, type Seen, toLines } from './client.ts'

const MESSAGES = '/v1/streams/{stream_name}/messages'

export const create: CreateClient = (url) => {
  const client = createClient({ baseUrl: url })
  const orThrow = { client, throwOnError: true } as const

  return {
    async makeStream(stream, consumer) {
      await createStream({
        ...orThrow,
        body: { name: stream, subjects: [`${stream}.>`], storage: 'memory', allow_atomic: true },
      })
      await putConsumer({
        ...orThrow,
        path: { stream_name: stream, consumer },
        body: { ack_policy: 'explicit', ack_wait_ms: 30_000 },
      })
    },

    async publish(subject, payload, key) {
      const { data } = await publishMessage({
        ...orThrow,
        path: { subject },
        headers: { 'Idempotency-Key': key },
        body: new Blob([payload]),
      })
      return data
    },

    async publishBatch(subject, payloads, atomic) {
      const messages = payloads.map((data) => ({ subject, data }))
      const { data } = await publishMessages({ ...orThrow, body: { messages, atomic } })
      if (!('results' in data)) throw new Error('That was no batch.')
      return data.results.map(outcomeOf)
    },

    async publishLines(subject, values) {
      const lines = values.map(
        ([json, expected_last_seq]): OutgoingMessage => ({ subject, json, expected_last_seq }),
      )
      const { data } = await client.post<string, Problem, true>({
        url: '/v1/messages',
        headers: { 'Content-Type': 'application/x-ndjson' },
        body: toLines(lines),
        bodySerializer: null,
        parseAs: 'text',
        throwOnError: true,
      })
      return data
        .trim()
        .split('\n')
        .map((line) => {
          const result = JSON.parse(line) as PublishResultLine
          if (!('index' in result)) throw new Error(result.error.detail)
          return outcomeOf(result)
        })
    },

    async publishEvent(subject, type, data) {
      const event: CloudEvent = { specversion: '1.0', id: '1', source: '/clients', type, subject, data }
      const { data: published } = await client.post<{ 201: PublishedOne }, Problem, true>({
        url: '/v1/messages',
        headers: { 'Content-Type': 'application/cloudevents+json' },
        body: event,
        throwOnError: true,
      })
      return published.duplicate
    },

    async readEventTypes(stream) {
      const { data } = await client.get<CloudEvent[], Problem, true>({
        url: MESSAGES,
        path: { stream_name: stream },
        headers: { Accept: 'application/cloudevents-batch+json' },
        parseAs: 'json',
        throwOnError: true,
      })
      return data.map((event) => event.type)
    },

    async readPages(stream, subject, limit) {
      const read: (string | undefined)[] = []
      let cursor: string | undefined
      for (;;) {
        const { data: page } = await readMessages({
          ...orThrow,
          path: { stream_name: stream },
          query: { subject: [subject], limit, ...(cursor ? { cursor } : {}) },
        })
        read.push(...page.messages.map((message) => message.data))
        cursor = page.cursor
        if (page.up_to_date) return read
      }
    },

    async readLines(stream) {
      const read: (string | undefined)[] = []
      const { data } = await client.get<ReadableStream<Uint8Array>, Problem, true>({
        url: MESSAGES,
        path: { stream_name: stream },
        headers: { Accept: 'application/x-ndjson' },
        parseAs: 'stream',
        throwOnError: true,
      })
      for await (const text of linesOf(data)) {
        const line = JSON.parse(text) as ReadLine
        if ('error' in line) throw new Error(line.error.detail)
        if ('seq' in line) read.push(line.data)
        else if ('up_to_date' in line) return read
      }
      throw new Error('The last line is missing.')
    },

    async readEvents(stream, lastEvent) {
      const seen: Seen[] = []
      const done = new AbortController()
      const { stream: events } = await client.sse.get({
        url: MESSAGES,
        path: { stream_name: stream },
        query: { start: 'beginning' },
        headers: { Accept: 'text/event-stream' },
        signal: done.signal,
        onSseEvent({ event, data }) {
          // A heartbeat has no data.
          if (data === undefined) return
          const typed = { event, data } as TailEvent
          seen.push({ event: typed.event, seq: seqOf(typed) })
        },
      })
      for await (const _ of events) {
        if (seen.at(-1)?.event === lastEvent) break
      }
      done.abort()
      return seen
    },

    async pullAndAck(stream, consumer) {
      const pulled = await pullMessages({
        ...orThrow,
        path: { stream_name: stream, consumer },
        body: { batch: 10, wait_ms: 5_000 },
      })
      const { messages } = pulled.data
      const { data } = await settleDeliveries({
        ...orThrow,
        body: { acks: messages.map(({ ack_token }) => ({ token: ack_token, action: 'ack' })) },
      })
      return messages.map((message, index) => {
        const result = data.results[index]
        return {
          data: message.data,
          deliveryCount: message.delivery_count,
          result: result && 'status' in result ? result.status : 'error',
        }
      })
    },

    async publishOnto(subject, expectedSeq) {
      const { error } = await publishMessage({
        client,
        path: { subject },
        headers: { 'If-Match': `"${expectedSeq}"` },
        body: new Blob(['late']),
      })
      if (!error) throw new Error('It was not refused.')
      const { status, code, retryable } = error
      return {
        status,
        code,
        retryable,
        currentSeq: code === 'precondition_failed' ? error.current_seq : undefined,
      }
    },
  }
}

const outcomeOf = (result: PublishResult): Published => ('error' in result ? result.error.code : result.seq)

/** Events of both kinds are messages; one that is no CloudEvent has a sequence. */
function seqOf(event: TailEvent): number | undefined {
  return event.event === 'message' && typeof event.data.seq === 'number' ? event.data.seq : undefined
}
