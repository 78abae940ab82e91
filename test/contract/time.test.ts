/** The contract of messages that JetStream does more with than store them: lifetimes, counters, rollups. */
import { describe, expect, test } from 'vitest'
import type { Message } from './client.ts'
import { openEvents } from './events.ts'
import { at, problem, refusal, until } from './expectations.ts'
import { FAR, type Feature, featuresOn } from './features.ts'
import { stored } from './results.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const HOUR_MS = 3_600_000

onEveryTarget((target) => {
  const { send, publish, read, withFeature } = featuresOn(target)
  /** The headers of all messages, on each way that they can be read. */
  const headersEverywhere = async (stream: TestStream) => {
    const messages = await read(stream)
    const single = (seq: number) =>
      target.bridge.ok<Message>(`GET ${stream.path}/messages/${seq}`, {
        headers: { Accept: 'application/json' },
      })
    const events = await openEvents(target.bridge, `${stream.path}/messages?start=beginning`)
    const ways = {
      page: messages,
      single: await Promise.all(messages.map(({ seq }) => single(seq))),
      pull: (await target.bridge.pull(await target.makeConsumer(stream), { batch: 100 })).messages,
      events: await events.take<Message>('message', messages.length),
    }
    events.close()
    return Object.entries(ways).map(([way, read]) => [way, read.map(({ headers }) => headers)])
  }
  const onEveryWay = (headers: readonly object[]) =>
    ['page', 'single', 'pull', 'events'].map((way) => [way, headers])

  describe('lifetimes', () => {
    test('ttl_ms and Nats-TTL told to every reader', () =>
      withFeature('message_ttl', async (orders) => {
        expect(await send({ subject: orders.subject('a'), ttl_ms: HOUR_MS })).toMatchObject([stored(0, 1)])
        expect(await publish(orders.subject('a'), { 'Nats-TTL': '1h' })).toMatchObject({ status: 201 })
        expect(await send({ subject: orders.subject('a'), headers: { 'nats-ttl': 'never' } })).toMatchObject([
          stored(0, 3),
        ])

        expect(await headersEverywhere(orders)).toEqual(
          onEveryWay([{ 'Nats-TTL': ['3600s'] }, { 'Nats-TTL': ['1h'] }, { 'Nats-TTL': ['never'] }]),
        )
      }))

    test.concurrent('messages gone after their ttl_ms, and the others there', () =>
      withFeature('message_ttl', async (orders) => {
        await send(
          ...[1_000, HOUR_MS, undefined, 1_000].map((ttl_ms) => ({ subject: orders.subject('a'), ttl_ms })),
        )

        await until('two have expired', async () => (await read(orders)).length === 2)

        expect((await read(orders)).map(({ seq }) => seq)).toEqual([2, 3])
        expect(
          await target.bridge.send(`GET ${orders.path}/messages/1`, {
            headers: { Accept: 'application/json' },
          }),
        ).toMatchObject(problem(404, 'message_not_found'))
      }))

    test.concurrent('no message gone before its ttl_ms, also where that is no whole second', () =>
      withFeature('message_ttl', async (orders) => {
        const before = performance.now()
        await send({ subject: orders.subject('a'), ttl_ms: 1_900 })

        await until('it has expired', async () => (await read(orders)).length === 0)

        expect(performance.now() - before).toBeGreaterThanOrEqual(1_900)
      }))

    test.each([0, 999, 1.5, '1s', -1])('400 naming ttl_ms when it is %j', async (ttl_ms) => {
      const orders = await target.makeStream()

      expect(await send({ subject: orders.subject('a'), ttl_ms })).toMatchObject([
        { error: refusal('ttl_ms').body },
      ])
    })
  })

  describe('counters', () => {
    test('the new value in each result, and the counter in the stream', () =>
      withFeature('counters', async (orders) => {
        const [a, b] = [orders.subject('a'), orders.subject('b')]

        const results = await send(
          { subject: a, incr: '+2' },
          { subject: a, incr: '-5' },
          { subject: b, incr: '99999999999999999999' },
          { subject: a, incr: '+1', id: 'k' },
          { subject: a, incr: '+1', id: 'k' },
        )

        expect(results.map(({ val }) => val)).toEqual(['2', '-3', '99999999999999999999', '-2', undefined])
        expect(at(results, 4)).toMatchObject({ seq: 4, duplicate: true })
        expect(await publish(a, { 'Nats-Incr': '1' })).toMatchObject({
          status: 201,
          body: { seq: 5, val: '-1' },
        })
        expect((await read(orders, a)).map(({ data }) => data)).toEqual(
          ['2', '-3', '-2', '-1'].map((val) => `{"val":"${val}"}`),
        )
      }))

    test.each(['more', '1.5', '', '+', 1])('400 naming incr when it is %j', async (incr) => {
      const orders = await target.makeStream()

      expect(await send({ subject: orders.subject('a'), incr })).toMatchObject([
        { error: refusal('incr').body },
      ])
    })

    test.each([
      ['a message that adds nothing', { data: '7' }],
      ['a payload besides', { data: '7', incr: '+1' }],
    ])('a refusal, and nothing stored, for %s', (_, members) =>
      withFeature('counters', async (orders) => {
        expect(await send({ subject: orders.subject('a'), ...members })).toMatchObject([
          { error: { status: 422, side_effects: 'none' } },
        ])
        expect(await read(orders)).toEqual([])
      }),
    )
  })

  describe('rollups and conditions', () => {
    test('what came before gone with rollup, in its subject and then in the stream', async () => {
      const orders = await target.makeStream({ allow_rollup_hdrs: true })
      const [a, b] = [{ subject: orders.subject('a') }, { subject: orders.subject('b') }]

      await send(a, b, a, { ...a, rollup: 'sub' })
      expect((await read(orders)).map(({ seq }) => seq)).toEqual([2, 4])
      await send({ ...b, rollup: 'all' })
      expect(await read(orders)).toMatchObject([{ seq: 5, headers: { 'Nats-Rollup': ['all'] } }])
      expect(await send({ ...b, rollup: 'none' })).toMatchObject([{ error: refusal('rollup').body }])
    })

    test('the conditions of a publish told to every reader', async () => {
      const orders = await target.makeStream()
      await send(
        { subject: orders.subject('a'), id: 'k', expected_last_seq: 0, expected_stream: orders.name },
        { subject: orders.subject('b'), expected_last_subject_seq: 0, expected_last_msg_id: 'k' },
      )

      expect(await headersEverywhere(orders)).toEqual(
        onEveryWay([
          {
            'Nats-Msg-Id': ['k'],
            'Nats-Expected-Last-Sequence': ['0'],
            'Nats-Expected-Stream': [orders.name],
          },
          { 'Nats-Expected-Last-Subject-Sequence': ['0'], 'Nats-Expected-Last-Msg-Id': ['k'] },
        ]),
      )
    })
  })

  describe.each<[string, Feature, object, Readonly<Record<string, string>>]>([
    ['ttl_ms', 'message_ttl', { ttl_ms: 1_000 }, { 'Nats-TTL': '1s' }],
    ['incr', 'counters', { incr: '+1' }, { 'Nats-Incr': '+1' }],
    ['deliver_at', 'message_schedules', { deliver_at: FAR }, { 'Nats-Schedule': `@at ${FAR}` }],
    ['cron', 'cron_schedules', { cron: '@daily' }, { 'Nats-Schedule': '@daily' }],
    [
      'time_zone',
      'cron_schedules',
      { cron: '0 9 * * *', time_zone: 'Europe/Amsterdam' },
      { 'Nats-Schedule': '0 0 9 * * *', 'Nats-Schedule-Time-Zone': 'Europe/Amsterdam' },
    ],
    [
      'cancel_schedule',
      'cron_schedules',
      { cancel_schedule: 'a.schedule' },
      { 'Nats-Scheduler': 'a.schedule', 'Nats-Schedule-Next': 'purge' },
    ],
  ])('%s where it is not to be had', (_, feature, members, headers) => {
    const store = async (orders: TestStream) => {
      const isSchedule = 'Nats-Schedule' in headers
      const [subject, to] = [orders.subject('a'), orders.subject('now')]
      const results = await send({ subject, ...members, ...(isSchedule ? { schedule_target: to } : {}) })
      const answer = await publish(subject, {
        ...headers,
        ...(isSchedule ? { 'Nats-Schedule-Target': to } : {}),
      })
      return [at(results, 0).error, answer.body] as const
    }

    test('501 not_supported naming the version of the server, and nothing stored', async () => {
      if (target.supports[feature]) return
      const orders = await target.makeStream()
      const { server } = await target.bridge.ok<{ server: { version: string } }>('GET /v1/capabilities')

      for (const refused of await store(orders))
        expect(refused).toMatchObject({
          status: 501,
          code: 'not_supported',
          side_effects: 'none',
          detail: expect.stringContaining(server.version),
        })
      expect(await read(orders)).toEqual([])
    })

    test('422, and nothing stored, in a stream that does not allow it', async () => {
      if (!target.supports[feature]) return
      const orders = await target.makeStream()

      for (const refused of await store(orders))
        expect(refused).toMatchObject({
          status: 422,
          code: 'refused_by_jetstream',
          side_effects: 'none',
          retryable: false,
        })
      expect(await read(orders)).toEqual([])
    })
  })
})
