/** The tests of stream administration, and of messages that other clients left behind. */
import { connect, MsgHdrsImpl } from 'nats.ws'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JetStream, JetStreamConnection } from '../../src/jetstream.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { codeOf, failureOf, makeStream, open, publishText } from './support.ts'

describe.each(['current', '2.10'] as const)('nats-server %s', (version) => {
  let nats: TestNats
  let connection: JetStreamConnection
  let jetstream: JetStream

  beforeAll(async () => {
    nats = await startNats({ version })
    connection = open(nats.wsUrl)
    jetstream = connection.jetstream
  })
  afterAll(async () => {
    await connection?.close()
    await nats?.stop()
  })

  it('created, found by subject, listed, updated, told and deleted', async () => {
    const stream = await makeStream(jetstream)
    expect(await jetstream.streamOf(`${stream}.a`)).toBe(stream)
    expect(await jetstream.streamOf('nobody.here')).toBeUndefined()
    const { items, total } = await jetstream.listStreams(0)
    expect([items.map(({ config }) => config.name), total]).toEqual([[stream], 1])
    expect((await jetstream.listStreams(1)).items).toEqual([])
    const { config, created } = await jetstream.streamInfo(stream)
    const changed = await jetstream.updateStream({ ...config, max_msgs: 7 })
    expect([changed.config.max_msgs, changed.created]).toEqual([7, created])
    await jetstream.deleteStream(stream)
    expect(await codeOf(jetstream.streamInfo(stream))).toBe('stream_not_found')
  })

  it('stream_exists, or refused_by_jetstream with the reason', async () => {
    const stream = await makeStream(jetstream)
    expect(await codeOf(jetstream.createStream({ name: stream, subjects: ['else'] }))).toBe('stream_exists')
    const overlapping = await failureOf(jetstream.createStream({ name: 'OTHER', subjects: [`${stream}.a`] }))
    expect([overlapping.code, overlapping.message]).toEqual([
      'refused_by_jetstream',
      'JetStream: subjects overlap with an existing stream.',
    ])
    expect(await codeOf(jetstream.createStream({ name: 'MANY', subjects: ['m'], num_replicas: 3 }))).toBe(
      'refused_by_jetstream',
    )
    const { config } = await jetstream.streamInfo(stream)
    expect(await codeOf(jetstream.updateStream({ ...config, storage: 'file' }))).toBe('refused_by_jetstream')
  })

  it('messages counted by subject, deleted and purged', async () => {
    const stream = await makeStream(jetstream)
    for (const subject of ['a', 'b', 'a']) await publishText(jetstream, `${stream}.${subject}`, 'x')
    const counts = async (filter: string) => {
      const { json, nextOffset } = await jetstream.subjectCounts(stream, filter, 0)
      return [JSON.parse(json), nextOffset]
    }
    expect(await counts('>')).toEqual([{ [`${stream}.a`]: 2, [`${stream}.b`]: 1 }, null])
    expect(await counts('none')).toEqual([{}, null])
    const odd = ['a"b', 'a,"', '":1}', 'a\\', 'ä{}', '"subjects":{']
    for (const subject of odd) await publishText(jetstream, `${stream}.${subject}`, 'x')
    expect(await counts(`${stream}.*`)).toEqual([
      {
        [`${stream}.a`]: 2,
        [`${stream}.b`]: 1,
        ...Object.fromEntries(odd.map((one) => [`${stream}.${one}`, 1])),
      },
      null,
    ])
    await jetstream.purgeStream(stream, { filter: `${stream}.*` })
    for (const subject of ['a', 'b', 'a']) await publishText(jetstream, `${stream}.${subject}`, 'x')
    const first = (await jetstream.streamInfo(stream)).state.first_seq
    await jetstream.deleteMessage(stream, first)
    expect(await codeOf(jetstream.deleteMessage(stream, first))).toBe('message_not_found')
    expect(await codeOf(jetstream.deleteMessage(stream, 99))).toBe('message_not_found')
    expect(await jetstream.purgeStream(stream, { filter: `${stream}.b` })).toBe(1)
    expect(await jetstream.purgeStream(stream, {})).toBe(1)
  })

  it('a header that nats.ws cannot decode does not make its neighbours unreadable', async () => {
    const stream = await makeStream(jetstream)
    const other = await connect({ servers: nats.wsUrl })
    const headers = MsgHdrsImpl.fromRecord({ 'Not A Token': ['x'], Fine: ['y'] })
    await other.request(`${stream}.a`, 'odd', { timeout: 5_000, headers })
    await other.close()
    await publishText(jetstream, `${stream}.a`, 'even')
    const request = { from: { seq: 1 }, batch: 2, maxBytes: 1_000_000 }
    const odd = { 'Not A Token': ['x'], Fine: ['y'] }
    expect((await jetstream.getBatchByConsumer(stream, request)).messages.map((m) => m.headers)).toEqual([
      odd,
      {},
    ])
    expect((await jetstream.getMessage(stream, { seq: 1 }))?.headers).toEqual(odd)
    if (version === '2.10') return
    expect((await jetstream.getBatch(stream, request)).messages.map((m) => m.headers)).toEqual([odd, {}])
  })

  it('a work queue is not read beside its consumers', async () => {
    const stream = await makeStream(jetstream, { retention: 'workqueue' })
    await jetstream.putConsumer(stream, { durable_name: 'work', ack_policy: 'explicit' })
    const read = jetstream.getBatchByConsumer(stream, { from: { seq: 1 }, batch: 1, maxBytes: 1 })
    expect((await failureOf(read)).message).toBe('A work-queue stream cannot be read beside its consumers.')
  })
})
