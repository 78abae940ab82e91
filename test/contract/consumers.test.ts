/** The contract of durable consumers: configuration, state, where they start, pause and reset. */
import { describe, expect, test } from 'vitest'
import type { ConsumerBody } from './client.ts'
import { at, problem, range, refusal, seqs, until } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

interface ConsumerList {
  readonly consumers: readonly ConsumerBody[]
  readonly total: number
  readonly next_offset: number | null
}

onEveryTarget((target) => {
  const get = (path: string) => target.bridge.ok<ConsumerBody>(`GET ${path}`)
  const put = (stream: TestStream, json: unknown, name = 'worker') =>
    target.bridge.send<ConsumerBody>(`PUT ${stream.path}/consumers/${name}`, { json })
  const fill = async (stream: TestStream, first: number, last: number) => {
    for (const n of range(first, last))
      await target.bridge.publish(stream.subject(n % 2 ? 'odd' : 'even'), `m${n}`)
  }
  const makeFilled = async (count: number) => {
    const stream = await target.makeStream()
    await fill(stream, 1, count)
    return stream
  }
  const pullAll = async (path: string) =>
    seqs((await target.bridge.pull(path, { batch: 100, wait_ms: 1_000 })).messages)

  describe('putConsumer', () => {
    test('2xx with configuration and state', async () => {
      const stream = await makeFilled(3)

      const { status, body } = await put(stream, { description: 'größe', ack_wait_ms: 5_000, max_deliver: 7 })

      expect(status).toBeOneOf([200, 201])
      expect(body).toMatchObject({
        stream: stream.name,
        name: 'worker',
        config: {
          description: 'größe',
          ack_policy: 'explicit',
          deliver_policy: 'all',
          ack_wait_ms: 5_000,
          max_deliver: 7,
        },
        delivered: { consumer_seq: 0, stream_seq: 0 },
        ack_floor: { consumer_seq: 0, stream_seq: 0 },
        num_ack_pending: 0,
        num_redelivered: 0,
        num_pending: 3,
        paused: false,
      })
    })

    test('2xx whatever the name, with a body as long as any', async () => {
      const stream = await target.makeStream()
      const metadata = { note: 'x'.repeat(8_000) }
      expect((await put(stream, { metadata }, 'pull')).body.config).toMatchObject({ metadata })
    })

    test('2xx and every field as it was given, durations in milliseconds', async () => {
      const stream = await makeFilled(1)
      const config = {
        filter_subjects: [stream.subject('odd'), stream.subject('even')],
        deliver_policy: 'by_start_sequence',
        opt_start_seq: 1,
        ack_policy: 'explicit',
        max_deliver: 5,
        max_ack_pending: 50,
        backoff_ms: [100, 2_500, 60_000],
        inactive_threshold_ms: 3_600_000,
        description: 'd',
        metadata: { owner: 'a team' },
      }
      const path = await target.makeConsumer(stream, config)

      expect((await get(path)).config).toMatchObject(config)
    })

    test('2xx with filter_subjects when there is one', async () => {
      const stream = await makeFilled(5)
      const path = await target.makeConsumer(stream, { filter_subjects: [stream.subject('even')] })

      expect((await get(path)).config).toMatchObject({ filter_subjects: [stream.subject('even')] })
      expect(await pullAll(path)).toEqual([2, 4])
    })

    test('2xx the same when the configuration is the same, and with the new one when it is another', async () => {
      const stream = await makeFilled(1)
      await put(stream, { ack_wait_ms: 5_000 })

      expect((await put(stream, { ack_wait_ms: 5_000 })).status).toBe(200)
      expect((await put(stream, { ack_wait_ms: 6_000 })).body.config).toMatchObject({ ack_wait_ms: 6_000 })
    })

    test.each([
      ['all', {}, range(1, 6)],
      ['last', {}, [6]],
      ['new', {}, []],
      ['by_start_sequence', { opt_start_seq: 4 }, [4, 5, 6]],
    ])('2xx and the messages of deliver_policy %s', async (deliver_policy, more, expected) => {
      const stream = await makeFilled(6)
      const path = await target.makeConsumer(stream, { deliver_policy, ...more })

      expect(await pullAll(path)).toEqual(expected)
    })

    test('2xx and the last message of each subject', async () => {
      const stream = await makeFilled(6)
      const filter_subjects = [stream.subject('*')]
      const path = await target.makeConsumer(stream, { deliver_policy: 'last_per_subject', filter_subjects })

      expect(await pullAll(path)).toEqual([5, 6])
    })

    test('2xx and the messages since opt_start_time', async () => {
      const stream = await makeFilled(4)
      const { time } = at((await target.bridge.page(stream.name)).messages, 2)
      const path = await target.makeConsumer(stream, {
        deliver_policy: 'by_start_time',
        opt_start_time: time,
      })

      expect(await pullAll(path)).toEqual([3, 4])
    })

    test('2xx and the messages right after a cursor of a page or a publish', async () => {
      const stream = await makeFilled(4)
      const page = await target.bridge.page(stream.name, { limit: 3 })
      const published = await target.bridge.publish(stream.subject('odd'))
      await fill(stream, 6, 7)

      expect(await pullAll(await target.makeConsumer(stream, { cursor: page.cursor }))).toEqual([4, 5, 6, 7])
      expect(await pullAll(await target.makeConsumer(stream, { cursor: published.cursor }))).toEqual([6, 7])
    })

    test('409 cursor_mismatch with the cursor of another stream', async () => {
      const [stream, other] = [await makeFilled(1), await makeFilled(1)]
      const { cursor } = await target.bridge.page(other.name)

      expect(await put(stream, { cursor })).toMatchObject(problem(409, 'cursor_mismatch'))
    })

    test('410 cursor_expired, 410 stream_recreated with the cursor of what is gone', async () => {
      const stream = await makeFilled(4)
      const { cursor } = await target.bridge.page(stream.name, { limit: 1 })
      await target.bridge.ok(`POST ${stream.path}/purge`, { json: { seq: 4 } })
      expect(await put(stream, { cursor })).toMatchObject(problem(410, 'cursor_expired', { missed: 2 }))

      await target.remakeStream(stream)
      expect(await put(stream, { cursor })).toMatchObject(problem(410, 'stream_recreated'))
    })

    test('400 naming cursor when deliver_policy is given too', async () => {
      const stream = await makeFilled(1)
      const { cursor } = await target.bridge.page(stream.name)

      expect(await put(stream, { cursor, deliver_policy: 'all' })).toMatchObject(refusal('cursor'))
    })

    test.each([
      ['ack_wait', { ack_wait: 5_000 }],
      ['deliver_subject', { deliver_subject: 'push.me' }],
      ['durable_name', { durable_name: 'x' }],
      ['unknown', { unknown: 1 }],
      ['ack_policy', { ack_policy: 'maybe' }],
      ['deliver_policy', { deliver_policy: 'sometimes' }],
      ['ack_wait_ms', { ack_wait_ms: 0 }],
      ['ack_wait_ms', { ack_wait_ms: '5' }],
      ['backoff_ms.1', { backoff_ms: [100, -1] }],
      ['filter_subjects.0', { filter_subjects: ['a b'] }],
      ['filter_subjects.0', { filter_subjects: ['a\r\nb'] }],
      ['opt_start_time', { deliver_policy: 'by_start_time', opt_start_time: 'yesterday' }],
      ['metadata.a', { metadata: { a: 1 } }],
    ])('400 naming %s in %j', async (field, json) => {
      const stream = await target.makeStream()

      expect(await put(stream, json)).toMatchObject(refusal(field))
    })

    test.each(['a.b', 'a b', '*', 'a\0', 'x'.repeat(300)])(
      '400 naming consumer when it is %j',
      async (name) => {
        const stream = await target.makeStream()

        expect(await put(stream, {}, encodeURIComponent(name))).toMatchObject(refusal('consumer'))
      },
    )

    test('a refusal without side effects when its filters overlap', async () => {
      const stream = await target.makeStream()

      const answer = await put(stream, { filter_subjects: [stream.subject('a.>'), stream.subject('a.b')] })

      expect(answer.status).toBeOneOf([400, 422])
      expect(answer.body).toMatchObject({ side_effects: 'none', retryable: false })
    })

    test('a refusal without side effects when a field cannot be changed', async () => {
      const stream = await target.makeStream()
      await put(stream, { deliver_policy: 'all' })

      const answer = await put(stream, { deliver_policy: 'new' })

      expect(answer.status).toBeOneOf([409, 422])
      expect(answer.body).toMatchObject({ side_effects: 'none', retryable: false })
    })

    test('404 stream_not_found when the stream does not exist', async () => {
      const answer = await target.bridge.send('PUT /v1/streams/nothing-here/consumers/worker', { json: {} })

      expect(answer).toMatchObject(problem(404, 'stream_not_found'))
    })
  })

  describe('getConsumer', () => {
    test('200 with the state after deliveries and acks, and a cursor at the ack floor', async () => {
      const stream = await makeFilled(6)
      const path = await target.makeConsumer(stream)
      const { messages } = await target.bridge.pull(path, { batch: 5 })
      await target.bridge.settle(
        ...messages.slice(0, 3).map(({ ack_token: token }) => ({ token, action: 'ack' as const })),
      )

      const state = await until('the acks are counted', async () => {
        const body = await get(path)
        return body.ack_floor.stream_seq === 3 && body
      })

      expect(state).toMatchObject({
        delivered: { stream_seq: 5 },
        num_ack_pending: 2,
        num_pending: 1,
        num_redelivered: 0,
      })
      expect(seqs((await target.bridge.page(stream.name, { cursor: state.cursor })).messages)).toEqual([
        4, 5, 6,
      ])
    })

    test('200 with a cursor before the first message when nothing was settled', async () => {
      const stream = await makeFilled(2)
      const path = await target.makeConsumer(stream)

      const { cursor } = await get(path)

      expect(seqs((await target.bridge.page(stream.name, { cursor })).messages)).toEqual([1, 2])
    })

    test('404 consumer_not_found or stream_not_found when there is none', async () => {
      const stream = await target.makeStream()

      expect(await target.bridge.send(`GET ${stream.path}/consumers/nobody`)).toMatchObject(
        problem(404, 'consumer_not_found'),
      )
      expect(await target.bridge.send('GET /v1/streams/nothing-here/consumers/nobody')).toMatchObject(
        problem(404, 'stream_not_found'),
      )
    })
  })

  describe('listConsumers', () => {
    test('200 with every consumer of the stream', async () => {
      const stream = await target.makeStream()
      for (const name of ['c', 'a', 'b']) await put(stream, {}, name)

      const list = await target.bridge.ok<ConsumerList>(`GET ${stream.path}/consumers`)

      expect(list.consumers.map(({ name }) => name).sort()).toEqual(['a', 'b', 'c'])
      expect(list).toMatchObject({ total: 3, next_offset: null })
    })

    test('200 with what follows the offset', async () => {
      const stream = await target.makeStream()
      for (const name of ['a', 'b', 'c']) await put(stream, {}, name)
      const list = (offset: number) =>
        target.bridge.ok<ConsumerList>(`GET ${stream.path}/consumers`, { query: { offset } })

      const [all, rest, none] = [await list(0), await list(2), await list(3)]

      expect(rest.consumers.map(({ name }) => name)).toEqual([at(all.consumers, 2).name])
      expect(none).toMatchObject({ consumers: [], next_offset: null })
    })

    test('404 stream_not_found when the stream does not exist', async () => {
      expect(await target.bridge.send('GET /v1/streams/nothing-here/consumers')).toMatchObject(
        problem(404, 'stream_not_found'),
      )
    })

    test('400 naming offset when it is none', async () => {
      const stream = await target.makeStream()

      expect(
        await target.bridge.send(`GET ${stream.path}/consumers`, { query: { offset: 'x' } }),
      ).toMatchObject(refusal('offset'))
    })
  })

  describe('deleteConsumer', () => {
    test('the consumer gone, then 404 consumer_not_found', async () => {
      const path = await target.makeConsumer(await target.makeStream())

      await target.bridge.ok(`DELETE ${path}`)

      expect(await target.bridge.send(`GET ${path}`)).toMatchObject(problem(404, 'consumer_not_found'))
      expect(await target.bridge.send(`DELETE ${path}`)).toMatchObject(problem(404, 'consumer_not_found'))
    })
  })

  describe('pauseConsumer and resumeConsumer', () => {
    const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString()

    test('200 and nothing delivered until it is resumed, or 501 not_supported', async () => {
      const stream = await makeFilled(2)
      const path = await target.makeConsumer(stream)
      const pause = await target.bridge.send(`POST ${path}/pause`, { json: { pause_until: inAnHour() } })
      if (!target.supports.consumer_pause) {
        expect(pause).toMatchObject(problem(501, 'not_supported', { side_effects: 'none' }))
        expect(await target.bridge.send(`POST ${path}/resume`)).toMatchObject(problem(501, 'not_supported'))
        return
      }

      expect(pause).toMatchObject({ status: 200, body: { paused: true } })
      expect((await get(path)).paused).toBe(true)
      expect((await target.bridge.pull(path, { batch: 10, wait_ms: 300 })).messages).toEqual([])

      expect(await target.bridge.send(`POST ${path}/resume`)).toMatchObject({
        status: 200,
        body: { paused: false },
      })
      expect(await pullAll(path)).toEqual([1, 2])
    })

    test.each([
      ['pause_until', {}],
      ['pause_until', { pause_until: 'tomorrow' }],
      ['for_ms', { pause_until: '2030-01-01T00:00:00Z', for_ms: 5 }],
    ])('400 naming %s in %j', async (field, json) => {
      const path = await target.makeConsumer(await target.makeStream())

      expect(await target.bridge.send(`POST ${path}/pause`, { json })).toMatchObject(refusal(field))
    })

    test('404 consumer_not_found when there is none, or 501 not_supported', async () => {
      const stream = await target.makeStream()
      const expected = target.supports.consumer_pause
        ? problem(404, 'consumer_not_found')
        : problem(501, 'not_supported')

      const path = `${stream.path}/consumers/nobody`
      expect(
        await target.bridge.send(`POST ${path}/pause`, { json: { pause_until: inAnHour() } }),
      ).toMatchObject(expected)
      expect(await target.bridge.send(`POST ${path}/resume`)).toMatchObject(expected)
    })
  })

  describe('resetConsumer', () => {
    test('200 and messages delivered again from a sequence or the ack floor, or 501 not_supported', async () => {
      const stream = await makeFilled(5)
      const path = await target.makeConsumer(stream)
      const { messages } = await target.bridge.pull(path, { batch: 5 })
      const reset = (json: unknown) => target.bridge.send(`POST ${path}/reset`, { json })
      if (!target.supports.consumer_reset) {
        expect(await reset({ seq: 2 })).toMatchObject(problem(501, 'not_supported', { side_effects: 'none' }))
        return
      }

      expect((await reset({ seq: 2 })).status).toBe(200)
      expect(await pullAll(path)).toEqual([2, 3, 4, 5])
      expect((await reset({})).status).toBe(200)
      expect(await pullAll(path)).toContain(5)
      expect(messages).toHaveLength(5)
    })

    test.each([
      ['seq', { seq: 0 }],
      ['seq', { seq: 'x' }],
      ['to', { to: 1 }],
    ])('400 naming %s in %j', async (field, json) => {
      const path = await target.makeConsumer(await target.makeStream())

      expect(await target.bridge.send(`POST ${path}/reset`, { json })).toMatchObject(refusal(field))
    })
  })
})
