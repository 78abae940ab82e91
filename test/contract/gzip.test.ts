/** The contract of compressed publishes: taken as what was compressed, bounded, and whole or refused. */
import { gzipSync } from 'node:zlib'
import { beforeAll, describe, expect, test } from 'vitest'
import { pacedNow } from '../support/pace.ts'
import { type Message, type Published, publishPath } from './client.ts'
import { at, payloadOf, problem, range, refusal } from './expectations.ts'
import { linesTo, toLine } from './lines.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const LINES = 'application/x-ndjson'
const BATCH = 'application/json'
const BOMB_BYTES = 100_000_000
/** Of a machine that has other things to do too: to inflate all of it, and to keep it, takes several times as long. */
const QUICKLY_MS = 10_000

const zeros = Buffer.alloc(BOMB_BYTES)

/** What no reader can make whole of it. */
const BREAKS: readonly (readonly [string, (whole: Buffer) => Buffer])[] = [
  ['is not gzip', () => Buffer.from('{"messages":[]}\n')],
  ['is nothing', () => Buffer.alloc(0)],
  ['ends early', (whole) => whole.subarray(0, -9)],
  ['ends in its head', (whole) => whole.subarray(0, 5)],
  ['has another checksum', (whole) => Buffer.concat([whole.subarray(0, -8), Buffer.alloc(8, 1)])],
  ['is followed by something else', (whole) => Buffer.concat([whole, Buffer.from('more')])],
]

onEveryTarget((target) => {
  const send = <Body = unknown>(
    path: string,
    body: string | Uint8Array,
    headers: Record<string, string> = {},
  ) => target.bridge.send<Body>(`POST ${path}`, { body, headers: { 'Content-Encoding': 'gzip', ...headers } })
  const sendBatch = (body: string | Uint8Array, headers: Record<string, string> = {}) =>
    send('/v1/messages', body, { 'Content-Type': BATCH, ...headers })
  const sendLines = (body: Uint8Array, encoding = 'gzip') =>
    linesTo(target).send(body, { 'Content-Encoding': encoding })
  const readAll = async ({ name }: TestStream): Promise<readonly Message[]> =>
    (await target.bridge.page(name, { limit: 1_000 })).messages
  const payloads = async (stream: TestStream) => (await readAll(stream)).map(({ data }) => data)

  describe('compressed publishes', () => {
    let stream: TestStream
    beforeAll(async () => {
      stream = await target.makeStream()
    })

    test('201 and one payload out of several members, as of files put together', async () => {
      const orders = await target.makeStream()
      const body = Buffer.concat([gzipSync('one '), gzipSync('two')])

      expect((await send(publishPath(orders.subject('a')), body)).status).toBe(201)
      expect(await payloads(orders)).toEqual(['one two'])
    })

    describe('publishMessage', () => {
      test.each(['gzip', 'GZIP', 'x-gzip'])(
        '201 and the payload as it was before, in %s',
        async (encoding) => {
          const orders = await target.makeStream()
          const payload = Buffer.from(range(0, 99_999))
          const type = 'application/octet-stream'

          const answer = await send<Published>(publishPath(orders.subject('a')), gzipSync(payload), {
            'Content-Encoding': encoding,
            'Content-Type': type,
          })

          expect(answer).toMatchObject({ status: 201, body: { seq: 1 } })
          const message = at(await readAll(orders), 0)
          expect(payloadOf(message).equals(payload)).toBe(true)
          expect(message.headers).toEqual({ 'Content-Type': [type] })
        },
      )

      test('201 with a payload of nothing', async () => {
        const orders = await target.makeStream()

        expect(await send(publishPath(orders.subject('a')), gzipSync(''))).toMatchObject({ status: 201 })
        expect(await payloads(orders)).toEqual([''])
      })

      test('201 as it is, with identity', async () => {
        const orders = await target.makeStream()
        const compressed = gzipSync('x')

        await send(publishPath(orders.subject('a')), compressed, { 'Content-Encoding': 'identity' })

        expect(payloadOf(at(await readAll(orders), 0))).toEqual(compressed)
      })

      test('201 with as much as the server takes, and 413 with a byte more', async () => {
        const orders = await target.makeStream()
        const path = publishPath(orders.subject('a'))
        const most = Math.min(target.limits.max_payload_bytes, target.limits.max_body_bytes)

        expect(await send(path, gzipSync(Buffer.alloc(most)))).toMatchObject({ status: 201 })
        expect(await send(path, gzipSync(Buffer.alloc(most + 1)))).toMatchObject(
          problem(413, 'payload_too_large', { side_effects: 'none' }),
        )
        expect(await readAll(orders)).toHaveLength(1)
      })

      test('413 quickly, and nothing stored, when it is far larger inflated', async () => {
        const orders = await target.makeStream()
        const bomb = gzipSync(zeros)
        const before = pacedNow()

        expect(await send(publishPath(orders.subject('a')), bomb)).toMatchObject(
          problem(413, 'payload_too_large', { side_effects: 'none' }),
        )
        expect(pacedNow() - before).toBeLessThan(QUICKLY_MS)
        expect(await readAll(orders)).toEqual([])
      })

      test.each(BREAKS)('400 naming body, and nothing stored, when it %s', async (_, broken) => {
        const orders = await target.makeStream()

        const answer = await send(publishPath(orders.subject('a')), broken(gzipSync('payload '.repeat(99))))

        expect(answer).toMatchObject(refusal('body'))
        expect(await readAll(orders)).toEqual([])
      })
    })

    describe('publishMessages in a batch', () => {
      test('200 and each message stored', async () => {
        const orders = await target.makeStream()
        const messages = range(1, 500).map((n) => ({ subject: orders.subject('a'), data: `${n}` }))

        const answer = await sendBatch(gzipSync(JSON.stringify({ messages })))

        expect(answer).toMatchObject({
          status: 200,
          body: { results: range(1, 500).map((seq) => ({ seq })) },
        })
        expect(await payloads(orders)).toEqual(range(1, 500).map(String))
      })

      test('413 quickly, and nothing stored, when it is far larger inflated', async () => {
        const orders = await target.makeStream()
        const [head, tail] = JSON.stringify({ messages: [{ subject: orders.subject('a') }] }).split('[')
        const bomb = gzipSync(`${head}${' '.repeat(BOMB_BYTES)}[${tail}`)
        const before = pacedNow()

        expect(await sendBatch(bomb)).toMatchObject(
          problem(413, 'payload_too_large', { side_effects: 'none' }),
        )
        expect(pacedNow() - before).toBeLessThan(QUICKLY_MS)
        expect(await readAll(orders)).toEqual([])
      })

      test.each(BREAKS)('400 naming body, and nothing stored, when it %s', async (_, broken) => {
        const orders = await target.makeStream()
        const messages = range(1, 100).map(() => ({ subject: orders.subject('a') }))

        const answer = await sendBatch(broken(gzipSync(JSON.stringify({ messages }))))

        expect(answer).toMatchObject(refusal('body'))
        expect(await readAll(orders)).toEqual([])
      })
    })

    describe('publishMessages in lines', () => {
      const linesOf = (orders: TestStream, count: number) =>
        range(1, count)
          .map((n) => toLine({ subject: orders.subject('a'), data: `${n}` }))
          .join('')

      test('200 and each line stored', async () => {
        const orders = await target.makeStream()

        const results = await sendLines(gzipSync(linesOf(orders, 1_000)))

        expect(results).toMatchObject(range(1, 1_000).map((seq) => ({ index: seq - 1, seq })))
        expect(await payloads(orders)).toEqual(range(1, 1_000).map(String))
      })

      test('200 as they are, with identity', async () => {
        const orders = await target.makeStream()

        expect(await sendLines(Buffer.from(linesOf(orders, 2)), 'identity')).toMatchObject([
          { seq: 1 },
          { seq: 2 },
        ])
      })

      test('200 with an error in the place of a line that is far larger inflated, and the rest stored', async () => {
        const orders = await target.makeStream()
        const line = Buffer.from(linesOf(orders, 1))

        const results = await sendLines(gzipSync(Buffer.concat([line, zeros, Buffer.from('\n'), line])))

        expect(results).toMatchObject([
          { index: 0, seq: 1 },
          { index: 1, error: { status: 413, code: 'payload_too_large', side_effects: 'none' } },
          { index: 2, seq: 2 },
        ])
        expect(await readAll(orders)).toHaveLength(2)
      })

      test.each(BREAKS)(
        'an error as the last line, and no line stored but those with a result, when it %s',
        async (_, broken) => {
          const orders = await target.makeStream()

          const results = await sendLines(broken(gzipSync(linesOf(orders, 900))))

          const last = results.pop()
          expect(last).toEqual({ error: expect.objectContaining(refusal('body').body) })
          expect(results).toMatchObject(results.map((__, index) => ({ index, seq: index + 1 })))
          expect(await payloads(orders)).toEqual(results.map((__, index) => `${index + 1}`))
        },
      )

      test('nothing stored of a line that was cut', async () => {
        const orders = await target.makeStream()
        // Whole JSON, but for the end of the line and of what is compressed.
        const whole = gzipSync(linesOf(orders, 1).trimEnd())

        const results = await sendLines(whole.subarray(0, -4))

        expect(results).toMatchObject([{ error: refusal('body').body }])
        expect(await readAll(orders)).toEqual([])
      })
    })

    test.each(['br', 'deflate', 'zstd', 'gzip, gzip', 'nonsense'])(
      '415 unsupported_media_type, and nothing stored, in %s',
      async (encoding) => {
        const headers = { 'Content-Encoding': encoding }
        const body = gzipSync(toLine({ subject: stream.subject('a') }))

        for (const answer of [
          await send(publishPath(stream.subject('a')), body, headers),
          await sendBatch(body, headers),
          await sendBatch(body, { ...headers, 'Content-Type': LINES }),
        ]) {
          expect(answer).toMatchObject(problem(415, 'unsupported_media_type', { side_effects: 'none' }))
        }
        expect(await readAll(stream)).toEqual([])
      },
    )

    test('415 unsupported_media_type on the operations that publish nothing', async () => {
      const consumer = await target.makeConsumer(stream)

      for (const path of [
        '/v1/acks',
        '/v1/streams',
        '/v1/tickets',
        `${stream.path}/purge`,
        `${consumer}/pull`,
      ]) {
        const answer = await send(path, gzipSync('{}'), { 'Content-Type': BATCH })
        expect({ path, ...answer }).toMatchObject({ path, ...problem(415, 'unsupported_media_type') })
      }
    })
  })
})
