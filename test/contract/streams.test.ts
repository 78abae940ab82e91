/** The contract of streams: configuration, state, subjects, lists and purges. */
import { describe, expect, test } from 'vitest'
import type { StreamBody } from './client.ts'
import { problem, range, refusal, seqs } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

interface StreamList {
  readonly streams: readonly StreamBody[]
  readonly total: number
  readonly next_offset: number | null
}

onEveryTarget((target) => {
  const create = (json: unknown) => target.bridge.send<StreamBody>('POST /v1/streams', { json })
  const get = (stream: TestStream) => target.bridge.ok<StreamBody>(`GET ${stream.path}`)
  const fill = async (stream: TestStream, count: number) => {
    for (const n of range(1, count))
      await target.bridge.publish(stream.subject(n % 2 ? 'odd' : 'even'), `m${n}`)
  }
  /** Every duration of a stream that all servers have, in milliseconds. */
  const DURATIONS = {
    max_age_ms: 90_061_000,
    duplicate_window_ms: 1_500,
    consumer_limits: { inactive_threshold_ms: 60_000, max_ack_pending: 10 },
  }

  describe('createStream', () => {
    test('201 with configuration, creation time and state', async () => {
      const stream = await target.makeStream()
      await target.bridge.ok(`DELETE ${stream.path}`)

      const answer = await create({
        name: stream.name,
        subjects: [stream.subject('>')],
        storage: 'memory',
        max_msgs: 5,
      })

      expect(answer.status).toBe(201)
      expect(answer.body).toMatchObject({
        config: {
          name: stream.name,
          subjects: [stream.subject('>')],
          storage: 'memory',
          retention: 'limits',
          max_msgs: 5,
        },
        created: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
        state: { messages: 0, bytes: 0, last_seq: 0, num_subjects: 0, num_deleted: 0, consumer_count: 0 },
      })
    })

    test('201 and its durations in milliseconds, as they were given', async () => {
      const stream = await target.makeStream(DURATIONS)

      expect((await get(stream)).config).toMatchObject(DURATIONS)
    })

    test('201 and every plain field as it was given', async () => {
      const config = {
        description: 'größe',
        retention: 'limits',
        discard: 'new',
        max_consumers: 3,
        max_msgs: 100,
        max_msgs_per_subject: 10,
        max_bytes: 1_000_000,
        max_msg_size: 1_000,
        allow_rollup_hdrs: true,
        metadata: { owner: 'a team', empty: '' },
      }
      const stream = await target.makeStream(config)

      expect((await get(stream)).config).toMatchObject(config)
    })

    test('409 stream_exists, and the stream as it was, when it exists with another configuration', async () => {
      const stream = await target.makeStream({ max_msgs: 5 })

      const answer = await create({
        name: stream.name,
        subjects: [stream.subject('>')],
        storage: 'memory',
        max_msgs: 6,
      })

      expect(answer).toMatchObject(problem(409, 'stream_exists', { retryable: false, side_effects: 'none' }))
      expect((await get(stream)).config).toMatchObject({ max_msgs: 5 })
    })

    test('a refusal without side effects when its subjects are those of another', async () => {
      const stream = await target.makeStream()

      const answer = await create({
        name: `${stream.name}-2`,
        subjects: [stream.subject('a')],
        storage: 'memory',
      })

      expect(answer.status).toBeOneOf([409, 422])
      expect(answer.body).toMatchObject({ side_effects: 'none', retryable: false })
    })

    test.each([
      ['name', { name: 'a.b' }],
      ['name', { name: 'a b' }],
      ['name', { name: '' }],
      ['name', { name: 'a\r\nb' }],
      ['name', {}],
      ['max_age', { name: 'x', max_age: 1_000 }],
      ['unknown', { name: 'x', unknown: true }],
      ['retention', { name: 'x', retention: 'forever' }],
      ['max_msgs', { name: 'x', max_msgs: '5' }],
      ['max_msgs', { name: 'x', max_msgs: 1.5 }],
      ['max_age_ms', { name: 'x', max_age_ms: -1 }],
      ['subjects', { name: 'x', subjects: 'x.>' }],
      ['subjects.0', { name: 'x', subjects: ['a b'] }],
      ['subjects.1', { name: 'x', subjects: ['a', 'a..b'] }],
      ['consumer_limits.unknown', { name: 'x', consumer_limits: { unknown: 1 } }],
    ])('400 naming %s in %j', async (field, json) => {
      expect(await create(json)).toMatchObject(refusal(field))
    })

    test('400 naming each of several refused fields', async () => {
      const answer = await create({ name: 'a b', one: 1, two: 2 })

      for (const field of ['name', 'one', 'two']) expect(answer).toMatchObject(refusal(field))
    })
  })

  describe('getStream', () => {
    test('200 with the state as it is', async () => {
      const stream = await target.makeStream()
      await fill(stream, 5)
      await target.bridge.ok(`DELETE ${stream.path}/messages/3`)
      await target.makeConsumer(stream)

      expect((await get(stream)).state).toMatchObject({
        messages: 4,
        first_seq: 1,
        last_seq: 5,
        num_subjects: 2,
        num_deleted: 1,
        consumer_count: 1,
      })
    })

    test('404 stream_not_found when it does not exist', async () => {
      expect(await target.bridge.send('GET /v1/streams/nothing-here')).toMatchObject(
        problem(404, 'stream_not_found'),
      )
    })

    test('400 naming an unknown query parameter', async () => {
      expect(await target.bridge.send('GET /v1/streams/x', { query: { deep: 1 } })).toMatchObject(
        refusal('deep'),
      )
    })
  })

  describe('updateStream', () => {
    const update = (stream: TestStream, json: Record<string, unknown>) =>
      target.bridge.send<StreamBody>(`PUT ${stream.path}`, {
        json: { subjects: [stream.subject('>')], storage: 'memory', ...json },
      })

    test('200 with the new configuration, and the messages still there', async () => {
      const stream = await target.makeStream({ description: 'old' })
      await fill(stream, 2)

      const { status, body } = await update(stream, { description: 'new', max_age_ms: 60_000 })

      expect(status).toBe(200)
      expect(body).toMatchObject({
        config: { description: 'new', max_age_ms: 60_000 },
        state: { messages: 2 },
      })
      expect((await get(stream)).config).toMatchObject({ description: 'new', max_age_ms: 60_000 })
    })

    test('a refusal without side effects when the field cannot be changed', async () => {
      const stream = await target.makeStream()

      const answer = await update(stream, { storage: 'file' })

      expect(answer.status).toBeOneOf([409, 422])
      expect(answer.body).toMatchObject({ side_effects: 'none', retryable: false })
    })

    test('400 naming what it does not know, and a name other than that in the path', async () => {
      const stream = await target.makeStream()

      expect(await update(stream, { unknown: 1 })).toMatchObject(refusal('unknown'))
      expect(await update(stream, { name: 'other' })).toMatchObject(refusal('name'))
    })
  })

  describe('deleteStream', () => {
    test('the stream gone, then 404 stream_not_found', async () => {
      const stream = await target.makeStream()

      await target.bridge.ok(`DELETE ${stream.path}`)

      expect(await target.bridge.send(`GET ${stream.path}`)).toMatchObject(problem(404, 'stream_not_found'))
      expect(await target.bridge.send(`DELETE ${stream.path}`)).toMatchObject(
        problem(404, 'stream_not_found'),
      )
    })
  })

  describe('listStreams', () => {
    const list = (query: Record<string, number> = {}) =>
      target.bridge.ok<StreamList>('GET /v1/streams', { query })

    test('200 with every stream once by following next_offset', async () => {
      const made = [await target.makeStream(), await target.makeStream(), await target.makeStream()]
      const names: string[] = []
      let offset: number | null = 0
      while (offset !== null) {
        const page: StreamList = await list({ offset })
        names.push(...page.streams.map(({ config }) => config.name))
        expect(page.next_offset ?? Number.POSITIVE_INFINITY).toBeGreaterThan(offset)
        offset = page.next_offset
      }

      expect(names).toEqual(expect.arrayContaining(made.map(({ name }) => name)))
      expect(new Set(names).size).toBe(names.length)
    })

    test('200 with what follows the offset', async () => {
      await target.makeStream()
      const all = await list()

      const { streams } = await list({ offset: 1 })

      expect(streams.at(0)?.config.name).toBe(all.streams.at(1)?.config.name)
    })

    test('200 with an empty page behind the end', async () => {
      expect(await list({ offset: 1_000_000 })).toMatchObject({ streams: [], next_offset: null })
    })

    test.each(['-1', 'x', '1.5', ''])('400 naming offset when it is "%s"', async (offset) => {
      expect(await target.bridge.send('GET /v1/streams', { query: { offset } })).toMatchObject(
        refusal('offset'),
      )
    })

    test('400 naming an unknown query parameter', async () => {
      expect(await target.bridge.send('GET /v1/streams', { query: { limit: 1 } })).toMatchObject(
        refusal('limit'),
      )
    })
  })

  describe('purgeStream', () => {
    const purged = async (json: Record<string, unknown>) => {
      const stream = await target.makeStream()
      await fill(stream, 10)
      const { filter, ...rest } = json
      const body = filter === undefined ? rest : { ...rest, filter: stream.subject(String(filter)) }
      const answer = await target.bridge.ok(`POST ${stream.path}/purge`, { json: body })
      return { answer, left: seqs((await target.bridge.page(stream.name)).messages) }
    }

    test.each([
      ['everything', {}, 10, []],
      ['one subject', { filter: 'odd' }, 5, [2, 4, 6, 8, 10]],
      ['what a wildcard selects', { filter: '*' }, 10, []],
      ['up to a sequence, not including it', { seq: 4 }, 3, range(4, 10)],
      ['all but the newest', { keep: 2 }, 8, [9, 10]],
      ['one subject up to a sequence', { filter: 'odd', seq: 5 }, 2, [2, 4, 5, 6, 7, 8, 9, 10]],
      ['all but the newest of a subject', { filter: 'odd', keep: 1 }, 4, [2, 4, 6, 8, 9, 10]],
    ])('200 with how many are gone: %s', async (_, json, count, left) => {
      expect(await purged(json)).toEqual({ answer: { purged: count }, left })
    })

    test('404 stream_not_found when the stream does not exist', async () => {
      const answer = await target.bridge.send('POST /v1/streams/nothing-here/purge', { json: {} })

      expect(answer).toMatchObject(problem(404, 'stream_not_found'))
    })

    test('400 naming keep when seq is given too', async () => {
      const stream = await target.makeStream()

      const answer = await target.bridge.send(`POST ${stream.path}/purge`, { json: { seq: 1, keep: 1 } })

      expect(answer).toMatchObject(refusal('keep'))
    })

    test.each([
      ['filter', { filter: 'a b' }],
      ['filter', { filter: 'a\r\nb' }],
      ['seq', { seq: 0 }],
      ['seq', { seq: '1' }],
      ['keep', { keep: -1 }],
      ['up_to', { up_to: 3 }],
    ])('400 naming %s in %j', async (field, json) => {
      const stream = await target.makeStream()

      expect(await target.bridge.send(`POST ${stream.path}/purge`, { json })).toMatchObject(refusal(field))
    })

    test('422 refused_by_jetstream, and the messages there, when the stream denies it', async () => {
      const fixed = await target.makeStream({ deny_purge: true })
      await fill(fixed, 2)

      expect(await target.bridge.send(`POST ${fixed.path}/purge`, { json: {} })).toMatchObject(
        problem(422, 'refused_by_jetstream'),
      )
      expect((await get(fixed)).state.messages).toBe(2)
    })
  })

  describe('listSubjects', () => {
    const subjects = (stream: TestStream, query = {}) =>
      target.bridge.ok<{ subjects: Record<string, number>; next_offset: number | null }>(
        `GET ${stream.path}/subjects`,
        { query },
      )

    test('200 with every subject and its count', async () => {
      const stream = await target.makeStream()
      await fill(stream, 5)

      expect(await subjects(stream)).toEqual({
        subjects: { [stream.subject('odd')]: 3, [stream.subject('even')]: 2 },
        next_offset: null,
      })
    })

    test('200 with the subjects that the filter selects', async () => {
      const stream = await target.makeStream()
      for (const tail of ['eu.1', 'eu.2', 'us.1', 'eu.1']) await target.bridge.publish(stream.subject(tail))

      expect((await subjects(stream, { subject: stream.subject('eu.*') })).subjects).toEqual({
        [stream.subject('eu.1')]: 2,
        [stream.subject('eu.2')]: 1,
      })
      expect((await subjects(stream, { subject: stream.subject('us.1') })).subjects).toEqual({
        [stream.subject('us.1')]: 1,
      })
    })

    test('200 with none when there is none', async () => {
      const stream = await target.makeStream()

      expect(await subjects(stream)).toEqual({ subjects: {}, next_offset: null })
      expect((await subjects(stream, { subject: stream.subject('nothing') })).subjects).toEqual({})
    })

    test('404 stream_not_found when the stream does not exist', async () => {
      expect(await target.bridge.send('GET /v1/streams/nothing-here/subjects')).toMatchObject(
        problem(404, 'stream_not_found'),
      )
    })

    test('400 naming subject when it is none', async () => {
      const stream = await target.makeStream()

      const answer = await target.bridge.send(`GET ${stream.path}/subjects`, { query: { subject: 'a..b' } })

      expect(answer).toMatchObject(refusal('subject'))
    })
  })
})
