/** Owns the contract of messages that JetStream does something with later: lifetimes, schedules, counters, rollups. */
import { describe, expect, test } from 'vitest'
import { type Message, type Problem, publishPath } from './client.ts'
import { openEvents } from './events.ts'
import { at, problem, refusal, until } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

interface Result {
  readonly index: number
  readonly seq?: number
  readonly val?: string
  readonly error?: Problem
}

type Feature = 'message_ttl' | 'message_schedules' | 'cron_schedules' | 'counters'

const HOUR_MS = 3_600_000
/** From when a schedule is sent until it is due: more than a slow machine takes to store it. */
const SOON_MS = 2_000
/** How late a busy server may be. */
const LATE_MS = 5_000
const FAR = '2100-01-01T00:00:00Z'

const ALLOWING: Readonly<Record<Feature, Readonly<Record<string, unknown>>>> = {
  message_ttl: { allow_msg_ttl: true },
  message_schedules: { allow_msg_schedules: true, allow_msg_ttl: true },
  cron_schedules: { allow_msg_schedules: true, allow_msg_ttl: true },
  counters: { allow_msg_counter: true },
}

const storedAs = (index: number, seq: unknown = expect.any(Number)) => ({ index, seq, duplicate: false })

onEveryTarget((target) => {
  const supports = (feature: Feature) =>
    (target.supports as Readonly<Record<string, boolean>>)[feature] === true
  const send = async (...messages: readonly object[]): Promise<readonly Result[]> =>
    (await target.bridge.ok<{ results: Result[] }>('POST /v1/messages', { json: { messages } })).results
  const publish = (subject: string, headers: Record<string, string>, body = '') =>
    target.bridge.send(`POST ${publishPath(subject)}`, { headers, body })
  const read = async ({ name }: TestStream, subject?: string) =>
    (await target.bridge.page(name, subject === undefined ? {} : { subject })).messages
  /** Runs a test on a stream that allows the feature, where the server has it. */
  const withFeature = async (feature: Feature, run: (stream: TestStream) => Promise<void>) => {
    if (supports(feature)) await run(await target.makeStream(ALLOWING[feature]))
  }
  /** What the server's clock says. */
  const serverNow = async ({ name }: TestStream, subject: string) => {
    const { seq } = await target.bridge.publish(subject)
    return Date.parse(at((await target.bridge.page(name, { start: `seq:${seq}` })).messages, 0).time)
  }
  const awaitOn = (stream: TestStream, subject: string, count = 1) =>
    until(`${count} on "${subject}"`, async () => {
      const messages = await read(stream, subject)
      return messages.length >= count && messages
    })
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
        expect(await send({ subject: orders.subject('a'), ttl_ms: HOUR_MS })).toMatchObject([storedAs(0, 1)])
        expect(await publish(orders.subject('a'), { 'Nats-TTL': '1h' })).toMatchObject({ status: 201 })
        expect(await send({ subject: orders.subject('a'), headers: { 'nats-ttl': 'never' } })).toMatchObject([
          storedAs(0, 3),
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

  describe('schedules', () => {
    type StoreSchedule = (subject: string, due: string, to: string) => Promise<unknown>
    test.concurrent.each<[string, StoreSchedule, readonly string[]]>([
      [
        'deliver_at',
        (subject, due, to) =>
          send({ subject, data: 'x', deliver_at: due, schedule_target: to, headers: { Own: ['2', '1'] } }),
        ['2', '1'],
      ],
      [
        'Nats-Schedule',
        (subject, due, to) =>
          publish(
            subject,
            { 'Nats-Schedule': `@at ${due}`, 'Nats-Schedule-Target': to, 'NatsH-Own': '1' },
            'x',
          ),
        ['1'],
      ],
    ])('%s: on its target at its time and not before, and no longer where it waited', (_, store, own) =>
      withFeature('message_schedules', async (orders) => {
        const [subject, to] = [orders.subject('later.1'), orders.subject('now')]
        const due = (await serverNow(orders, orders.subject('clock'))) + SOON_MS

        await store(subject, new Date(due).toISOString(), to)

        const [message, ...more] = await awaitOn(orders, to)
        expect(more).toEqual([])
        expect(message).toMatchObject({
          data: 'x',
          headers: { 'Nats-Scheduler': [subject], 'Nats-Schedule-Next': ['purge'], Own: own },
        })
        expect(Date.parse(message?.time ?? '')).toBeGreaterThanOrEqual(due)
        expect(Date.parse(message?.time ?? '')).toBeLessThan(due + LATE_MS)
        expect(await read(orders, subject)).toEqual([])
      }),
    )

    test.concurrent('deliver_at: on its target at once when it is in the past, with its schedule_ttl_ms', () =>
      withFeature('message_schedules', async (orders) => {
        const [subject, to] = [orders.subject('later'), orders.subject('now')]
        const past = { deliver_at: '2020-01-01T00:00:00+02:00', schedule_target: to }

        expect(await send({ subject, data: 'x', ...past, schedule_ttl_ms: 1_000 })).toMatchObject([
          storedAs(0, 1),
        ])

        expect(await awaitOn(orders, to)).toMatchObject([{ data: 'x', headers: { 'Nats-TTL': ['1s'] } }])
        await until('it has expired', async () => (await read(orders, to)).length === 0)
      }))

    test('deliver_at: the later one alone when a subject has two', () =>
      withFeature('message_schedules', async (orders) => {
        const later = {
          subject: orders.subject('later'),
          deliver_at: FAR,
          schedule_target: orders.subject('now'),
        }

        await send({ ...later, data: '1' }, { ...later, data: '2' })

        expect(await read(orders)).toMatchObject([
          {
            seq: 2,
            data: '2',
            headers: { 'Nats-Schedule': [`@at ${FAR}`], 'Nats-Schedule-Target': [orders.subject('now')] },
          },
        ])
      }))

    test.each([
      ['30 9 * * mon-fri', '0 30 9 * * mon-fri', 'Europe/Amsterdam'],
      ['15 30 9 1 * *', '15 30 9 1 * *', 'America/New_York'],
      ['@daily', '@daily', 'Asia/Kolkata'],
      ['@every 1h30m', '@every 1h30m', undefined],
    ])('cron: %s taken as %s, in the time zone %s', (cron, schedule, time_zone) =>
      withFeature('cron_schedules', async (orders) => {
        const to = { schedule_target: orders.subject('now') }

        expect(await send({ subject: orders.subject('later'), cron, time_zone, ...to })).toMatchObject([
          storedAs(0, 1),
        ])

        const zone = time_zone === undefined ? {} : { 'Nats-Schedule-Time-Zone': [time_zone] }
        expect(at(await read(orders), 0).headers).toMatchObject({ 'Nats-Schedule': [schedule], ...zone })
      }),
    )

    test.concurrent.each<[string, (source: string) => object, readonly string[]]>([
      ['its own payload', () => ({}), ['own', 'own']],
      [
        'the last message of its schedule_source',
        (schedule_source) => ({ schedule_source }),
        ['last', 'last'],
      ],
    ])('cron: @every 1s on its target again and again, with %s', (_, members, payloads) =>
      withFeature('cron_schedules', async (orders) => {
        const [source, to] = [orders.subject('source'), orders.subject('now')]
        for (const payload of ['first', 'last']) await target.bridge.publish(source, payload)

        await send({
          subject: orders.subject('later'),
          data: 'own',
          cron: '@every 1s',
          schedule_target: to,
          ...members(source),
        })

        const messages = await awaitOn(orders, to, 2)
        expect(messages.slice(0, 2).map(({ data }) => data)).toEqual(payloads)
        for (const { headers } of messages)
          expect(headers['Nats-Scheduler']).toEqual([orders.subject('later')])
        expect(await read(orders, orders.subject('later'))).toHaveLength(1)
      }),
    )

    test.concurrent('cron: the last message alone on its target with schedule_rollup', () =>
      withFeature('cron_schedules', async () => {
        const orders = await target.makeStream({ ...ALLOWING.cron_schedules, allow_rollup_hdrs: true })
        const to = orders.subject('now')
        await target.bridge.publish(to, 'before')

        await send({
          subject: orders.subject('later'),
          cron: '@every 1s',
          schedule_target: to,
          schedule_rollup: 'sub',
        })

        const [message] = await until('it is rolled up', async () => {
          const messages = await read(orders, to)
          return at(messages, 0).data === '' && messages
        })
        expect(message?.headers).toMatchObject({
          'Nats-Rollup': ['sub'],
          'Nats-Scheduler': [orders.subject('later')],
        })
      }))

    test.concurrent('nothing on the target of a schedule that was deleted, purged or cancelled', () =>
      withFeature('cron_schedules', async (orders) => {
        const due = (await serverNow(orders, orders.subject('clock'))) + SOON_MS
        const later = (name: string, dueAt = due) => ({
          subject: orders.subject(`later.${name}`),
          schedule_target: orders.subject(`now.${name}`),
          deliver_at: new Date(dueAt).toISOString(),
        })
        const results = await send(
          ...['deleted', 'purged', 'cancelled'].map((name) => later(name)),
          later('last', due + 500),
        )

        await target.bridge.ok(`DELETE ${orders.path}/messages/${at(results, 0).seq}`)
        await target.bridge.ok(`POST ${orders.path}/purge`, {
          json: { filter: orders.subject('later.purged') },
        })
        await send({
          subject: orders.subject('order'),
          data: 'x',
          cancel_schedule: orders.subject('later.cancelled'),
        })

        await awaitOn(orders, orders.subject('now.last'))
        expect((await read(orders, orders.subject('now.>'))).map(({ subject }) => subject)).toEqual([
          orders.subject('now.last'),
        ])
      }))

    test('cancel_schedule: the schedule gone as its message is stored, and there where that is refused', () =>
      withFeature('cron_schedules', async (orders) => {
        const subject = orders.subject('later')
        const cancelling = { subject: orders.subject('order'), data: 'paid', cancel_schedule: subject }
        await send({ subject, deliver_at: FAR, schedule_target: orders.subject('now') })

        expect(await send({ ...cancelling, expected_last_subject_seq: 7 })).toMatchObject([
          { error: { status: 412 } },
        ])
        expect(await read(orders, subject)).toHaveLength(1)

        expect(await send(cancelling)).toMatchObject([storedAs(0, 2)])
        expect(await read(orders)).toMatchObject([
          { seq: 2, data: 'paid', headers: { 'Nats-Scheduler': [subject], 'Nats-Schedule-Next': ['purge'] } },
        ])
      }))

    test.each<[string, (orders: TestStream) => object, Feature]>([
      ['a cron with a field too many', () => ({ cron: '* * * * * * *' }), 'cron_schedules'],
      ['a cron out of bounds', () => ({ cron: '0 99 * * *' }), 'cron_schedules'],
      ['a cron of words', () => ({ cron: 'every day' }), 'cron_schedules'],
      ['a cron that never comes', () => ({ cron: '0 0 30 2 *' }), 'cron_schedules'],
      [
        'a time zone that there is not',
        () => ({ cron: '0 9 * * *', time_zone: 'Europe/Atlantis' }),
        'cron_schedules',
      ],
      ['@every under a second', () => ({ cron: '@every 10ms' }), 'cron_schedules'],
      [
        'a target that no stream has',
        ({ name }) => ({ deliver_at: FAR, schedule_target: `nobody-${name}` }),
        'message_schedules',
      ],
      [
        "the server's own subject as its target",
        () => ({ deliver_at: FAR, schedule_target: '$JS.API.INFO' }),
        'message_schedules',
      ],
      [
        'itself as its target',
        ({ subject }) => ({ deliver_at: FAR, schedule_target: subject('later') }),
        'message_schedules',
      ],
    ])('a refusal, and nothing stored, for %s', (_, members, feature) =>
      withFeature(feature, async (orders) => {
        const schedule_target = orders.subject('now')

        const [result] = await send({ subject: orders.subject('later'), schedule_target, ...members(orders) })

        expect(result?.error).toMatchObject({ side_effects: 'none', retryable: false })
        expect(result?.error?.status).toBeOneOf([400, 404, 422])
        expect(await read(orders)).toEqual([])
      }),
    )

    test('a refusal, and nothing stored, for a target of another stream', () =>
      withFeature('message_schedules', async (orders) => {
        const other = await target.makeStream(ALLOWING.message_schedules)

        const [result] = await send({
          subject: orders.subject('later'),
          deliver_at: FAR,
          schedule_target: other.subject('now'),
        })

        expect(result?.error?.status).toBeOneOf([400, 404, 422])
        expect([await read(orders), await read(other)]).toEqual([[], []])
      }))

    test.each<[string, object, string]>([
      ['deliver_at without a target', { deliver_at: FAR }, 'deliver_at'],
      ['cron without a target', { cron: '@daily' }, 'cron'],
      ['a target alone', { schedule_target: 'a' }, 'schedule_target'],
      ['a target with a wildcard', { deliver_at: FAR, schedule_target: 'a.>' }, 'schedule_target'],
      ['no time', { deliver_at: 'soon', schedule_target: 'a' }, 'deliver_at'],
      ['a time without a zone', { deliver_at: '2100-01-01T00:00:00', schedule_target: 'a' }, 'deliver_at'],
      ['two schedules', { deliver_at: FAR, cron: '@daily', schedule_target: 'a' }, 'cron'],
      ['a lifetime alone', { schedule_ttl_ms: 1_000 }, 'schedule_ttl_ms'],
      ['a time zone alone', { time_zone: 'UTC' }, 'time_zone'],
      [
        'a member and its header',
        { deliver_at: FAR, schedule_target: 'a', headers: { 'nats-schedule': '@daily' } },
        'deliver_at',
      ],
    ])('400 naming the member, and nothing stored, for %s', async (_, members, field) => {
      const orders = await target.makeStream()

      const [result] = await send({ subject: orders.subject('later'), ...members })

      expect(result?.error).toMatchObject(refusal(field).body)
      expect(await read(orders)).toEqual([])
    })

    test('400 naming nats-schedule without nats-schedule-target', async () => {
      const orders = await target.makeStream()

      expect(await publish(orders.subject('a'), { 'Nats-Schedule': `@at ${FAR}` })).toMatchObject(
        refusal('nats-schedule'),
      )
      expect(await read(orders)).toEqual([])
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
      if (supports(feature)) return
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
      if (!supports(feature)) return
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
