/** The use of openapi-fetch with the types that openapi-typescript generates. */
import { createParser } from 'eventsource-parser'
import createClient from 'openapi-fetch'
import type { components, paths } from '../../../.sluice/clients/openapi-typescript.d.ts'
import { type CreateClient, linesOf, type Published, type Seen, toLines } from './client.ts'

type Schemas = components['schemas']

const MESSAGES = '/v1/streams/{stream_name}/messages'
const asItIs = (body: unknown) => body

export const create: CreateClient = (url) => {
  // A read has three representations: this client is for JSON.
  const client = createClient<paths, 'application/json' | 'application/problem+json'>({ baseUrl: url })

  const openStream = async (stream: string, accept: string, signal?: AbortSignal) => {
    const { data, error } = await client.GET(MESSAGES, {
      params: { path: { stream_name: stream }, query: { start: 'beginning' } },
      headers: { Accept: accept },
      parseAs: 'stream',
      ...(signal ? { signal } : {}),
    })
    if (!data) throw refused(error)
    return data
  }

  return {
    async makeStream(stream, consumer) {
      const made = await client.POST('/v1/streams', {
        body: { name: stream, subjects: [`${stream}.>`], storage: 'memory', allow_atomic: true },
      })
      if (made.error) throw refused(made.error)
      const { error } = await client.PUT('/v1/streams/{stream_name}/consumers/{consumer}', {
        params: { path: { stream_name: stream, consumer } },
        body: { ack_policy: 'explicit', ack_wait_ms: 30_000 },
      })
      if (error) throw refused(error)
    },

    async publish(subject, payload, key) {
      const { data, error } = await client.POST('/v1/subjects/{subject}/messages', {
        params: { path: { subject }, header: { 'Idempotency-Key': key } },
        body: payload,
        bodySerializer: asItIs,
        headers: { 'Content-Type': 'text/plain' },
      })
      if (error) throw refused(error)
      return data
    },

    async publishBatch(subject, payloads, atomic) {
      const { data, error } = await client.POST('/v1/messages', {
        body: { messages: payloads.map((payload) => ({ subject, data: payload })), atomic },
      })
      if (error) throw refused(error)
      if (!('results' in data)) throw new Error('That was no batch.')
      return data.results.map(outcomeOf)
    },

    async publishLines(subject, values) {
      const lines = values.map(([json, expected_last_seq]): Schemas['OutgoingMessage'] => ({
        subject,
        json,
        expected_last_seq,
      }))
      const { data, error } = await client.POST('/v1/messages', {
        body: toLines(lines) as never,
        bodySerializer: asItIs,
        headers: { 'Content-Type': 'application/x-ndjson' },
        parseAs: 'text',
      })
      if (error) throw refused(error)
      return data
        .trim()
        .split('\n')
        .map((line) => {
          const result = JSON.parse(line) as Schemas['PublishResultLine']
          if (!('index' in result)) throw refused(result.error)
          return outcomeOf(result)
        })
    },

    async publishEvent(subject, type, payload) {
      const event: Schemas['CloudEvent'] = {
        specversion: '1.0',
        id: '1',
        source: '/clients',
        type,
        subject,
        data: payload,
      }
      const { data, error } = await client.POST('/v1/messages', {
        body: event,
        headers: { 'Content-Type': 'application/cloudevents+json' },
      })
      if (error) throw refused(error)
      if (!('duplicate' in data)) throw new Error('That was no event.')
      return data.duplicate
    },

    async readEventTypes(stream) {
      const events = createClient<paths, 'application/cloudevents-batch+json' | 'application/problem+json'>({
        baseUrl: url,
      })
      const { data, error } = await events.GET(MESSAGES, {
        params: { path: { stream_name: stream } },
        headers: { Accept: 'application/cloudevents-batch+json' },
      })
      if (error) throw refused(error)
      return data.map((event) => event.type)
    },

    async readPages(stream, subject, limit) {
      const read: (string | undefined)[] = []
      let cursor: string | undefined
      for (;;) {
        const { data: page, error } = await client.GET(MESSAGES, {
          params: {
            path: { stream_name: stream },
            query: { subject: [subject], limit, ...(cursor ? { cursor } : {}) },
          },
        })
        if (error) throw refused(error)
        read.push(...page.messages.map((message) => message.data))
        cursor = page.cursor
        if (page.up_to_date) return read
      }
    },

    async readLines(stream) {
      const read: (string | undefined)[] = []
      for await (const text of linesOf(await openStream(stream, 'application/x-ndjson'))) {
        const line = JSON.parse(text) as Schemas['ReadLine']
        if ('error' in line) throw refused(line.error)
        if ('seq' in line) read.push(line.data)
        else if ('up_to_date' in line) return read
      }
      throw new Error('The last line is missing.')
    },

    async readEvents(stream, lastEvent) {
      const seen: Seen[] = []
      const done = new AbortController()
      const parser = createParser({
        onEvent({ event, id, data }) {
          const typed = { event: event ?? 'message', id, data: JSON.parse(data) } as Schemas['TailEvent']
          seen.push({ event: typed.event, seq: seqOf(typed) })
          if (typed.event === lastEvent) done.abort()
        },
      })
      const decoder = new TextDecoder()
      try {
        for await (const chunk of await openStream(stream, 'text/event-stream', done.signal))
          parser.feed(decoder.decode(chunk, { stream: true }))
      } catch (failure) {
        if (!done.signal.aborted) throw failure
      }
      return seen
    },

    async pullAndAck(stream, consumer) {
      const pulled = await client.POST('/v1/streams/{stream_name}/consumers/{consumer}/pull', {
        params: { path: { stream_name: stream, consumer } },
        body: { batch: 10, wait_ms: 5_000 },
      })
      if (pulled.error) throw refused(pulled.error)
      const { messages } = pulled.data
      const { data, error } = await client.POST('/v1/acks', {
        body: { acks: messages.map(({ ack_token }) => ({ token: ack_token, action: 'ack' as const })) },
      })
      if (error) throw refused(error)
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
      const { error } = await client.POST('/v1/subjects/{subject}/messages', {
        params: { path: { subject }, header: { 'If-Match': `"${expectedSeq}"` } },
        body: 'late',
        bodySerializer: asItIs,
      })
      if (!error) throw new Error('It was not refused.')
      return refusalOf(error)
    },
  }
}

/** The codes are a union, so a mistyped one does not compile. */
function refusalOf(problem: Schemas['Problem']) {
  const { status, code, retryable } = problem
  return {
    status,
    code,
    retryable,
    currentSeq: code === 'precondition_failed' ? problem.current_seq : undefined,
  }
}

function refused(problem: Schemas['Problem'] | undefined): Error {
  return new Error(problem ? `${problem.code}: ${problem.detail}` : 'The answer has no body.')
}

const outcomeOf = (result: Schemas['PublishResult']): Published =>
  'error' in result ? result.error.code : result.seq

/** Events of both kinds are messages; one that is no CloudEvent has a sequence. */
function seqOf(event: Schemas['TailEvent']): number | undefined {
  return event.event === 'message' && typeof event.data.seq === 'number' ? event.data.seq : undefined
}
