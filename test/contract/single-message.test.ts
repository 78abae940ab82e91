/** The contract of single messages: by sequence, the last of a subject, and their deletion. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Call, Message } from './client.ts'
import { problem, refusal, seqs } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const JSON_TYPE = { Accept: 'application/json' }

onEveryTarget((target) => {
  let stream: TestStream
  beforeAll(async () => {
    stream = await target.makeStream()
    await target.bridge.publish(stream.subject('a'), '{"id":1}', {
      'Content-Type': 'application/json',
      'NatsH-Kind': 'x',
    })
    await target.bridge.publish(stream.subject('b'), '<p>second</p>', {
      'Content-Type': 'text/html; charset=utf-8',
    })
    await target.bridge.publish(stream.subject('a'), Buffer.from([0xff, 0x00]))
  })
  const get = (tail: string, call: Call = { headers: JSON_TYPE }) =>
    target.bridge.send<Message>(`GET ${stream.path}/messages/${tail}`, call)

  describe('getMessage', () => {
    test('200 with the message, the same as in a page, under Accept: application/json', async () => {
      const { messages } = await target.bridge.page(stream.name)

      for (const message of messages) {
        const { status, body } = await get(`${message.seq}`)
        expect({ status, body }).toEqual({ status: 200, body: { ...message, cursor: expect.any(String) } })
      }
    })

    test.each([
      ['text/html', 2, 'text/html; charset=utf-8', '<p>second</p>'],
      ['text/plain', 1, 'application/json', '{"id":1}'],
      ['image/png', 3, 'application/octet-stream', '\xff\0'],
    ])('200 with the raw payload and its own type under Accept: %s', async (accept, seq, type, payload) => {
      const answer = await get(`${seq}`, { headers: { Accept: accept }, raw: true })

      expect(answer.status).toBe(200)
      expect(answer.headers.get('Content-Type')).toBe(type)
      expect(Buffer.from(answer.bytes).toString('latin1')).toBe(payload)
    })

    test('200 with an ETag and for private caches alone, then 304 without a body when it is sent back', async () => {
      for (const headers of [JSON_TYPE, { Accept: 'text/html' }]) {
        const first = await get('2', { headers, raw: true })
        const etag = first.headers.get('ETag') ?? ''
        expect(etag).toMatch(/^(W\/)?"[^"]+"$/)
        expect(first.headers.get('Cache-Control')).toMatch(/\bprivate\b/)

        const second = await get('2', { headers: { ...headers, 'If-None-Match': etag } })

        expect([second.status, second.bytes.length]).toEqual([304, 0])
        expect(second.headers.get('ETag')).toBe(etag)
      }
    })

    test('200, not 304, when the ETag is of another message', async () => {
      const other = (await get('1')).headers.get('ETag') ?? ''

      expect((await get('3', { headers: { ...JSON_TYPE, 'If-None-Match': other } })).status).toBe(200)
    })

    test('200, not 304, when the ETag is of the same sequence before the stream was made again', async () => {
      const again = await target.makeStream()
      await target.bridge.publish(again.subject('a'), 'same')
      const path = `GET ${again.path}/messages/1`
      const { headers } = await target.bridge.send(path, { headers: JSON_TYPE })
      await target.remakeStream(again)
      await target.bridge.publish(again.subject('a'), 'same')

      const answer = await target.bridge.send(path, {
        headers: { ...JSON_TYPE, 'If-None-Match': headers.get('ETag') ?? '' },
      })

      expect(answer.status).toBe(200)
    })

    test('404 message_not_found when the sequence is not there yet', async () => {
      expect(await get('99')).toMatchObject(problem(404, 'message_not_found', { retryable: false }))
    })

    test('404 stream_not_found when the stream does not exist', async () => {
      const answer = await target.bridge.send('GET /v1/streams/nothing-here/messages/1', {
        headers: JSON_TYPE,
      })

      expect(answer).toMatchObject(problem(404, 'stream_not_found'))
    })

    test.each(['0', '-1', '1.5', 'x', '99999999999999999999', '1e3', '%00'])(
      '400 naming seq when it is %s',
      async (seq) => {
        expect(await get(seq)).toMatchObject(refusal('seq'))
      },
    )

    test('400 naming payload when it is unknown, and any unknown parameter', async () => {
      expect(await get('1', { query: { payload: 'xml' } })).toMatchObject(refusal('payload'))
      expect(await get('1', { query: { raw: '1' } })).toMatchObject(refusal('raw'))
    })
  })

  describe('getLastMessage', () => {
    test.each([
      ['a', 3],
      ['b', 2],
    ])('200 with the last message of the subject %s', async (tail, seq) => {
      const { status, body } = await get('last', {
        query: { subject: stream.subject(tail) },
        headers: JSON_TYPE,
      })

      expect({ status, seq: body.seq, subject: body.subject }).toEqual({
        status: 200,
        seq,
        subject: stream.subject(tail),
      })
    })

    test('200 with the raw payload and its own type under another Accept', async () => {
      const { headers, bytes } = await get('last', {
        query: { subject: stream.subject('b') },
        headers: { Accept: 'text/html' },
        raw: true,
      })

      expect(headers.get('Content-Type')).toBe('text/html; charset=utf-8')
      expect(Buffer.from(bytes).toString()).toBe('<p>second</p>')
    })

    test('200 with the newest message right after each publish', async () => {
      const orders = await target.makeStream()
      for (const n of [1, 2, 3, 4, 5]) {
        const { seq } = await target.bridge.publish(orders.subject('a'), `${n}`)
        const { body } = await target.bridge.send<Message>(`GET ${orders.path}/messages/last`, {
          query: { subject: orders.subject('a') },
          headers: JSON_TYPE,
        })
        expect([body.seq, body.data]).toEqual([seq, `${n}`])
      }
    })

    test('404 message_not_found when the subject has no message', async () => {
      const answer = await get('last', { query: { subject: stream.subject('nothing') }, headers: JSON_TYPE })

      expect(answer).toMatchObject(problem(404, 'message_not_found'))
    })

    test('404 stream_not_found when the stream does not exist', async () => {
      const answer = await target.bridge.send('GET /v1/streams/nothing-here/messages/last', {
        query: { subject: 'a' },
        headers: JSON_TYPE,
      })

      expect(answer).toMatchObject(problem(404, 'stream_not_found'))
    })

    test('400 naming subject when it is none', async () => {
      expect(await get('last', { query: { subject: 'a b' } })).toMatchObject(refusal('subject'))
    })
  })

  describe('deleteMessage', () => {
    test('the message gone, then 404 message_not_found', async () => {
      const orders = await target.makeStream()
      for (const n of [1, 2, 3]) await target.bridge.publish(orders.subject('a'), `${n}`)
      const path = `${orders.path}/messages/2`

      await target.bridge.ok(`DELETE ${path}`)

      expect(await target.bridge.send(`GET ${path}`, { headers: JSON_TYPE })).toMatchObject(
        problem(404, 'message_not_found'),
      )
      expect(seqs((await target.bridge.page(orders.name)).messages)).toEqual([1, 3])
      expect(await target.bridge.send(`DELETE ${path}`)).toMatchObject(problem(404, 'message_not_found'))
    })

    test('404 message_not_found when the sequence is not there yet', async () => {
      expect(await target.bridge.send(`DELETE ${stream.path}/messages/99`)).toMatchObject(
        problem(404, 'message_not_found'),
      )
    })

    test.each(['file', 'memory'])(
      '404 message_not_found when the sequence was purged, or is beyond the end, in %s storage',
      async (storage) => {
        const orders = await target.makeStream({ storage })
        for (const n of [1, 2, 3]) await target.bridge.publish(orders.subject('a'), `${n}`)
        await target.bridge.ok(`POST ${orders.path}/purge`, { json: { seq: 3 } })

        for (const seq of [1, 4, 99])
          expect(await target.bridge.send(`DELETE ${orders.path}/messages/${seq}`)).toMatchObject(
            problem(404, 'message_not_found'),
          )
        expect(seqs((await target.bridge.page(orders.name)).messages)).toEqual([3])
      },
    )

    test('404 stream_not_found when the stream does not exist', async () => {
      expect(await target.bridge.send('DELETE /v1/streams/nothing-here/messages/1')).toMatchObject(
        problem(404, 'stream_not_found'),
      )
    })

    test('400 naming seq when it is none', async () => {
      expect(await target.bridge.send(`DELETE ${stream.path}/messages/last`)).toMatchObject(refusal('seq'))
    })

    test('422 refused_by_jetstream, and the message there, when the stream denies it', async () => {
      const fixed = await target.makeStream({ deny_delete: true })
      await target.bridge.publish(fixed.subject('a'))

      expect(await target.bridge.send(`DELETE ${fixed.path}/messages/1`)).toMatchObject(
        problem(422, 'refused_by_jetstream'),
      )
      expect((await target.bridge.page(fixed.name)).messages).toHaveLength(1)
    })
  })
})
