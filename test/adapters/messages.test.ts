/** The tests of publishing and reading against the newest and the oldest server that are supported. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JetStream, JetStreamConnection, MessageHeaders, StoredMessage } from '../../src/jetstream.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { codeOf, EAGER, eventually, failureOf, makeStream, open, publishText } from './support.ts'

const MAX_BYTES = 1_048_576
const never = new AbortController().signal

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

  const first = async (stream: string, seq: number): Promise<StoredMessage | undefined> =>
    (await jetstream.getBatchByConsumer(stream, { from: { seq }, batch: 1, maxBytes: MAX_BYTES })).messages[0]

  const noConsumersLeft = (stream: string) =>
    eventually(async () => (await jetstream.listConsumers(stream, 0)).total === 0)

  describe('server', () => {
    it('the API level says what the server can do', async () => {
      const info = await jetstream.server()
      expect(info).toEqual({
        version: nats.version,
        apiLevel: expect.any(Number),
        maxPayloadBytes: 1_048_576,
      })
      expect(info.apiLevel >= 4).toBe(version === 'current')
      expect(info.apiLevel === 0).toBe(version === '2.10')
      await jetstream.ping()
    })
  })

  describe('publish', () => {
    it('the PubAck names stream and sequence', async () => {
      const stream = await makeStream(jetstream)
      expect(await publishText(jetstream, `${stream}.a`, 'x')).toEqual({ stream, seq: 1, duplicate: false })
    })

    it('duplicate when the message id was used before', async () => {
      const stream = await makeStream(jetstream)
      const headers = { 'Nats-Msg-Id': ['1'] }
      await publishText(jetstream, `${stream}.a`, 'x', headers)
      expect(await publishText(jetstream, `${stream}.a`, 'x', headers)).toEqual({
        stream,
        seq: 1,
        duplicate: true,
      })
    })

    it('subject_not_found when no stream listens', async () => {
      expect(await codeOf(publishText(jetstream, 'nobody.here', 'x'))).toBe('subject_not_found')
    })

    it('precondition_failed with the current sequence when another was expected', async () => {
      const stream = await makeStream(jetstream)
      await publishText(jetstream, `${stream}.a`, 'x')
      const failure = await failureOf(
        publishText(jetstream, `${stream}.a`, 'y', { 'Nats-Expected-Last-Sequence': ['9'] }),
      )
      expect([failure.code, failure.members]).toEqual(['precondition_failed', { current_seq: 1 }])
      const other = publishText(jetstream, `${stream}.a`, 'y', { 'Nats-Expected-Stream': ['OTHER'] })
      expect(await codeOf(other)).toBe('precondition_failed')
    })

    it('payload_too_large when the stream or the server takes less', async () => {
      const stream = await makeStream(jetstream, { max_msg_size: 10 })
      expect(await codeOf(publishText(jetstream, `${stream}.a`, 'x'.repeat(11)))).toBe('payload_too_large')
      expect(await codeOf(publishText(jetstream, `${stream}.a`, 'x'.repeat(1_048_577)))).toBe(
        'payload_too_large',
      )
    })

    it('stream_full when the stream discards new messages', async () => {
      const stream = await makeStream(jetstream, { max_msgs: 1, discard: 'new' })
      await publishText(jetstream, `${stream}.a`, 'x')
      expect(await codeOf(publishText(jetstream, `${stream}.a`, 'y'))).toBe('stream_full')
    })

    it('invalid_request when a header value would smuggle another header', async () => {
      const stream = await makeStream(jetstream, { allow_rollup_hdrs: true })
      await publishText(jetstream, `${stream}.a`, 'kept')
      const smuggling = publishText(jetstream, `${stream}.a`, 'x', { Harmless: ['a\r\nNats-Rollup: all'] })
      const failure = await failureOf(smuggling)
      expect([failure.code, failure.errors?.[0]?.field]).toEqual(['invalid_request', 'headers.Harmless'])
      expect(await codeOf(publishText(jetstream, `${stream}.a`, 'x', { 'a: b\r\nc': ['d'] }))).toBe(
        'invalid_request',
      )
      expect((await jetstream.streamInfo(stream)).state.messages).toBe(1)
    })

    it('invalid_request when a subject would smuggle a command', async () => {
      expect(await codeOf(publishText(jetstream, 'a 0\r\n\r\nPUB b', 'x'))).toBe('invalid_request')
    })
  })

  describe('reading', () => {
    it('payload, headers and time are the same whichever way a message is read', async () => {
      const stream = await makeStream(jetstream)
      const headers: MessageHeaders = {
        'X-Order': ['b', 'a', 'b'],
        'x-order': ['lower case is another header'],
        Text: ['Grüße ☃'],
        'Nats-Sequence': ['999'],
        'Nats-Time-Stamp': ['mine'],
      }
      const payload = Uint8Array.from({ length: 256 }, (_, index) => index)
      await jetstream.publish({ subject: `${stream}.a`, payload, headers })
      for (let i = 0; i < 30; i += 1) await publishText(jetstream, `${stream}.b`, `${i}`)
      await jetstream.putConsumer(stream, { durable_name: 'work', ack_policy: 'explicit' })

      const pulled = await jetstream.pull(stream, 'work', {
        batch: 31,
        maxBytes: MAX_BYTES,
        waitMs: 0,
        signal: never,
      })
      const read = await jetstream.getBatchByConsumer(stream, {
        from: { seq: 1 },
        batch: 31,
        maxBytes: MAX_BYTES,
      })
      const got = await Promise.all(pulled.map(({ seq }) => jetstream.getMessage(stream, { seq })))
      const live: StoredMessage[] = []
      const following = await jetstream.follow(stream, 1, {
        message: (m) => live.push(m),
        ...EAGER,
        ended: () => undefined,
      })
      await eventually(() => live.length === 31)
      await following.stop()

      const plain = pulled.map(({ subject, seq, time, headers, payload }) => ({
        subject,
        seq,
        time,
        headers,
        payload,
      }))
      const same = (messages: readonly (StoredMessage | undefined)[]) =>
        messages.map((message) => message && { ...message, payload: [...message.payload] })
      expect(plain[0]).toMatchObject({ headers, seq: 1 })
      expect([...(plain[0]?.payload ?? [])]).toEqual([...payload])
      expect(same(read.messages)).toEqual(same(plain))
      expect(same(got)).toEqual(same(plain))
      expect(same(live)).toEqual(same(plain))
      if (version === 'current') {
        const batch = await jetstream.getBatch(stream, { from: { seq: 1 }, batch: 31, maxBytes: MAX_BYTES })
        expect(same(batch.messages)).toEqual(same(plain))
      }
    })

    it('undefined when there is no such message', async () => {
      const stream = await makeStream(jetstream)
      expect(await jetstream.getMessage(stream, { seq: 1 })).toBeUndefined()
      expect(await jetstream.getMessage(stream, { lastBySubject: `${stream}.a` })).toBeUndefined()
      expect(await codeOf(jetstream.getMessage('MISSING', { seq: 1 }))).toBe('stream_not_found')
    })

    it('the first match at a sequence, and the last of a subject', async () => {
      const stream = await makeStream(jetstream)
      for (const subject of ['a', 'b', 'a', 'b'])
        await publishText(jetstream, `${stream}.${subject}`, subject)
      const next = await jetstream.getMessage(stream, { seq: 1, nextBySubject: `${stream}.b` })
      const last = await jetstream.getMessage(stream, { lastBySubject: `${stream}.a` })
      expect([next?.seq, last?.seq]).toEqual([2, 3])
    })

    it('by consumer: filtered, bounded, from a time, past the end, and no consumer is left', async () => {
      const stream = await makeStream(jetstream)
      for (const subject of ['a', 'b', 'a', 'b', 'a'])
        await publishText(jetstream, `${stream}.${subject}`, subject)
      const read = (more: object) =>
        jetstream.getBatchByConsumer(stream, { from: { seq: 1 }, batch: 10, maxBytes: MAX_BYTES, ...more })
      const seqs = async (more: object) => {
        const { messages, numPending } = await read(more)
        return { seqs: messages.map(({ seq }) => seq), numPending }
      }
      expect(await seqs({ filter: `${stream}.a` })).toEqual({ seqs: [1, 3, 5], numPending: 0 })
      expect(await seqs({ filter: `${stream}.a`, batch: 2 })).toEqual({ seqs: [1, 3], numPending: 1 })
      expect(await seqs({ maxBytes: 1 })).toEqual({ seqs: [1], numPending: 4 })
      expect(await seqs({ from: { seq: 99 } })).toEqual({ seqs: [], numPending: 0 })
      const third = await first(stream, 3)
      expect(await seqs({ from: { time: third?.time ?? '' } })).toEqual({ seqs: [3, 4, 5], numPending: 0 })
      expect(
        await codeOf(jetstream.getBatchByConsumer('MISSING', { from: { seq: 1 }, batch: 1, maxBytes: 1 })),
      ).toBe('stream_not_found')
      await noConsumersLeft(stream)
    })

    it('the last of each subject in pages of a frozen set', async () => {
      const stream = await makeStream(jetstream)
      for (const subject of ['a', 'b', 'c', 'a', 'd'])
        await publishText(jetstream, `${stream}.${subject}`, subject)
      const page = (fromSeq: number, batch: number) =>
        jetstream.getLastPerSubject(stream, { filters: [], fromSeq, upToSeq: 4, batch, maxBytes: MAX_BYTES })
      const one = await page(1, 2)
      expect(one.messages.map(({ seq }) => seq)).toEqual([2, 3])
      expect(one.numPending).toBeGreaterThan(0)
      const two = await page(4, 2)
      expect(two.messages.map(({ seq }) => seq)).toEqual([4])
      expect(two.numPending).toBe(0)
      await noConsumersLeft(stream)
    })

    it('the last of each of more subjects than Direct Get gives', async () => {
      const stream = await makeStream(jetstream)
      const subjects = Array.from({ length: 1_500 }, (_, index) => `${stream}.${index}`)
      await Promise.all(subjects.map((subject) => publishText(jetstream, subject, '')))
      const request = { filters: [`${stream}.*`], upToSeq: 1_500, batch: 1_000, maxBytes: MAX_BYTES }
      const one = await jetstream.getLastPerSubject(stream, { ...request, fromSeq: 1 })
      const two = await jetstream.getLastPerSubject(stream, { ...request, fromSeq: 1_001 })
      expect([one.messages.length, one.numPending > 0]).toEqual([1_000, true])
      expect([two.messages.length, two.numPending]).toEqual([500, 0])
    })
  })

  describe('getBatch', () => {
    const read = (stream: string, more: object = {}) =>
      jetstream.getBatch(stream, { from: { seq: 1 }, batch: 10, maxBytes: MAX_BYTES, ...more })

    it.runIf(version === '2.10')('not_supported when the server has no batches', async () => {
      const stream = await makeStream(jetstream)
      await publishText(jetstream, `${stream}.a`, 'x')
      expect(await codeOf(read(stream))).toBe('not_supported')
    })

    it.runIf(version === 'current')('as stored, whatever headers a publisher sets itself', async () => {
      const stream = await makeStream(jetstream)
      const pretended = {
        'Nats-Stream': ['OTHER'],
        'Nats-Subject': ['other'],
        'Nats-Sequence': ['999'],
        'Nats-Time-Stamp': ['2020-01-01T00:00:00Z'],
        'Nats-Num-Pending': ['999'],
        'Nats-Last-Sequence': ['999'],
      }
      const cases: [subject: string, headers: Record<string, string[]>, text: string][] = [
        ['a', {}, ''],
        ['a', pretended, 'NATS/1.0\r\n\r\n'],
        ['ä"☃', { 'Nats-Last-Sequence': ['1', '2'] }, '☃'],
        ['ä"☃', {}, 'last'],
      ]
      for (const [subject, headers, text] of cases)
        await publishText(jetstream, `${stream}.${subject}`, text, headers)
      const { messages, numPending } = await read(stream)
      expect(
        messages.map(({ subject, seq, headers, payload }) => [
          subject,
          seq,
          headers,
          new TextDecoder().decode(payload),
        ]),
      ).toEqual(
        cases.map(([subject, headers, text], index) => [`${stream}.${subject}`, index + 1, headers, text]),
      )
      expect(numPending).toBe(0)
      const stored = await Promise.all(messages.map(({ seq }) => jetstream.getMessage(stream, { seq })))
      expect(messages.map(({ time }) => time)).toEqual(stored.map((message) => message?.time))
    })

    it.runIf(version === 'current')('filtered, bounded, from a time, past the end', async () => {
      const stream = await makeStream(jetstream)
      for (const subject of ['a', 'b', 'a', 'b', 'a'])
        await publishText(jetstream, `${stream}.${subject}`, subject)
      const seqs = async (more: object) => {
        const { messages, numPending } = await read(stream, more)
        return { seqs: messages.map(({ seq }) => seq), numPending }
      }
      expect(await seqs({ filter: `${stream}.a` })).toEqual({ seqs: [1, 3, 5], numPending: 0 })
      expect(await seqs({ filter: `${stream}.a`, batch: 2 })).toEqual({ seqs: [1, 3], numPending: 1 })
      expect(await seqs({ maxBytes: 1 })).toEqual({ seqs: [1], numPending: 4 })
      expect(await seqs({ from: { seq: 99 } })).toEqual({ seqs: [], numPending: 0 })
      const third = (await first(stream, 3))?.time ?? ''
      expect(await seqs({ from: { time: third } })).toEqual({ seqs: [3, 4, 5], numPending: 0 })
      expect(await seqs({ from: { time: '9999-01-01T00:00:00Z' } })).toEqual({ seqs: [], numPending: 0 })
    })

    it('not_supported or stream_not_found when nobody answers', async () => {
      const stream = await makeStream(jetstream, { allow_direct: false })
      expect(await codeOf(read(stream))).toBe('not_supported')
      expect(await codeOf(read('MISSING'))).toBe('stream_not_found')
    })
  })
})
