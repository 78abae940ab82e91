/** The promise that no payload is ever altered, on any way in or out. */
import { randomBytes } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Delivery, Message, Published } from './client.ts'
import { openEvents } from './events.ts'
import { at, inParallel, payloadOf } from './expectations.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function asText(payload: Buffer): string | undefined {
  try {
    return utf8.decode(payload)
  } catch {
    return undefined
  }
}

function asJson(payload: Buffer): { json?: unknown } {
  try {
    return { json: JSON.parse(asText(payload) ?? '') }
  } catch {
    return {}
  }
}

/** More than any page or frame needs to be tested with, where the server would take more. */
const LARGEST_BYTES = 4 * 1_024 * 1_024

const bigJson = JSON.stringify(
  Array.from({ length: 2_000 }, (_, n) => ({ n, text: `"\\\u2028 é ${n}`, list: [n, null, [true]] })),
)

const PAYLOADS: readonly (readonly [string, () => Buffer])[] = [
  ['nothing', () => Buffer.alloc(0)],
  ['one byte', () => Buffer.from('x')],
  ['random bytes', () => randomBytes(10_000)],
  ['every byte there is', () => Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))],
  ['text of many scripts', () => Buffer.from('größe 日本 🚢 \u0301 עברית')],
  ['invalid UTF-8', () => Buffer.from([0x61, 0xff, 0x62])],
  ['UTF-8 that breaks off', () => Buffer.from([0x61, 0xe2, 0x82])],
  ['an overlong form', () => Buffer.from([0xc0, 0xaf])],
  ['a lone surrogate as bytes', () => Buffer.from([0xed, 0xa0, 0x80])],
  ['NUL', () => Buffer.from('\0')],
  ['NUL and text', () => Buffer.from('a\0b\0')],
  ['line separators', () => Buffer.from('a\u2028b\u2029c')],
  ['line breaks of all kinds', () => Buffer.from('\r\na\rb\nc\n\ndata: x\n\n')],
  ['a byte order mark and text', () => Buffer.from('\ufefftext')],
  ['only a byte order mark', () => Buffer.from('\ufeff')],
  ['U+FFFD itself', () => Buffer.from('\ufffd')],
  ['JSON', () => Buffer.from('{ "id": 7, "big": 12345678901234567890, "list": [1.0, null] }\n')],
  ['JSON with members of all names', () => Buffer.from('{"constructor":1,"toJSON":{"a":"b"},"":2}')],
  ['a JSON text', () => Buffer.from('"text"')],
  ['JSON null', () => Buffer.from('null')],
  ['nearly JSON', () => Buffer.from('{"id":7,}')],
  ['big JSON', () => Buffer.from(bigJson)],
  ['a megabyte of text', () => Buffer.from('0123456789abcde\n'.repeat(65_000))],
]

onEveryTarget((target) => {
  const cases = [
    ...PAYLOADS,
    [
      'exactly as much as the server takes',
      () => randomBytes(Math.min(target.limits.max_payload_bytes, LARGEST_BYTES)),
    ] as const,
  ]

  describe('payloads', () => {
    let stream: TestStream
    let sent: { payload: Buffer; published: Published }[] = []
    const sentAs = (name: string) =>
      at(
        sent,
        cases.findIndex(([caseName]) => caseName === name),
      )
    const expectSame = (payload: Buffer, actual: Uint8Array) => {
      // `toEqual` on a megabyte takes its time, and its report longer.
      expect(payload.equals(actual), `${actual.length} bytes, ${payload.length} sent`).toBe(true)
    }
    const expectMessage = (name: string, message: Pick<Message, 'data' | 'data_base64'>) => {
      const { payload } = sentAs(name)
      expectSame(payload, payloadOf(message))
      const isText = asText(payload) !== undefined
      expect([message.data !== undefined, message.data_base64 !== undefined]).toEqual([isText, !isText])
    }

    beforeAll(async () => {
      stream = await target.makeStream()
      sent = await inParallel(cases, 1, async ([, make]) => {
        const payload = make()
        return { payload, published: await target.bridge.publish(stream.subject('a'), payload) }
      })
    })

    describe.each(cases.map(([name]) => name))('%s', (name) => {
      test('comes back in a page', async () => {
        const start = `seq:${sentAs(name).published.seq}`
        const { messages } = await target.bridge.page(stream.name, { start, limit: 1 })

        expectMessage(name, at(messages, 0))
      })

      test('comes back in base64 with payload=base64', async () => {
        const start = `seq:${sentAs(name).published.seq}`
        const { messages } = await target.bridge.page(stream.name, { start, limit: 1, payload: 'base64' })

        expect(at(messages, 0).data).toBeUndefined()
        expect(at(messages, 0).data_base64).toBe(sentAs(name).payload.toString('base64'))
      })

      test('comes back with its value, where it is JSON, with payload=json', async () => {
        const { payload, published } = sentAs(name)
        const { messages } = await target.bridge.page(stream.name, {
          start: `seq:${published.seq}`,
          limit: 1,
          payload: 'json',
        })

        expectMessage(name, at(messages, 0))
        const { json } = at(messages, 0)
        expect('json' in at(messages, 0)).toBe('json' in asJson(payload))
        expect(json).toEqual(asJson(payload).json)
      })

      test('comes back raw from its own path', async () => {
        const { published, payload } = sentAs(name)
        const answer = await target.bridge.send(`GET ${stream.path}/messages/${published.seq}`, {
          headers: { Accept: 'application/octet-stream' },
          raw: true,
        })

        expect(answer.status).toBe(200)
        expectSame(payload, answer.bytes)
      })
    })

    test('all come back as lines of JSON', async () => {
      const { bytes } = await target.bridge.send(`GET ${stream.path}/messages`, {
        headers: { Accept: 'application/x-ndjson' },
      })

      const lines = Buffer.from(bytes).toString('utf8').split('\n')
      expect(lines).toHaveLength(cases.length + 2)
      cases.forEach(([name], index) => {
        expectMessage(name, JSON.parse(at(lines, index)))
      })
    })

    test('all come back as server-sent events, each on one line', async () => {
      const events = await openEvents(target.bridge, `${stream.path}/messages`, {
        query: { start: 'beginning' },
      })

      const messages = await events.take<Message>('message', cases.length)
      events.close()

      cases.forEach(([name], index) => {
        expectMessage(name, at(messages, index))
      })
      for (const { event, data } of events.events)
        expect([event, /[\r\n]/.test(data)]).toEqual([event, false])
    })

    test('all come back from a pull', async () => {
      const consumer = await target.makeConsumer(stream)
      const messages: Delivery[] = []
      while (messages.length < cases.length) {
        const pulled = await target.bridge.pull(consumer, { batch: 100, wait_ms: 5_000 })
        expect(pulled.messages).not.toEqual([])
        messages.push(...pulled.messages)
      }

      cases.forEach(([name], index) => {
        expectMessage(name, at(messages, index))
      })
    })
  })
})
