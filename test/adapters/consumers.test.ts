/** The tests of consumers: administration, pulling, settling and following. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { prepareConnection } from '../../src/adapters/nats/connection.ts'
import { follow } from '../../src/adapters/nats/follow.ts'
import type { BridgeError } from '../../src/errors.ts'
import type { JetStream, JetStreamConnection, LiveListener, StoredMessage } from '../../src/jetstream.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import {
  codeOf,
  EAGER,
  eventually,
  failureOf,
  makeStream,
  open,
  publishText,
  settingsFor,
  textOf,
} from './support.ts'

const MAX_BYTES = 1_048_576
const FIVE_MINUTES_NS = 300_000_000_000

describe.each(['current', '2.10'] as const)('nats-server %s', (version) => {
  let nats: TestNats
  let connection: JetStreamConnection
  let jetstream: JetStream

  beforeAll(async () => {
    nats = await startNats({ version })
    connection = open(nats.wsUrl, { REQUEST_TIMEOUT_MS: '2000' })
    jetstream = connection.jetstream
  })
  afterAll(async () => {
    await connection?.close()
    await nats?.stop()
  })

  const work = async (stream: string, config: object = {}) =>
    await jetstream.putConsumer(stream, {
      durable_name: 'work',
      ack_policy: 'explicit',
      ack_wait: FIVE_MINUTES_NS,
      ...config,
    })
  const pull = (stream: string, more: object = {}) => {
    const signal = new AbortController().signal
    return jetstream.pull(stream, 'work', { batch: 10, maxBytes: MAX_BYTES, waitMs: 0, signal, ...more })
  }
  const texts = async (stream: string, more: object = {}) =>
    (await pull(stream, more)).map(({ payload }) => textOf(payload))
  const waiting = (stream: string) =>
    eventually(async () => (await jetstream.consumerInfo(stream, 'work')).num_waiting > 0)

  describe('consumers', () => {
    it('created, updated, listed, told and deleted', async () => {
      const stream = await makeStream(jetstream)
      const made = await work(stream, { filter_subjects: [`${stream}.a`] })
      expect([made.name, made.config.filter_subject]).toEqual(['work', `${stream}.a`])
      expect((await work(stream, { filter_subject: `${stream}.a`, max_deliver: 3 })).config.max_deliver).toBe(
        3,
      )
      await work(stream, { filter_subjects: [`${stream}.a`, `${stream}.b`] })
      expect((await jetstream.listConsumers(stream, 0)).items.map(({ name }) => name)).toEqual(['work'])
      await jetstream.deleteConsumer(stream, 'work')
      expect(await codeOf(jetstream.consumerInfo(stream, 'work'))).toBe('consumer_not_found')
      expect(await codeOf(jetstream.deleteConsumer(stream, 'work'))).toBe('consumer_not_found')
      expect(await codeOf(jetstream.listConsumers('MISSING', 0))).toBe('stream_not_found')
    })

    it('a change that JetStream does not allow is refused with its reason', async () => {
      const stream = await makeStream(jetstream)
      await work(stream)
      const failure = await failureOf(work(stream, { deliver_policy: 'last' }))
      expect([failure.code, failure.message]).toEqual([
        'refused_by_jetstream',
        expect.stringContaining('deliver policy'),
      ])
    })

    it('invalid_request when a name would reach another API subject', async () => {
      expect(await codeOf(jetstream.consumerInfo('S', 'a.b'))).toBe('invalid_request')
      expect(await codeOf(jetstream.streamInfo('>'))).toBe('invalid_request')
    })

    it('paused and resumed, reset, or not_supported on an older server', async () => {
      const stream = await makeStream(jetstream)
      await work(stream)
      await publishText(jetstream, `${stream}.a`, 'x')
      const pause = jetstream.pauseConsumer(stream, 'work', '2200-01-01T00:00:00Z')
      if (version === '2.10') {
        expect((await failureOf(pause)).message).toContain('2.11')
        expect((await failureOf(jetstream.resetConsumer(stream, 'work', undefined))).message).toContain(
          '2.14',
        )
        return
      }
      await pause
      expect((await jetstream.consumerInfo(stream, 'work')).paused).toBe(true)
      await jetstream.pauseConsumer(stream, 'work', undefined)
      expect(await texts(stream)).toEqual(['x'])
      await jetstream.resetConsumer(stream, 'work', 1)
      expect(await texts(stream, { waitMs: 1_000 })).toEqual(['x'])
    })
  })

  describe('pull', () => {
    it('what is at hand, up to the batch, and nothing when nothing is', async () => {
      const stream = await makeStream(jetstream)
      await work(stream)
      expect(await texts(stream)).toEqual([])
      for (const text of ['1', '2', '3']) await publishText(jetstream, `${stream}.a`, text)
      expect(await texts(stream, { batch: 2 })).toEqual(['1', '2'])
      const [last] = await pull(stream, { waitMs: 10_000 })
      expect(last).toMatchObject({ seq: 3, deliveryCount: 1, numPending: 0 })
    })

    it('waits for the first message, and ends by itself when none comes', async () => {
      const stream = await makeStream(jetstream)
      await work(stream)
      const pulled = texts(stream, { waitMs: 20_000 })
      await waiting(stream)
      await publishText(jetstream, `${stream}.a`, 'x')
      expect(await pulled).toEqual(['x'])
      expect((await jetstream.consumerInfo(stream, 'work')).num_waiting).toBe(0)
      expect(await texts(stream, { waitMs: 100 })).toEqual([])
    })

    it('two waiting pulls get a message each', async () => {
      const stream = await makeStream(jetstream)
      await work(stream)
      const both = [texts(stream, { waitMs: 5_000 }), texts(stream, { waitMs: 5_000 })]
      await eventually(async () => (await jetstream.consumerInfo(stream, 'work')).num_waiting === 2)
      await publishText(jetstream, `${stream}.a`, '1')
      await eventually(
        async () => (await jetstream.consumerInfo(stream, 'work')).delivered.consumer_seq === 1,
      )
      await publishText(jetstream, `${stream}.a`, '2')
      expect((await Promise.all(both)).flat().sort()).toEqual(['1', '2'])
    })

    it('at most maxBytes, yet one message always passes', async () => {
      const stream = await makeStream(jetstream)
      await work(stream)
      for (let i = 0; i < 3; i += 1) await publishText(jetstream, `${stream}.a`, 'x'.repeat(1_000))
      expect(await texts(stream, { maxBytes: 100 })).toHaveLength(1)
      expect(await texts(stream, { maxBytes: 1_500, waitMs: 5_000 })).toHaveLength(1)
    })

    it('ends when the bytes come out even, which the server does not say', async () => {
      const stream = await makeStream(jetstream)
      await work(stream)
      for (let i = 0; i < 3; i += 1) await publishText(jetstream, `${stream}.a`, 'x'.repeat(100))
      const [one] = await pull(stream, { batch: 1 })
      const size = `${stream}.a`.length + (one?.replySubject.length ?? 0) + 100
      expect(await pull(stream, { maxBytes: size, waitMs: 10_000 })).toHaveLength(1)
    })

    it('a consumer at its max_ack_pending gives nothing, in time', async () => {
      const stream = await makeStream(jetstream)
      await work(stream, { max_ack_pending: 1 })
      for (const text of ['1', '2']) await publishText(jetstream, `${stream}.a`, text)
      expect(await texts(stream)).toEqual(['1'])
      expect(await texts(stream)).toEqual([])
      expect(await texts(stream, { waitMs: 200 })).toEqual([])
    })

    it('leaves no request open at a consumer that is full: what an ack makes room for is the next one’s', async () => {
      const stream = await makeStream(jetstream)
      await work(stream, { max_ack_pending: 2 })
      for (const text of ['1', '2', '3']) await publishText(jetstream, `${stream}.a`, text)
      const held = await pull(stream, { batch: 3 })
      expect(await pull(stream, { batch: 3 })).toEqual([])
      expect((await jetstream.consumerInfo(stream, 'work')).num_waiting).toBe(0)
      for (const { replySubject } of held) await jetstream.settle(replySubject, { action: 'ack' })
      expect(await pull(stream, { batch: 3 })).toMatchObject([{ seq: 3, deliveryCount: 1 }])
    })

    it.each([
      ['max_batch', { max_batch: 1 }],
      ['max_bytes', { max_bytes: 150 }],
      ['max_expires', { max_expires: 200_000_000 }],
    ])('no more than a consumer with %s allows, until all is there', async (_, config) => {
      const stream = await makeStream(jetstream)
      await work(stream, config)
      const waited = texts(stream, { batch: 3, waitMs: 20_000 })
      await waiting(stream)
      for (const text of ['1', '2', '3']) await publishText(jetstream, `${stream}.a`, text)
      const got = await waited
      while (got.length < 3) got.push(...(await texts(stream, { batch: 3, waitMs: 5_000 })))
      expect(got).toEqual(['1', '2', '3'])
    })

    it('a message that is larger than max_bytes of its consumer', async () => {
      const stream = await makeStream(jetstream)
      await work(stream, { max_bytes: 100 })
      await publishText(jetstream, `${stream}.a`, 'x'.repeat(1_000))
      expect(await texts(stream, { waitMs: 5_000 })).toEqual(['x'.repeat(1_000)])
    })

    it('no more than a consumer allows whose limits have changed since', async () => {
      const stream = await makeStream(jetstream)
      await work(stream)
      expect(await texts(stream)).toEqual([])
      const elsewhere = open(nats.wsUrl)
      await elsewhere.jetstream.putConsumer(stream, {
        durable_name: 'work',
        ack_policy: 'explicit',
        ack_wait: FIVE_MINUTES_NS,
        max_batch: 1,
        max_expires: 1_000_000_000,
      })
      await elsewhere.close()
      await publishText(jetstream, `${stream}.a`, 'x')
      expect(await texts(stream, { waitMs: 5_000 })).toEqual(['x'])
    })

    it('consumer_not_found, stream_not_found, or deleted while waiting', async () => {
      const stream = await makeStream(jetstream)
      expect(await codeOf(pull(stream))).toBe('consumer_not_found')
      expect(await codeOf(pull('MISSING'))).toBe('stream_not_found')
      await work(stream)
      const pulled = codeOf(pull(stream, { waitMs: 20_000 }))
      await waiting(stream)
      await jetstream.deleteConsumer(stream, 'work')
      expect(await pulled).toBe('consumer_not_found')
    })

    it('refused_by_jetstream when the consumer pushes', async () => {
      const stream = await makeStream(jetstream)
      await work(stream, { deliver_subject: 'somewhere' })
      expect(await codeOf(pull(stream))).toBe('refused_by_jetstream')
    })

    it('abandoned while waiting or in the middle: all of it comes again at once', async () => {
      const stream = await makeStream(jetstream)
      await work(stream)
      for (let round = 0; round < 40; round += 1) {
        const left = new AbortController()
        const pulled = pull(stream, { waitMs: 20_000, signal: left.signal }).catch((err: unknown) => err)
        await waiting(stream)
        const published = [
          publishText(jetstream, `${stream}.a`, `${round}`),
          publishText(jetstream, `${stream}.a`, 'b'),
        ]
        if (round % 2 === 0) await published[0]
        left.abort(new DOMException('gone', 'AbortError'))
        const first = await pulled
        await Promise.all(published)
        const got = Array.isArray(first) ? [...first] : []
        if (!Array.isArray(first)) expect(first).toMatchObject({ name: 'AbortError' })
        while (got.length < 2) got.push(...(await pull(stream, { waitMs: 5_000 })))
        await Promise.all(got.map(({ replySubject }) => jetstream.settle(replySubject, { action: 'ack' })))
      }
      expect(await jetstream.consumerInfo(stream, 'work')).toMatchObject({
        num_ack_pending: 0,
        num_pending: 0,
      })
    })
  })

  describe('settle', () => {
    it('ack, nak, progress and term are each confirmed and take effect', async () => {
      const stream = await makeStream(jetstream)
      await work(stream)
      await publishText(jetstream, `${stream}.a`, 'x')
      const take = async (): Promise<string> => (await pull(stream, { waitMs: 5_000 }))[0]?.replySubject ?? ''
      await jetstream.settle(await take(), { action: 'nak' })
      await jetstream.settle(await take(), { action: 'nak', delayMs: 20 })
      const third = await take()
      await jetstream.settle(third, { action: 'progress' })
      await jetstream.settle(third, { action: 'term', reason: 'broken for good' })
      await publishText(jetstream, `${stream}.a`, 'y')
      await jetstream.settle(await take(), { action: 'ack' })
      expect(await jetstream.consumerInfo(stream, 'work')).toMatchObject({
        num_ack_pending: 0,
        num_pending: 0,
      })
    })

    it('consumer_not_found when the consumer is gone, invalid_request for any other subject', async () => {
      const stream = await makeStream(jetstream)
      await work(stream)
      await publishText(jetstream, `${stream}.a`, 'x')
      const [delivery] = await pull(stream, { waitMs: 5_000 })
      await jetstream.deleteConsumer(stream, 'work')
      const reply = delivery?.replySubject ?? ''
      expect(await codeOf(jetstream.settle(reply, { action: 'ack' }))).toBe('consumer_not_found')
      expect(await codeOf(jetstream.settle('orders.new', { action: 'ack' }))).toBe('invalid_request')
    })
  })

  describe('follow', () => {
    const listen = () => {
      const messages: StoredMessage[] = []
      const failures: unknown[] = []
      const listener: LiveListener = {
        message: (message) => void messages.push(message),
        ...EAGER,
        ended: (failure) => void failures.push(failure),
      }
      return { listener, failures, seqs: () => messages.map(({ seq }) => seq) }
    }
    const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1)

    it('from a sequence past the end on, and nothing is left after stop', async () => {
      const stream = await makeStream(jetstream)
      await publishText(jetstream, `${stream}.a`, '1')
      const { listener, seqs } = listen()
      const following = await jetstream.follow(stream, 2, listener)
      await publishText(jetstream, `${stream}.a`, '2')
      await eventually(() => seqs().length === 1)
      await following.stop()
      await following.stop()
      expect(seqs()).toEqual([2])
      expect((await jetstream.listConsumers(stream, 0)).total).toBe(0)
    })

    it('more than a window, in order', async () => {
      const stream = await makeStream(jetstream)
      const text = 'x'.repeat(10_000)
      for (let i = 0; i < 40; i += 1) {
        await Promise.all(upTo(100).map(() => publishText(jetstream, `${stream}.a`, text)))
      }
      const { listener, seqs } = listen()
      const following = await jetstream.follow(stream, 1, listener)
      await eventually(() => seqs().length === 4_000)
      await following.stop()
      expect(seqs()).toEqual(upTo(4_000))
    })

    it('goes on without a gap or a repeat when its consumer is deleted', async () => {
      const stream = await makeStream(jetstream)
      const own = prepareConnection(settingsFor(nats.wsUrl), { kind: 'own' })
      const { listener, seqs, failures } = listen()
      const following = await follow(own, { stream, fromSeq: 1, listener, heartbeatMs: 100 })
      for (let round = 0; round < 3; round += 1) {
        await publishText(jetstream, `${stream}.a`, 'x')
        await eventually(() => seqs().length === round + 1)
        const { items } = await jetstream.listConsumers(stream, 0)
        await jetstream.deleteConsumer(stream, items[0]?.name ?? '')
      }
      await publishText(jetstream, `${stream}.a`, 'x')
      await eventually(() => seqs().length === 4)
      expect([seqs(), failures]).toEqual([upTo(4), []])
      await following.stop()
      expect((await jetstream.listConsumers(stream, 0)).total).toBe(0)
      await own.close()
    })

    it('ends with stream_recreated, or stream_not_found while the stream is not there', async () => {
      const own = prepareConnection(settingsFor(nats.wsUrl), { kind: 'own' })
      const outcome = async (again: boolean) => {
        const stream = await makeStream(jetstream)
        const { listener, failures } = listen()
        await follow(own, { stream, fromSeq: 1, listener, heartbeatMs: 100 })
        await jetstream.deleteStream(stream)
        if (again) await jetstream.createStream({ name: stream, subjects: [`${stream}.>`] })
        await eventually(() => failures.length > 0)
        return failures
      }
      const ends = [{ code: 'stream_recreated' }, { code: 'stream_not_found' }]
      expect(ends).toContainEqual({
        code: (await outcome(true)).map((failure) => (failure as BridgeError).code)[0],
      })
      expect(await outcome(false)).toMatchObject([{ code: 'stream_not_found' }])
      await own.close()
    })

    it('stream_not_found when there is no stream', async () => {
      expect(await codeOf(jetstream.follow('MISSING', 1, listen().listener))).toBe('stream_not_found')
    })
  })
})
