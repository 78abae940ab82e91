/** The contract of a consumer's messages pushed as server-sent events. */
import { describe, expect, test } from 'vitest'
import type { ConsumerBody, Delivery, Problem } from './client.ts'
import { type EventStream, openEvents } from './events.ts'
import { at, problem, range, refusal, seqs, until } from './expectations.ts'
import { openRaw } from './raw.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const LONG_ACK_WAIT_MS = 300_000

onEveryTarget((target) => {
  const fill = async (stream: TestStream, first: number, last: number) => {
    for (const n of range(first, last)) await target.bridge.publish(stream.subject('a'), `m${n}`)
  }
  const makeFilled = async (count: number, config: Record<string, unknown> = {}) => {
    const stream = await target.makeStream()
    await fill(stream, 1, count)
    return { stream, path: await target.makeConsumer(stream, { ack_wait_ms: LONG_ACK_WAIT_MS, ...config }) }
  }
  const withEvents = async (path: string, use: (events: EventStream) => Promise<void>) => {
    const events = await openEvents(target.bridge, `${path}/messages`)
    try {
      await use(events)
    } finally {
      events.close()
    }
  }
  const acknowledge = (deliveries: readonly Delivery[]) =>
    target.bridge.settle(...deliveries.map(({ ack_token: token }) => ({ token, action: 'ack' as const })))

  describe('pushMessages', () => {
    test('200 that no cache or proxy keeps or changes, its first line retry:', async () => {
      const { path } = await makeFilled(1)

      await withEvents(path, async (events) => {
        await events.take('message', 1)
        expect(events.text()).toMatch(/^retry: ?\d+\r?\n/)
        expect(events.headers.get('Cache-Control')).toMatch(/no-transform/)
      })
    })

    test('what there is, then what is published, each with ack_token, delivery_count and ack_deadline', async () => {
      const { stream, path } = await makeFilled(2)

      await withEvents(path, async (events) => {
        await events.take('message', 2)
        await fill(stream, 3, 4)
        const deliveries = await events.take<Delivery>('message', 4)

        expect(deliveries.map(({ seq, data, delivery_count }) => [seq, data, delivery_count])).toEqual(
          range(1, 4).map((n) => [n, `m${n}`, 1]),
        )
        expect(await acknowledge(deliveries)).toEqual(Array(4).fill({ status: 'ok' }))
        expect(await target.bridge.ok<ConsumerBody>(`GET ${path}`)).toMatchObject({ num_ack_pending: 0 })
      })
    })

    test('never more unsettled than max_ack_pending', async () => {
      const { path } = await makeFilled(12, { max_ack_pending: 5 })

      await withEvents(path, async (events) => {
        const first = await events.take<Delivery>('message', 5)
        const before = events.text().length
        await events.until('a heartbeat', () => events.text().length > before, target.longestSilenceMs)
        expect(events.events).toHaveLength(5)

        await acknowledge(first.slice(0, 3))
        expect(seqs(await events.take<Delivery>('message', 8))).toEqual(range(1, 8))
        expect((await target.bridge.ok<ConsumerBody>(`GET ${path}`)).num_ack_pending).toBe(5)
      })
    })

    test('one after the other, each at once when the one before is settled, with max_ack_pending 1', async () => {
      const { path } = await makeFilled(8, { max_ack_pending: 1 })
      const idle = await target.makeConsumer(await target.makeStream())

      await withEvents(path, async (events) => {
        // The bridge waits a heartbeat, at least half a second, for what it does not know to be there.
        const waited = target.bridge.pull(idle, { wait_ms: 3_000 }).then(() => false)
        const inOrder = async () => {
          for (const n of range(1, 8)) {
            const deliveries = await events.take<Delivery>('message', n)
            await acknowledge(deliveries.slice(-1))
          }
          return true
        }

        expect(await Promise.race([inOrder(), waited])).toBe(true)
        expect(seqs(await events.take<Delivery>('message', 8))).toEqual(range(1, 8))
      })
    })

    test("delivered again what was nak'd, and what was not settled within the ack wait", async () => {
      const { path } = await makeFilled(2, { ack_wait_ms: 1_000 })

      await withEvents(path, async (events) => {
        const [first] = await events.take<Delivery>('message', 1)
        await target.bridge.settle({ token: first?.ack_token ?? '', action: 'nak' })
        await events.until('both again', () => {
          const again = events.events
            .map(({ data }) => JSON.parse(data) as Delivery)
            .filter(({ delivery_count }) => delivery_count === 2)
          return new Set(seqs(again)).size === 2
        })
      })
    })

    test('each message to one of several that listen', async () => {
      const { stream, path } = await makeFilled(0)
      const listeners = await Promise.all(
        range(1, 3).map(() => openEvents(target.bridge, `${path}/messages`)),
      )
      await fill(stream, 1, 60)

      const received = () =>
        listeners.flatMap(({ events }) => events.map(({ data }) => (JSON.parse(data) as Delivery).seq))
      await until('all messages', async () => received().length >= 60)
      for (const listener of listeners) listener.close()

      expect(received().sort((a, b) => a - b)).toEqual(range(1, 60))
    })

    test('a heartbeat where nothing is published', async () => {
      const { path } = await makeFilled(0)

      await withEvents(path, async (events) => {
        for (const _ of range(1, 2)) {
          const before = events.text().length
          await events.until('a heartbeat', () => events.text().length > before, target.longestSilenceMs)
        }
        expect(events.events).toEqual([])
      })
    })

    test('what is published after the connection dropped to the next client, long before the ack wait', async () => {
      const { stream, path } = await makeFilled(0)
      for (const n of range(1, 5)) {
        const dropped = await openEvents(target.bridge, `${path}/messages`)
        await dropped.until('its first line', () => dropped.text().length > 0)
        await target.bridge.ok(`GET ${path}`)
        dropped.close()
        await fill(stream, n, n)

        const { messages } = await target.bridge.pull(path, { wait_ms: 10_000 })

        expect(seqs(messages)).toEqual([n])
        await acknowledge(messages)
      }
    })

    test('what was not sent when the connection drops to the next client, long before the ack wait', async () => {
      const stream = await target.makeStream()
      const size = Math.min(262_144, Math.floor(target.limits.max_payload_bytes / 2))
      const count = Math.ceil((24 * 1_048_576) / size)
      for (const _ of range(1, count)) await target.bridge.publish(stream.subject('a'), 'x'.repeat(size))
      const path = await target.makeConsumer(stream, { ack_wait_ms: LONG_ACK_WAIT_MS })
      const dropped = await openRaw(target.bridge.url, {
        method: 'GET',
        target: `${path}/messages`,
        headers: { Accept: 'text/event-stream' },
      })
      await dropped.take(1_000)
      // The bridge has filled what lies between it and the client once no more is delivered.
      let delivered = -1
      await until('nothing more is delivered', async () => {
        const before = delivered
        delivered = (await target.bridge.ok<ConsumerBody>(`GET ${path}`)).delivered.stream_seq
        return delivered > 0 && delivered === before
      })
      dropped.vanish()

      const got = new Set<number>()
      const deliveries: Delivery[] = []
      // Half of it lies in no buffer between the two.
      await until(
        'the rest',
        async () => {
          const { messages } = await target.bridge.pull(path, { batch: 1_000, wait_ms: 100 })
          deliveries.push(...messages)
          for (const { seq } of messages) got.add(seq)
          return got.size > count / 2 && got.has(count)
        },
        15_000,
      )

      // On a busy machine a few more were on their way to the first client: those come when they are given back.
      const others = seqs(deliveries).filter((seq) => seq > delivered)
      expect(others.toSorted((one, other) => one - other)).toEqual(range(delivered + 1, count))
      expect(deliveries.some(({ delivery_count }) => delivery_count > 1)).toBe(true)
    })

    test('an error event, then the end, when the consumer is deleted', async () => {
      const { path } = await makeFilled(1)

      await withEvents(path, async (events) => {
        await events.take('message', 1)
        await target.bridge.ok(`DELETE ${path}`)
        const [failure] = await events.take<Problem>('error', 1, 30_000)
        expect(failure).toMatchObject({ code: 'consumer_not_found', status: 404 })
        await events.until('the end', () => events.ended())
      })
    })

    test.each([
      ['consumer_not_found', (stream: TestStream) => `${stream.path}/consumers/nobody/messages`],
      ['stream_not_found', () => '/v1/streams/nothing-here/consumers/nobody/messages'],
    ])('404 %s, as a status, when there is none', async (code, path) => {
      const stream = await target.makeStream()

      const answer = await target.bridge.send(`GET ${path(stream)}`, {
        headers: { Accept: 'text/event-stream' },
      })

      expect(answer).toMatchObject(problem(404, code))
    })

    test('406 not_acceptable when no events are accepted', async () => {
      const { path } = await makeFilled(0)

      const answer = await target.bridge.send(`GET ${path}/messages`, {
        headers: { Accept: 'application/json' },
      })

      expect(answer).toMatchObject(problem(406, 'not_acceptable'))
    })

    test('400 naming an unknown query parameter', async () => {
      const { path } = await makeFilled(0)

      const answer = await target.bridge.send(`GET ${path}/messages`, {
        query: { batch: 5 },
        headers: { Accept: 'text/event-stream' },
      })

      expect(answer).toMatchObject(refusal('batch'))
    })

    test('payload as base64 when it is asked for', async () => {
      const { path } = await makeFilled(1)
      const events = await openEvents(target.bridge, `${path}/messages`, { query: { payload: 'base64' } })

      const [delivery] = await events.take<Delivery>('message', 1)
      events.close()

      expect(delivery?.data_base64).toBe(Buffer.from('m1').toString('base64'))
      expect(at([delivery], 0)).not.toHaveProperty('data')
    })
  })
})
