/** The contract of schedules: messages that JetStream stores on their target later, once or again and again. */
import { describe, expect, test } from 'vitest'
import { at, refusal, until } from './expectations.ts'
import { ALLOWING, FAR, type Feature, featuresOn } from './features.ts'
import { stored } from './results.ts'
import { onEveryTarget, type TestStream } from './target.ts'

/** From when a schedule is sent until it is due: more than a slow machine takes to store it. */
const SOON_MS = 2_000
/** How late a busy server may be. */
const LATE_MS = 15_000

onEveryTarget((target) => {
  const { send, publish, read, withFeature } = featuresOn(target)
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
          stored(0, 1),
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
          stored(0, 1),
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

        expect(await send(cancelling)).toMatchObject([stored(0, 2)])
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
})
