/** The contract of acknowledgements: the four actions, stale and forged tokens, and the order of results. */
import { describe, expect, test } from 'vitest'
import type { Ack, AckResult, ConsumerBody, Delivery } from './client.ts'
import { at, problem, range, refusal, seqs, until } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const OK = { status: 'ok' }
const STALE = { status: 'stale' }
const LONG_ACK_WAIT_MS = 300_000

onEveryTarget((target) => {
  const settle = (...acks: Ack[]) => target.bridge.settle(...acks)
  const settleOne = async (
    { ack_token: token }: Pick<Delivery, 'ack_token'>,
    ack: Omit<Ack, 'token'>,
  ): Promise<AckResult> => at(await settle({ token, ...ack }), 0)
  const state = (path: string) => target.bridge.ok<ConsumerBody>(`GET ${path}`)
  const pull = async (path: string, batch = 1, wait_ms = 10_000) =>
    (await target.bridge.pull(path, { batch, wait_ms })).messages
  const pullOne = async (path: string) => at(await pull(path), 0)
  const fill = async (stream: TestStream, count: number) => {
    for (const n of range(1, count)) await target.bridge.publish(stream.subject('a'), `m${n}`)
  }
  const makeFilled = async (count: number, config: Record<string, unknown> = {}) => {
    const stream = await target.makeStream()
    await fill(stream, count)
    return { stream, path: await target.makeConsumer(stream, { ack_wait_ms: LONG_ACK_WAIT_MS, ...config }) }
  }
  const post = (json: unknown) => target.bridge.send<{ results: AckResult[] }>('POST /v1/acks', { json })

  describe('settleDeliveries', () => {
    describe('ack', () => {
      test('ok, and the server has it', async () => {
        const { path } = await makeFilled(2)
        const delivery = await pullOne(path)

        expect(await settleOne(delivery, { action: 'ack' })).toEqual(OK)
        expect(await state(path)).toMatchObject({ num_ack_pending: 0, ack_floor: { stream_seq: 1 } })
      })

      test('ok, and no redelivery after the ack wait', async () => {
        const { path } = await makeFilled(1, { ack_wait_ms: 500 })
        await settleOne(await pullOne(path), { action: 'ack' })

        expect(await pull(path, 1, 1_200)).toEqual([])
      })

      test('ok or stale the second time, without effect on another delivery', async () => {
        const { path } = await makeFilled(2)
        const [first, second] = await pull(path, 2)
        expect(first && (await settleOne(first, { action: 'ack' }))).toEqual(OK)

        expect((first && (await settleOne(first, { action: 'ack' })))?.status).toBeOneOf(['ok', 'stale'])
        expect((first && (await settleOne(first, { action: 'nak' })))?.status).toBeOneOf(['ok', 'stale'])

        expect(await state(path)).toMatchObject({ num_ack_pending: 1, ack_floor: { stream_seq: 1 } })
        expect(await pull(path, 1, 300)).toEqual([])
        expect(second && (await settleOne(second, { action: 'ack' }))).toEqual(OK)
      })

      test('ok for all before it when the ack policy is all', async () => {
        const { path } = await makeFilled(5, { ack_policy: 'all' })
        const deliveries = await pull(path, 5)

        expect(await settleOne(at(deliveries, 3), { action: 'ack' })).toEqual(OK)

        expect(await state(path)).toMatchObject({ num_ack_pending: 1, ack_floor: { stream_seq: 4 } })
      })

      test('ok for each of a thousand in one request', async () => {
        const stream = await target.makeStream()
        await Promise.all(range(1, 1_000).map((n) => target.bridge.publish(stream.subject('a'), `${n}`)))
        const path = await target.makeConsumer(stream, { ack_wait_ms: LONG_ACK_WAIT_MS })
        const deliveries: Delivery[] = []
        while (deliveries.length < 1_000) deliveries.push(...(await pull(path, 1_000)))

        const results = await settle(
          ...deliveries.map(({ ack_token: token }) => ({ token, action: 'ack' as const })),
        )

        expect(results).toEqual(Array(1_000).fill(OK))
        expect(await state(path)).toMatchObject({ num_ack_pending: 0, ack_floor: { stream_seq: 1_000 } })
      })
    })

    describe('nak', () => {
      test('ok, and delivered again at once', async () => {
        const { path } = await makeFilled(1)

        expect(await settleOne(await pullOne(path), { action: 'nak' })).toEqual(OK)

        expect(await pull(path)).toMatchObject([{ seq: 1, delivery_count: 2 }])
      })

      test('ok, and delivered again after delay_ms, not before', async () => {
        const { path } = await makeFilled(1)
        const delivery = await pullOne(path)
        const begun = performance.now()
        expect(await settleOne(delivery, { action: 'nak', delay_ms: 1_000 })).toEqual(OK)

        expect(await pull(path, 1, 300)).toEqual([])
        expect(await pull(path)).toMatchObject([{ seq: 1, delivery_count: 2 }])
        expect(performance.now() - begun).toBeGreaterThan(900)
      })
    })

    describe('progress', () => {
      test('ok with a renewed token and deadline, and no redelivery while it goes on', async () => {
        const { path } = await makeFilled(1, { ack_wait_ms: 1_000 })
        const delivery = await pullOne(path)
        const first = Date.parse(delivery.ack_deadline ?? '')
        const other = pull(path, 1, 2_000)
        let token = delivery.ack_token
        let deadline = first
        while (Date.now() < first + 500) {
          const renewed = await settleOne({ ack_token: token }, { action: 'progress' })
          expect(renewed).toMatchObject({
            ...OK,
            ack_token: expect.any(String),
            ack_deadline: expect.any(String),
          })
          expect(Date.parse(renewed.ack_deadline ?? '')).toBeGreaterThanOrEqual(deadline)
          token = renewed.ack_token ?? ''
          deadline = Date.parse(renewed.ack_deadline ?? '')
        }
        expect(deadline).toBeGreaterThan(first)

        expect(await settleOne(delivery, { action: 'ack' })).toEqual(STALE)
        expect(await settleOne({ ack_token: token }, { action: 'ack' })).toEqual(OK)
        expect(await other).toEqual([])
      })
    })

    describe('term', () => {
      test('ok, and never delivered again', async () => {
        const { path } = await makeFilled(2, { ack_wait_ms: 500 })

        expect(
          await settleOne(await pullOne(path), { action: 'term', reason: 'cannot be read: größe' }),
        ).toEqual(OK)
        expect(await settleOne(await pullOne(path), { action: 'term' })).toEqual(OK)

        expect(await pull(path, 2, 1_200)).toEqual([])
        expect(await state(path)).toMatchObject({ num_ack_pending: 0 })
      })
    })

    describe('stale', () => {
      test.each(['ack', 'nak', 'progress', 'term'] as const)(
        'for %s after the deadline, and the delivery to the next client untouched',
        async (action) => {
          const { path } = await makeFilled(1, { ack_wait_ms: 1_000 })
          const late = await pullOne(path)
          const next = await pullOne(path)
          expect(next.delivery_count).toBe(2)

          expect(await settleOne(late, { action })).toEqual(STALE)

          expect(await state(path)).toMatchObject({ num_ack_pending: 1 })
          expect(await settleOne(next, { action: 'ack' })).toEqual(OK)
          expect(await state(path)).toMatchObject({ num_ack_pending: 0 })
        },
      )

      test('when the consumer is deleted', async () => {
        const { path } = await makeFilled(1)
        const delivery = await pullOne(path)
        await target.bridge.ok(`DELETE ${path}`)

        expect(await settleOne(delivery, { action: 'ack' })).toEqual(STALE)
      })

      test('when the stream is deleted', async () => {
        const { stream, path } = await makeFilled(1)
        const delivery = await pullOne(path)
        await target.bridge.ok(`DELETE ${stream.path}`)

        expect(await settleOne(delivery, { action: 'ack' })).toEqual(STALE)
      })

      test('when the consumer was made again, and its deliveries untouched', async () => {
        const { path } = await makeFilled(2)
        const [old] = await pull(path, 2)
        await target.bridge.ok(`DELETE ${path}`)
        await target.bridge.ok(`PUT ${path}`, { json: { ack_wait_ms: LONG_ACK_WAIT_MS } })
        await pull(path, 2)

        for (const action of ['ack', 'nak', 'progress', 'term'] as const) {
          expect(old && (await settleOne(old, { action }))).toEqual(STALE)
        }

        expect(await state(path)).toMatchObject({ num_ack_pending: 2 })
      })

      test.each(['ack', 'nak', 'term', 'progress'] as const)(
        'for %s when the consumer was reset, and its deliveries untouched',
        async (action) => {
          if (!target.supports.consumer_reset) return
          const { path } = await makeFilled(2)
          const before = await pull(path, 2)
          await target.bridge.ok(`POST ${path}/reset`, { json: { seq: 1 } })

          expect(await settleOne(at(before, 0), { action })).toEqual(STALE)
          const after = await pull(path, 2)
          expect(seqs(after)).toEqual([1, 2])
          for (const delivery of before) expect(await settleOne(delivery, { action })).toEqual(STALE)
          expect((await state(path)).num_ack_pending).toBe(2)
          for (const delivery of after) expect(await settleOne(delivery, { action: 'ack' })).toEqual(OK)
          expect((await state(path)).num_ack_pending).toBe(0)
        },
      )

      test.each(['ack', 'nak', 'term'] as const)(
        'never for a delivery after a reset, though the one before was settled with %s',
        async (action) => {
          if (!target.supports.consumer_reset) return
          const { path } = await makeFilled(1)
          await settleOne(await pullOne(path), { action })
          await target.bridge.ok(`POST ${path}/reset`, { json: { seq: 1 } })
          const after = await pullOne(path)

          expect((await state(path)).num_ack_pending).toBe(1)
          expect(await settleOne(after, { action: 'ack' })).toEqual(OK)
          expect((await state(path)).num_ack_pending).toBe(0)
        },
      )

      test('never for what a pull gets that waited over a reset', async () => {
        if (!target.supports.consumer_reset) return
        const { path } = await makeFilled(1)
        await settleOne(await pullOne(path), { action: 'ack' })
        const waiting = pullOne(path)
        await until('it waits', async () => (await state(path)).num_waiting > 0)
        await target.bridge.ok(`POST ${path}/reset`, { json: { seq: 1 } })

        expect(await settleOne(await waiting, { action: 'ack' })).toEqual(OK)
        expect((await state(path)).num_ack_pending).toBe(0)
      })

      test.each(['ack', 'nak', 'term', 'progress'] as const)(
        'for %s when the ack wait was shortened and another client has the message, renewed or not',
        async (action) => {
          const { path } = await makeFilled(2)
          const [first, second] = (await pull(path, 2)) as [Delivery, Delivery]
          const renewed = (await settleOne(second, { action: 'progress' })) as { ack_token: string }
          await target.bridge.ok(`PUT ${path}`, { json: { ack_wait_ms: 1_500 } })
          const others: Delivery[] = []
          await until('both delivered again', async () => {
            others.push(...(await pull(path, 2, 5_000)))
            return others.length === 2
          })

          expect(await settleOne(first, { action })).toEqual(STALE)
          expect(await settleOne(renewed, { action })).toEqual(STALE)
        },
      )

      test('when the stream was made again, and the deliveries of the new one untouched', async () => {
        const { stream, path } = await makeFilled(2)
        const [old] = await pull(path, 2)
        await target.remakeStream(stream)
        await fill(stream, 2)
        await target.bridge.ok(`PUT ${path}`, { json: { ack_wait_ms: LONG_ACK_WAIT_MS } })
        await pull(path, 2)

        expect(old && (await settleOne(old, { action: 'ack' }))).toEqual(STALE)

        expect(await state(path)).toMatchObject({ num_ack_pending: 2 })
      })
    })

    test.each(['ack', 'nak', 'term', 'progress'] as const)(
      'a lasting refusal in its result for %s where the consumer takes none',
      async (action) => {
        const { path } = await makeFilled(1, { ack_policy: 'none' })
        const { ack_token: token } = await pullOne(path)

        const { status, body } = await post({ acks: [{ token, action }] })

        expect(status).toBe(200)
        expect(body.results).toEqual([
          {
            error: expect.objectContaining({
              code: 'refused_by_jetstream',
              retryable: false,
              side_effects: 'none',
              detail: expect.stringContaining('ack_policy'),
            }),
          },
        ])
      },
    )

    describe('a forged token', () => {
      const forged = {
        error: expect.objectContaining({ code: 'ack_token_invalid', status: 400, side_effects: 'none' }),
      }

      test('ack_token_invalid in its result when any character is another, or it is cut or longer', async () => {
        const { path } = await makeFilled(1)
        const { ack_token: token } = await pullOne(path)
        const places = range(0, token.length - 1)
        const tokens = [
          ...places.map(
            (index) => token.slice(0, index) + (token[index] === 'A' ? 'B' : 'A') + token.slice(index + 1),
          ),
          ...places.slice(1).map((length) => token.slice(0, length)),
          ...['A', '=', '.', ' ', '\n', '\0'].map((ending) => token + ending),
        ]

        const results = await settle(...tokens.map((one) => ({ token: one, action: 'ack' as const })))

        expect(results).toEqual(tokens.map(() => forged))
        expect(await state(path)).toMatchObject({ num_ack_pending: 1 })
      })

      test('ack_token_invalid in its result when it was never a token, or is a cursor or a reply subject', async () => {
        const { stream } = await makeFilled(1)
        const { cursor } = await target.bridge.page(stream.name)
        const tokens = [
          'x',
          '....',
          'é',
          cursor,
          `$JS.ACK.${stream.name}.worker.1.1.1.1.0`,
          'A'.repeat(5_000),
        ]

        const results = await settle(...tokens.map((token) => ({ token, action: 'ack' as const })))

        expect(results).toEqual(tokens.map(() => forged))
      })
    })

    test('200 with the results in the order of the request, good and bad', async () => {
      const { path } = await makeFilled(3)
      const deliveries = await pull(path, 3)
      const [first, second, third] = deliveries.map(({ ack_token }) => ack_token)
      const gone = await makeFilled(1)
      const stale = (await pullOne(gone.path)).ack_token
      await target.bridge.ok(`DELETE ${gone.path}`)

      const results = await settle(
        { token: third ?? '', action: 'ack' },
        { token: 'forged', action: 'ack' },
        { token: first ?? '', action: 'nak' },
        { token: stale, action: 'ack' },
        { token: second ?? '', action: 'progress' },
      )

      expect(results).toMatchObject([
        OK,
        { error: { code: 'ack_token_invalid' } },
        OK,
        STALE,
        { ...OK, ack_token: expect.any(String) },
      ])
      expect(seqs(await pull(path))).toEqual([1])
    })

    test.each([
      ['acks', {}],
      ['acks', { acks: [] }],
      ['acks', { acks: 'x' }],
      ['acks', { acks: Array(1_001).fill({ token: 'x', action: 'ack' }) }],
      ['acks.0.token', { acks: [{ action: 'ack' }] }],
      ['acks.0.token', { acks: [{ token: '', action: 'ack' }] }],
      ['acks.0.action', { acks: [{ token: 'x' }] }],
      [
        'acks.1.action',
        {
          acks: [
            { token: 'x', action: 'ack' },
            { token: 'x', action: 'ACK' },
          ],
        },
      ],
      ['acks.0.delay_ms', { acks: [{ token: 'x', action: 'ack', delay_ms: 5 }] }],
      ['acks.0.delay_ms', { acks: [{ token: 'x', action: 'nak', delay_ms: -1 }] }],
      ['acks.0.reason', { acks: [{ token: 'x', action: 'nak', reason: 'x' }] }],
      ['acks.0.reason', { acks: [{ token: 'x', action: 'term', reason: 'a\r\nb' }] }],
      ['acks.0.delay', { acks: [{ token: 'x', action: 'nak', delay: 5 }] }],
      ['ack', { acks: [{ token: 'x', action: 'ack' }], ack: 'x' }],
    ])('400 naming %s in a body that is not as declared', async (field, json) => {
      expect(await post(json)).toMatchObject(refusal(field))
    })

    test('400 before any of it has an effect when one of many is not as declared', async () => {
      const { path } = await makeFilled(1)
      const { ack_token: token } = await pullOne(path)

      expect(
        await post({
          acks: [
            { token, action: 'ack' },
            { token, action: 'x' },
          ],
        }),
      ).toMatchObject(refusal('acks.1.action'))

      expect(await state(path)).toMatchObject({ num_ack_pending: 1 })
    })

    test('415 unsupported_media_type when the body is not JSON', async () => {
      const answer = await target.bridge.send('POST /v1/acks', {
        body: '{}',
        headers: { 'Content-Type': 'text/plain' },
      })

      expect(answer).toMatchObject(problem(415, 'unsupported_media_type', { side_effects: 'none' }))
    })

    test('every message settled in the end by clients that crash, forget and nak', async () => {
      const { path } = await makeFilled(60, { ack_wait_ms: 500 })
      const settled = new Set<number>()

      await until('all are settled', async () => {
        const deliveries = await pull(path, 7, 200)
        const acks = deliveries.map(({ ack_token: token, seq, delivery_count }) => {
          // A third is forgotten and a third given back, the first time.
          const action =
            delivery_count > 1 || seq % 3 === 0
              ? ('ack' as const)
              : seq % 3 === 1
                ? ('nak' as const)
                : undefined
          return { token, seq, action }
        })
        const sent = acks.flatMap(({ action, ...ack }) => (action ? [{ ...ack, action }] : []))
        if (sent.length > 0) {
          const results = await settle(...sent.map(({ token, action }) => ({ token, action })))
          for (const [index, { seq, action }] of sent.entries()) {
            if (action === 'ack' && results[index]?.status === 'ok') settled.add(seq)
          }
        }
        return settled.size === 60
      })

      expect(await state(path)).toMatchObject({
        num_ack_pending: 0,
        num_pending: 0,
        ack_floor: { stream_seq: 60 },
      })
    })
  })
})
