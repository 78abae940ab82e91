/** The contract of pulls: what they hand out, how they wait, and that a client that goes away loses nothing. */
import { describe, expect, test } from 'vitest'
import { pacedNow } from '../support/pace.ts'
import type { ConsumerBody, Delivery } from './client.ts'
import { at, inParallel, problem, range, refusal, seqs, until } from './expectations.ts'
import { openRaw, type RawConnection } from './raw.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const LONG_WAIT_MS = 30_000
const SOON_MS = 20_000
/** How often a message may have been handed to clients that were gone before it reached one that was not. */
const MAX_DELIVERIES = 10
/** So long that a redelivery within a test is never its doing. */
const LONG_ACK_WAIT_MS = 300_000

onEveryTarget((target) => {
  const { makeConsumer } = target
  const pull = (path: string, json: Record<string, unknown> = {}) => target.bridge.pull(path, json)
  const acknowledge = (messages: readonly Delivery[]) =>
    target.bridge.settle(...messages.map(({ ack_token: token }) => ({ token, action: 'ack' as const })))
  const fill = async (stream: TestStream, first: number, last: number) => {
    for (const n of range(first, last)) await target.bridge.publish(stream.subject('a'), `m${n}`)
  }
  const makeFilled = async (count: number, config: Record<string, unknown> = {}) => {
    const stream = await target.makeStream()
    await fill(stream, 1, count)
    return { stream, path: await makeConsumer(stream, config) }
  }
  /** Sends a pull over a bare socket and leaves its answer there. */
  const pullRaw = (path: string, json: Record<string, unknown>) =>
    openRaw(target.bridge.url, {
      method: 'POST',
      target: `${path}/pull`,
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(json),
    })
  /** Pulls until so many different messages have come. */
  const pullUntil = async (path: string, count: number, batch = 100) => {
    const messages: Delivery[] = []
    await until(`${count} messages`, async () => {
      messages.push(...(await pull(path, { batch, wait_ms: 1_000 })).messages)
      return new Set(seqs(messages)).size >= count
    })
    return messages
  }

  describe('pullMessages', () => {
    test('200 with message, ack_token, delivery_count and ack_deadline', async () => {
      const stream = await target.makeStream()
      await target.bridge.publish(stream.subject('eu'), '{"id":7}', { 'Content-Type': 'application/json' })
      await fill(stream, 2, 3)
      const path = await makeConsumer(stream, { ack_wait_ms: 20_000 })
      const before = Date.now()

      const body = await pull(path)

      expect(body).toEqual({
        messages: [
          {
            stream: stream.name,
            subject: stream.subject('eu'),
            seq: 1,
            time: at((await target.bridge.page(stream.name)).messages, 0).time,
            headers: { 'Content-Type': ['application/json'] },
            data: '{"id":7}',
            ack_token: expect.stringMatching(/^\S+$/),
            delivery_count: 1,
            ack_deadline: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
          },
        ],
        num_pending: 2,
      })
      const leftMs = Date.parse(at(body.messages, 0).ack_deadline ?? '') - before
      expect(leftMs).toBeGreaterThan(15_000)
      expect(leftMs).toBeLessThan(25_000)
    })

    test('200 with no more than batch, in order, each message once', async () => {
      const { path } = await makeFilled(10)

      expect(seqs((await pull(path, { batch: 4 })).messages)).toEqual([1, 2, 3, 4])
      expect(seqs((await pull(path, { batch: 4 })).messages)).toEqual([5, 6, 7, 8])
      expect(await pull(path, { batch: 4 })).toMatchObject({
        messages: [{ seq: 9 }, { seq: 10 }],
        num_pending: 0,
      })
    })

    test('200 at once with what is there when that is less than batch', async () => {
      const { path } = await makeFilled(3)
      const begun = pacedNow()

      const { messages } = await pull(path, { batch: 1_000, wait_ms: LONG_WAIT_MS })

      expect(seqs(messages)).toEqual([1, 2, 3])
      expect(pacedNow() - begun).toBeLessThan(SOON_MS)
    })

    test('200 with a thousand messages', async () => {
      const stream = await target.makeStream()
      await inParallel(range(1, 1_000), 32, (n) => target.bridge.publish(stream.subject('a'), `${n}`))
      const path = await makeConsumer(stream)

      expect(seqs(await pullUntil(path, 1_000, 1_000)).sort((a, b) => a - b)).toEqual(range(1, 1_000))
    })

    test('200 with nothing, at once, when there is nothing and no wait_ms', async () => {
      const { path } = await makeFilled(0)
      const begun = pacedNow()

      expect(await pull(path, { batch: 5 })).toEqual({ messages: [], num_pending: 0 })
      expect(pacedNow() - begun).toBeLessThan(SOON_MS)
    })

    test('200 with nothing after wait_ms when nothing came', async () => {
      const { path } = await makeFilled(0)
      const begun = performance.now()

      expect(await pull(path, { batch: 5, wait_ms: 1_000 })).toEqual({ messages: [], num_pending: 0 })
      expect(performance.now() - begun).toBeGreaterThan(900)
    })

    test('200 soon after a message is published while it waits', async () => {
      const { stream, path } = await makeFilled(0)
      const begun = pacedNow()
      const waiting = pull(path, { batch: 100, wait_ms: LONG_WAIT_MS })
      // Round trips, so that it waits indeed when the message comes.
      for (const _ of range(1, 50)) await target.bridge.ok(`GET ${path}`)
      await fill(stream, 1, 1)

      expect(seqs((await waiting).messages)).toEqual([1])
      expect(pacedNow() - begun).toBeLessThan(SOON_MS)
    })

    test('200 with no more payload than max_bytes, but always one message', async () => {
      const stream = await target.makeStream()
      for (const letter of ['a', 'b', 'c', 'd'])
        await target.bridge.publish(stream.subject('a'), letter.repeat(2_000))
      const path = await makeConsumer(stream)

      const some = await pull(path, { batch: 10, max_bytes: 5_000 })
      expect(some.messages.length).toBeOneOf([1, 2])
      expect((await pull(path, { batch: 10, max_bytes: 1 })).messages).toHaveLength(1)
    })

    test('200 in base64 and with the value, as payload says', async () => {
      const stream = await target.makeStream()
      for (const _ of range(1, 2)) await target.bridge.publish(stream.subject('a'), '{"id":7}')
      const path = await makeConsumer(stream)
      const pullAs = async (payload: string) => {
        const { messages } = await target.bridge.ok<{ messages: Delivery[] }>(`POST ${path}/pull`, {
          json: {},
          query: { payload },
        })
        return at(messages, 0)
      }

      const base64 = await pullAs('base64')
      expect([base64.data, base64.data_base64]).toEqual([
        undefined,
        Buffer.from('{"id":7}').toString('base64'),
      ])
      expect((await pullAs('json')).json).toEqual({ id: 7 })
    })

    test('every message to exactly one of many that pull at the same time', async () => {
      const stream = await target.makeStream()
      await inParallel(range(1, 500), 32, (n) => target.bridge.publish(stream.subject('a'), `${n}`))
      const path = await makeConsumer(stream, { ack_wait_ms: LONG_ACK_WAIT_MS })

      const shares = await inParallel(range(1, 8), 8, async () => {
        const own: number[] = []
        for (;;) {
          const { messages } = await pull(path, { batch: 17, wait_ms: 100 })
          if (messages.length === 0) return own
          own.push(...seqs(messages))
          await acknowledge(messages)
        }
      })

      expect(shares.flat().sort((a, b) => a - b)).toEqual(range(1, 500))
    })

    test('each of many waiting pulls its own message', async () => {
      const { stream, path } = await makeFilled(0)
      const waiting = range(1, 10).map(() => pull(path, { batch: 1, wait_ms: LONG_WAIT_MS }))
      await fill(stream, 1, 10)

      const shares = await Promise.all(waiting)

      expect(shares.flatMap(({ messages }) => seqs(messages)).sort((a, b) => a - b)).toEqual(range(1, 10))
    })

    test('200 with the same message, delivery_count 2, after the ack wait', async () => {
      const { path } = await makeFilled(1, { ack_wait_ms: 500 })
      await pull(path)

      const { messages } = await pull(path, { wait_ms: 10_000 })

      expect(messages).toMatchObject([{ seq: 1, delivery_count: 2 }])
    })

    test.each([0, 300])('200 without a message after max_deliver, wait_ms %s', async (wait_ms) => {
      const { path, stream } = await makeFilled(1, { max_deliver: 2 })
      for (const count of [1, 2]) {
        const delivery = at((await pull(path, { wait_ms: 10_000 })).messages, 0)
        expect(delivery.delivery_count).toBe(count)
        await target.bridge.settle({ token: delivery.ack_token, action: 'nak' })
      }

      expect((await pull(path, { batch: 5, wait_ms })).messages).toEqual([])
      await fill(stream, 2, 3)
      expect(seqs((await pull(path, { batch: 5, wait_ms: 10_000 })).messages)).toEqual([2, 3])
    })

    test('200 with an ack_deadline by the step of backoff_ms that is due, and no delivery after max_deliver', async () => {
      const { path } = await makeFilled(1, { backoff_ms: [1_000, 3_000], max_deliver: 3 })
      const deliveries: Delivery[] = []
      const receivedAt: number[] = []
      for (const _ of range(1, 3)) {
        deliveries.push(...(await pull(path, { wait_ms: 10_000 })).messages)
        receivedAt.push(Date.now())
      }

      expect(deliveries.map(({ delivery_count }) => delivery_count)).toEqual([1, 2, 3])
      const waits = deliveries.map(
        ({ ack_deadline }, index) => Date.parse(ack_deadline ?? '') - at(receivedAt, index),
      )
      expect(waits[0]).toBeLessThan(1_500)
      expect(waits[1]).toBeGreaterThan(1_500)
      expect(at(receivedAt, 1) - at(receivedAt, 0)).toBeGreaterThan(500)
      expect(at(receivedAt, 2) - at(receivedAt, 1)).toBeGreaterThan(2_000)
      expect((await pull(path, { wait_ms: 4_000 })).messages).toEqual([])
    })

    test('200 with no more than max_ack_pending until some are settled', async () => {
      const { path } = await makeFilled(10, { max_ack_pending: 4, ack_wait_ms: LONG_ACK_WAIT_MS })

      const { messages } = await pull(path, { batch: 10 })
      expect(seqs(messages)).toEqual([1, 2, 3, 4])
      expect((await pull(path, { batch: 10, wait_ms: 200 })).messages).toEqual([])

      await acknowledge(messages.slice(0, 2))
      expect(seqs(await pullUntil(path, 2, 10))).toEqual([5, 6])
    })

    /** Whether `work` ends before a pull of an empty consumer does that waits for three seconds. */
    const isDoneFirst = async (work: () => Promise<unknown>) => {
      const { path } = await makeFilled(0)
      const idle = pull(path, { wait_ms: 3_000 }).then(() => false)
      return await Promise.race([work().then(() => true), idle])
    }
    const strictly = { max_ack_pending: 1, ack_wait_ms: LONG_ACK_WAIT_MS }

    test.each([
      ['no wait_ms', 0],
      ['wait_ms', 20_000],
    ])('200 at once with what max_ack_pending allows, whatever the batch, with %s', async (_, wait_ms) => {
      const { path } = await makeFilled(4, strictly)
      const order: number[] = []

      const isFirst = await isDoneFirst(async () => {
        for (const _ of range(1, 4)) {
          const { messages } = await pull(path, { batch: 10, wait_ms })
          order.push(...seqs(messages))
          await acknowledge(messages)
        }
      })

      expect([isFirst, order]).toEqual([true, [1, 2, 3, 4]])
    })

    test('200 at once with nothing when others hold as much as max_ack_pending allows', async () => {
      const { path } = await makeFilled(4, { ...strictly, max_ack_pending: 2 })
      const held = (await pull(path, { batch: 5 })).messages
      const pulled: unknown[] = []

      const isFirst = await isDoneFirst(async () => {
        for (const _ of range(1, 4)) pulled.push((await pull(path, { batch: 5 })).messages)
      })

      expect([isFirst, seqs(held), pulled]).toEqual([true, [1, 2], [[], [], [], []]])
    })

    test('200 as soon as an ack makes room, and no more than it makes room for', async () => {
      const { path } = await makeFilled(6, { ...strictly, max_ack_pending: 2 })
      const held = (await pull(path, { batch: 2 })).messages
      const order: number[] = []

      const isFirst = await isDoneFirst(async () => {
        const waiting = pull(path, { batch: 5, wait_ms: 20_000 })
        await target.bridge.ok(`GET ${path}`)
        await acknowledge(held)
        const { messages } = await waiting
        order.push(...seqs(messages))
        while (order.length < 2) order.push(...seqs((await pull(path, { batch: 5 })).messages))
      })

      expect([isFirst, order]).toEqual([true, [3, 4]])
    })

    test('each message to one of many that pull more than max_ack_pending allows, none held back', async () => {
      const { path } = await makeFilled(24, { ...strictly, max_ack_pending: 3 })
      const shares: number[][] = []

      const isFirst = await isDoneFirst(async () => {
        const share = async () => {
          const own: number[] = []
          for (;;) {
            const { messages } = await pull(path, { batch: 10 })
            own.push(...seqs(messages))
            if (messages.length > 0) await acknowledge(messages)
            const { num_pending, num_ack_pending } = await target.bridge.ok<ConsumerBody>(`GET ${path}`)
            if (num_pending + num_ack_pending === 0) break
          }
          shares.push(own)
        }
        await Promise.all([share(), share(), share()])
      })

      expect(isFirst).toBe(true)
      expect(shares.flat().sort((a, b) => a - b)).toEqual(range(1, 24))
    })

    test('200 at once with nothing from a consumer that is paused, and with the messages when it is resumed', async ({
      skip,
    }) => {
      if (!target.supports.consumer_pause) skip()
      const { path } = await makeFilled(2)
      const until = new Date(Date.now() + 3_600_000).toISOString()
      await target.bridge.ok(`POST ${path}/pause`, { json: { pause_until: until } })
      const pulled: unknown[] = []

      const isFirst = await isDoneFirst(async () => {
        for (const _ of range(1, 4)) pulled.push((await pull(path, { batch: 5 })).messages)
      })
      const waiting = pull(path, { batch: 5, wait_ms: 20_000 })
      await target.bridge.ok(`POST ${path}/resume`)

      expect([isFirst, pulled]).toEqual([true, [[], [], [], []]])
      expect(seqs((await waiting).messages)[0]).toBe(1)
    })

    test('200 and ack_deadline null when nothing is to be acknowledged', async () => {
      const { path } = await makeFilled(2, { ack_policy: 'none' })

      const { messages } = await pull(path, { batch: 2 })

      expect(messages.map(({ ack_deadline }) => ack_deadline)).toEqual([null, null])
      expect((await target.bridge.ok<ConsumerBody>(`GET ${path}`)).num_ack_pending).toBe(0)
    })

    test('work of a workqueue stream shared, and gone when it is done', async () => {
      const stream = await target.makeStream({ retention: 'workqueue' })
      await fill(stream, 1, 3)
      const path = await makeConsumer(stream)

      await acknowledge((await pull(path, { batch: 3 })).messages)

      await until('the stream is empty', async () => {
        const { state } = await target.bridge.ok<{ state: { messages: number } }>(`GET ${stream.path}`)
        return state.messages === 0
      })
    })

    test.each([
      ['batch', { batch: 0 }],
      ['batch', { batch: 1_001 }],
      ['batch', { batch: 1.5 }],
      ['batch', { batch: '5' }],
      ['wait_ms', { wait_ms: -1 }],
      ['wait_ms', { wait_ms: 60_001 }],
      ['max_bytes', { max_bytes: 0 }],
      ['expires', { expires: 5 }],
      ['no_wait', { batch: 1, no_wait: true }],
    ])('400 naming %s in %j', async (field, json) => {
      const { path } = await makeFilled(0)

      expect(await target.bridge.send(`POST ${path}/pull`, { json })).toMatchObject(refusal(field))
    })

    test.each([
      ['consumer_not_found', (stream: TestStream) => `${stream.path}/consumers/nobody/pull`],
      ['stream_not_found', () => '/v1/streams/nothing-here/consumers/nobody/pull'],
    ])('404 %s when there is none', async (code, path) => {
      const stream = await target.makeStream()

      for (const wait_ms of [0, 2_000]) {
        const answer = await target.bridge.send(`POST ${path(stream)}`, { json: { wait_ms } })
        expect(answer).toMatchObject(problem(404, code, { side_effects: 'none' }))
      }
    })

    test('an end with a documented code when the consumer is deleted while it waits', async () => {
      const { path } = await makeFilled(0)
      const begun = pacedNow()
      const waiting = target.bridge.send<{ error?: unknown }>(`POST ${path}/pull`, {
        json: { wait_ms: LONG_WAIT_MS },
      })
      for (const _ of range(1, 50)) await target.bridge.ok(`GET ${path}`)
      await target.bridge.ok(`DELETE ${path}`)

      const { status, body } = await waiting

      // Where the answer had begun by then, the failure is in it.
      expect({ status, ...(status === 200 ? (body.error as object) : body) }).toMatchObject({
        code: 'consumer_not_found',
      })
      expect(pacedNow() - begun).toBeLessThan(SOON_MS)
    })

    describe('by a client that goes away', () => {
      test('while it waits: all of 100 messages to the next client, long before the ack wait', async () => {
        const { stream, path } = await makeFilled(0, { ack_wait_ms: LONG_ACK_WAIT_MS })
        const waiting = await inParallel(range(1, 50), 50, () =>
          pullRaw(path, { batch: 10, wait_ms: 60_000 }),
        )
        // They have arrived once the bridge has answered as many requests that came after them.
        for (const _ of range(1, 50)) await target.bridge.ok(`GET ${path}`)
        for (const connection of waiting) connection.vanish()
        await inParallel(range(1, 100), 8, (n) => target.bridge.publish(stream.subject('a'), `${n}`))

        const messages = await pullUntil(path, 100)

        expect(Math.max(...messages.map(({ delivery_count }) => delivery_count))).toBeLessThanOrEqual(
          MAX_DELIVERIES,
        )
      })

      test('right after it asked: all of 100 messages to the next client, long before the ack wait', async () => {
        for (const _ of range(1, 4)) {
          const { stream, path } = await makeFilled(0, { ack_wait_ms: LONG_ACK_WAIT_MS })
          const asked = await inParallel(range(1, 50), 50, () =>
            pullRaw(path, { batch: 10, wait_ms: 60_000 }),
          )
          for (const connection of asked) connection.vanish()
          await inParallel(range(1, 100), 100, (n) => target.bridge.publish(stream.subject('a'), `${n}`))

          await pullUntil(path, 100)
        }
      })

      test('while it waits: each of 20 messages to the next client, long before the ack wait', async () => {
        const { stream, path } = await makeFilled(0, { ack_wait_ms: LONG_ACK_WAIT_MS })
        for (const n of range(1, 20)) {
          const gone = await pullRaw(path, { batch: 10, wait_ms: 60_000 })
          await target.bridge.ok(`GET ${path}`)
          const waiting = pull(path, { batch: 10, wait_ms: LONG_WAIT_MS })
          gone.vanish()
          await target.bridge.publish(stream.subject('a'), `${n}`)

          const { messages } = await waiting

          expect(seqs(messages)).toEqual([n])
          await acknowledge(messages)
        }
      })

      test('in the middle of its answer: all of 7 MiB to the next client, long before the ack wait', async () => {
        const stream = await target.makeStream()
        const size = Math.min(131_072, Math.floor(target.limits.max_payload_bytes / 2))
        const count = Math.floor((7 * 1_048_576) / size)
        for (const n of range(1, count))
          await target.bridge.publish(stream.subject('a'), `${n} `.repeat(size).slice(0, size))
        const path = await makeConsumer(stream, { ack_wait_ms: LONG_ACK_WAIT_MS })
        const gone: RawConnection = await pullRaw(path, { batch: 1_000 })
        expect((await gone.take(1_000)).toString('latin1')).toMatch(/^HTTP\/1.1 200/)
        gone.vanish()

        const messages = await pullUntil(path, count, 1_000)

        expect(Math.max(...messages.map(({ delivery_count }) => delivery_count))).toBeLessThanOrEqual(
          MAX_DELIVERIES,
        )
      })

      test('by an abort: every message to the next client, none twice', async () => {
        const { stream, path } = await makeFilled(0, { ack_wait_ms: LONG_ACK_WAIT_MS })
        const aborts = range(1, 10).map(() => new AbortController())
        const aborted = aborts.map(({ signal }) =>
          target.bridge
            .send(`POST ${path}/pull`, { json: { batch: 5, wait_ms: LONG_WAIT_MS }, signal })
            .catch(() => undefined),
        )
        for (const _ of range(1, 20)) await target.bridge.ok(`GET ${path}`)
        for (const abort of aborts) abort.abort()
        await Promise.all(aborted)
        await fill(stream, 1, 10)

        const messages = await pullUntil(path, 10)

        expect(seqs(messages).sort((a, b) => a - b)).toEqual(range(1, 10))
      })
    })
  })
})
