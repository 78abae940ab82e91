/** The contract of what a host holds at once: refused over it, and given back whatever happens. */
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { sendBare } from '../faults/rows/bare-http.ts'
import { pacedNow } from '../support/pace.ts'
import { parseExposition } from '../support/prometheus.ts'
import { openEvents } from './events.ts'
import { at, inParallel, problem, range, seqs, until } from './expectations.ts'
import { linesTo, toLine } from './lines.ts'
import { openRaw } from './raw.ts'
import { onEveryTarget, type Target, type TestStream } from './target.ts'

const figure = async ({ bridge }: Target, name: string, labels: Record<string, string> = {}) => {
  const { bytes } = await bridge.send('GET /metrics')
  return parseExposition(Buffer.from(bytes).toString()).total(name, labels)
}
const EVENTS = { Accept: 'text/event-stream' }
const RETRY_AFTER = /^\d+$/

describe('of a credential', () => {
  onEveryTarget(
    (target) => {
      test('429 too_many_readers over MAX_READERS_PER_TENANT, and room again once one has left', async () => {
        const stream = await target.makeStream()
        const consumer = await target.makeConsumer(stream)
        const first = await openEvents(target.bridge, `${stream.path}/messages`)
        const second = await openEvents(target.bridge, `${consumer}/messages`)

        for (const path of [stream.path, consumer]) {
          const refused = await target.bridge.send(`GET ${path}/messages`, { headers: EVENTS })
          expect(refused).toMatchObject(problem(429, 'too_many_readers', { retryable: true }))
          expect(refused.headers.get('Retry-After')).toMatch(RETRY_AFTER)
        }
        expect(await figure(target, 'sluice_refused_total', { limit: 'MAX_READERS_PER_TENANT' })).toBe(2)

        first.close()
        await until('a slot to be free', async () => (await figure(target, 'sluice_event_streams')) === 1)
        const third = await openEvents(target.bridge, `${stream.path}/messages`)
        second.close()
        third.close()
        await until('all to be free', async () => (await figure(target, 'sluice_event_streams')) === 0)
      })

      test('no slot kept by a reader that is refused, or by HEAD', async () => {
        const stream = await target.makeStream()
        for (const _ of range(1, 3)) {
          await target.bridge.send('GET /v1/streams/nothing-here/messages', { headers: EVENTS })
          await target.bridge.send(`GET ${stream.path}/messages?cursor=nonsense`, { headers: EVENTS })
          await target.bridge.send(`HEAD ${stream.path}/messages`, { headers: EVENTS })
        }

        await until('no slot to be held', async () => (await figure(target, 'sluice_event_streams')) === 0)
      })

      test('no slot kept by a reader whose stream ends in a failure', async () => {
        const stream = await target.makeStream()
        const events = await openEvents(target.bridge, `${stream.path}/messages`)
        await target.bridge.ok(`DELETE ${stream.path}`)

        await events.take('error', 1)
        await until('no slot to be held', async () => (await figure(target, 'sluice_event_streams')) === 0)
      })

      test('429 too_many_requests over MAX_WAITING_PER_TENANT', async () => {
        const stream = await target.makeStream()
        const wait = { query: { wait_ms: 5_000 } }
        const waits = [
          target.bridge.send(`GET ${stream.path}/messages`, wait),
          target.bridge.send(`GET ${stream.path}/messages`, wait),
        ]
        await until('both to wait', async () => (await figure(target, 'sluice_waiting_requests')) === 2)

        const refused = await target.bridge.send(`GET ${stream.path}/messages`, wait)
        expect(refused).toMatchObject(problem(429, 'too_many_requests'))
        expect(refused.headers.get('Retry-After')).toMatch(RETRY_AFTER)
        expect((await target.bridge.page(stream.name)).messages).toEqual([])

        await target.bridge.publish(stream.subject('a'))
        await Promise.all(waits)
        expect(await figure(target, 'sluice_waiting_requests')).toBe(0)
      })

      test('429 too_many_requests over MAX_PUBLISHERS_PER_TENANT, and room again once one has ended or left', async () => {
        const stream = await target.makeStream()
        const message = { subject: stream.subject('a'), data: 'x' }
        const { begin } = linesTo(target)
        const conversations = [begin(), begin()]
        for (const [seq, conversation] of conversations.entries()) {
          conversation.say(toLine(message))
          expect(await conversation.next()).toMatchObject({ seq: seq + 1 })
        }
        expect(await figure(target, 'sluice_publishing_requests')).toBe(2)

        const refused = await target.bridge.send('POST /v1/messages', { json: { messages: [message] } })
        expect(refused).toMatchObject(problem(429, 'too_many_requests', { retryable: true }))
        expect(refused.headers.get('Retry-After')).toMatch(RETRY_AFTER)

        at(conversations, 0).end()
        expect(await at(conversations, 0).next()).toBeUndefined()
        at(conversations, 1).vanish(true)
        await until('all to be free', async () => (await figure(target, 'sluice_publishing_requests')) === 0)
        expect(target.limits).toMatchObject({ max_publishers: 2, max_batch_bytes: 2_048 })
      })

      test('413 payload_too_large over MAX_BATCH_BYTES', async () => {
        const messages = [{ subject: 'a', data: 'x'.repeat(2_048) }]

        expect(await target.bridge.send('POST /v1/messages', { json: { messages } })).toMatchObject(
          problem(413, 'payload_too_large'),
        )
      })

      test('413 payload_too_large over MAX_BODY_BYTES', async () => {
        const stream = await target.makeStream()
        const send = (bytes: number) =>
          target.bridge.send(`POST /v1/subjects/${stream.subject('a')}/messages`, {
            body: Buffer.alloc(bytes),
          })

        expect((await send(1_024)).status).toBe(201)
        expect(await send(1_025)).toMatchObject(problem(413, 'payload_too_large'))
        expect(target.limits.max_body_bytes).toBe(1_024)
      })

      test('a longer wait than MAX_WAIT_MS is granted as that', async () => {
        const stream = await target.makeStream()
        const consumer = await target.makeConsumer(stream)
        const before = pacedNow()

        await target.bridge.page(stream.name, { wait_ms: 60_000 })
        await target.bridge.pull(consumer, { wait_ms: 60_000 })

        expect(pacedNow() - before).toBeLessThan(40_000)
        expect(target.limits.max_wait_ms).toBe(2_000)
      })

      test('a larger page or pull than there may be is granted as the largest', async () => {
        const stream = await target.makeStream()
        for (const index of range(1, 5)) await target.bridge.publish(stream.subject('a'), `${index}`)

        const page = await target.bridge.page(stream.name, { limit: 1_000 })
        expect([seqs(page.messages), page.up_to_date]).toEqual([[1, 2, 3], false])
        const pulled = await target.bridge.pull(await target.makeConsumer(stream), { batch: 1_000 })
        expect(seqs(pulled.messages)).toEqual([1, 2])
        expect(target.limits).toMatchObject({ max_limit: 3, max_batch: 2 })
      })
    },
    {
      MAX_READERS_PER_TENANT: '2',
      MAX_WAITING_PER_TENANT: '2',
      MAX_PUBLISHERS_PER_TENANT: '2',
      MAX_BATCH_BYTES: '2048',
      MAX_BODY_BYTES: '1024',
      MAX_WAIT_MS: '2000',
      MAX_PAGE_MESSAGES: '3',
      MAX_PULL_BATCH: '2',
    },
  )
})

describe('of a host', () => {
  onEveryTarget(
    (target) => {
      test('503 host_full over MAX_READERS and MAX_WAITING', async () => {
        const stream = await target.makeStream()
        const events = await openEvents(target.bridge, `${stream.path}/messages`)
        const waiting = target.bridge.send(`GET ${stream.path}/messages`, { query: { wait_ms: 10_000 } })
        await until('one to wait', async () => (await figure(target, 'sluice_waiting_requests')) === 1)
        const consumer = await target.makeConsumer(stream)

        for (const refused of [
          await target.bridge.send(`GET ${stream.path}/messages`, { headers: EVENTS }),
          await target.bridge.send(`GET ${stream.path}/messages`, { query: { wait_ms: 1_000 } }),
          await target.bridge.send(`POST ${consumer}/pull`, { json: { wait_ms: 1_000 } }),
        ]) {
          expect(refused).toMatchObject(problem(503, 'host_full', { retryable: true }))
          expect(refused.headers.get('Retry-After')).toMatch(RETRY_AFTER)
        }
        await target.bridge.publish(stream.subject('a'))
        await waiting
        events.close()
      })
    },
    { MAX_READERS: '1', MAX_WAITING: '1' },
  )
})

describe('of bodies in memory', () => {
  const MOST_BYTES = 1_048_576
  const HELD = 'sluice_held_bytes'

  onEveryTarget(
    (target) => {
      /** A publish of which so much is there, and the rest does not come. */
      const openHalf = async (stream: TestStream, bytes: number) => {
        const half = await openRaw(target.bridge.url, {
          method: 'POST',
          target: `/v1/subjects/${stream.subject('half')}/messages`,
          headers: { 'Content-Length': String(bytes + 1) },
          body: Buffer.alloc(bytes),
        })
        await until('it to be held', async () => (await figure(target, HELD, { kind: 'bodies' })) === bytes)
        return half
      }
      const publishes = (stream: TestStream, bytes: number) =>
        [
          [`POST /v1/subjects/${stream.subject('a')}/messages`, { body: Buffer.alloc(bytes) }],
          [
            `POST /v1/subjects/${stream.subject('a')}/messages`,
            { body: gzipSync(Buffer.alloc(bytes)), headers: { 'Content-Encoding': 'gzip' } },
          ],
          [
            'POST /v1/messages',
            { json: { messages: [{ subject: stream.subject('a'), data: 'x'.repeat(bytes) }] } },
          ],
          [
            'POST /v1/messages',
            {
              body: JSON.stringify({
                specversion: '1.0',
                id: `${bytes}`,
                source: '/limits',
                type: 'test',
                subject: stream.subject('a'),
                data: 'x'.repeat(bytes),
              }),
              headers: { 'Content-Type': 'application/cloudevents+json' },
            },
          ],
        ] as const

      test('503 host_full over MAX_MEMORY_BYTES, what fits is stored, and all is given back', async () => {
        const stream = await target.makeStream()
        const half = await openHalf(stream, 800_000)

        for (const [request, call] of publishes(stream, 300_000)) {
          const refused = await target.bridge.send(request, call)
          expect(refused).toMatchObject(problem(503, 'host_full', { retryable: true, side_effects: 'none' }))
          expect(refused.headers.get('Retry-After')).toMatch(RETRY_AFTER)
        }
        expect(await figure(target, 'sluice_refused_total', { limit: 'MAX_MEMORY_BYTES' })).toBe(4)
        for (const [request, call] of publishes(stream, 50_000))
          expect((await target.bridge.send(request, call)).status).toBeOneOf([200, 201])
        expect(await figure(target, HELD)).toBe(800_000)

        half.reset()
        await until('all to be given back', async () => (await figure(target, HELD)) === 0)
        for (const [request, call] of publishes(stream, 300_001))
          expect((await target.bridge.send(request, call)).status).toBeOneOf([200, 201])
        expect(await figure(target, HELD)).toBe(0)
        expect(target.limits.max_memory_bytes).toBe(MOST_BYTES)
      })

      test('a body that is alone stored, also where it is more than MAX_MEMORY_BYTES', async () => {
        const stream = await target.makeStream()
        const messages = range(1, 3).map(() => ({ subject: stream.subject('a'), data: 'x'.repeat(500_000) }))

        const { results } = await target.bridge.ok<{ results: object[] }>('POST /v1/messages', {
          json: { messages },
        })

        expect(results).toEqual(range(1, 3).map((seq) => expect.objectContaining({ seq })))
      })

      test('400 invalid_request for a body that breaks off, and nothing stored', async () => {
        const stream = await target.makeStream()
        const { host } = new URL(target.bridge.url)
        const path = `/v1/subjects/${stream.subject('broken')}/messages`
        const outcome = await sendBare(target.bridge.url, {
          pieces: [
            Buffer.from(
              `POST ${path} HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nx`,
            ),
          ],
          ends: true,
          withinMs: 10_000,
        })

        // The HTTP server may have refused it before.
        expect(outcome.answer?.status ?? 400).toBe(400)
        expect(await target.bridge.page(stream.name)).toMatchObject({ messages: [] })
      })
    },
    { MAX_MEMORY_BYTES: String(MOST_BYTES) },
  )
})

describe('of readers that vanish', () => {
  const READERS = 1_000

  onEveryTarget(
    (target) => {
      test(`every slot given back after ${READERS} readers came and went by a reset`, async () => {
        const stream = await target.makeStream()
        const statuses = await inParallel(range(1, READERS), 50, async (reader) => {
          const connection = await openRaw(target.bridge.url, {
            method: 'GET',
            target: `${stream.path}/messages`,
            headers: EVENTS,
          })
          // Some leave before they have seen anything of the answer.
          const status = reader % 3 === 0 ? 200 : (await connection.head()).status
          connection.reset()
          return status
        })

        expect(new Set(statuses)).toEqual(new Set([200]))
        await until('no slot to be held', async () => (await figure(target, 'sluice_event_streams')) === 0)
      })
    },
    { MAX_READERS: '5000' },
  )
})
