/** A stored message whose headers begin as a status of the server's does is a message like any other. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, createClient, type Page } from '../contract/client.ts'
import { until } from '../contract/expectations.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { NATS_LINES, startNats, type TestNats } from '../support/nats.ts'

/** As a publisher writes them: nats-server keeps them as they are. */
const STATUSES = [
  '100',
  '100 Idle Heartbeat',
  '200 OK',
  '204 EOB',
  '404',
  '404 No Messages',
  '408 Request Timeout',
  '409 Consumer Deleted',
  '503',
]
const BLOCKS = STATUSES.flatMap((status) =>
  ['', 'Note: n\r\n'].map((more) => `NATS/1.0 ${status}\r\n${more}\r\n`),
)
const PAYLOADS = ['', 'payload']

const PLACES = NATS_LINES.flatMap((version) =>
  HOSTS.filter((host) => version === 'current' || host === 'node').map((host) => ({ version, host })),
)

describe.each(PLACES)('on $host with nats-server $version', ({ version, host: name }) => {
  let nats: TestNats
  let host: TestHost
  let bridge: Client
  let socket: Socket

  /** Everything that is stored, in order. */
  const sent = BLOCKS.flatMap((block) => PAYLOADS.map((payload) => ({ block, payload })))

  beforeAll(async () => {
    nats = await startNats({ version })
    host = await startHost(name, { natsUrl: nats.wsUrl })
    bridge = await createClient(host.url)
    for (const allow_direct of [true, false])
      await bridge.ok('POST /v1/streams', {
        json: { name: `D${allow_direct}`, subjects: [`D${allow_direct}.>`], storage: 'memory', allow_direct },
      })
    socket = connect(Number(new URL(nats.url).port), '127.0.0.1')
    await once(socket, 'data')
    socket.write('CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
    for (const allowsDirect of [true, false])
      for (const { block, payload } of sent)
        socket.write(
          `HPUB D${allowsDirect}.a ${block.length} ${block.length + payload.length}\r\n${block}${payload}\r\n`,
        )
    socket.write('PING\r\n')
    await once(socket, 'data')
  })
  afterAll(async () => {
    socket?.destroy()
    await host?.stop()
    await nats?.stop()
  })

  const expected = sent.map(({ payload }, index) => ({ seq: index + 1, data: payload }))

  describe.each(['Dtrue', 'Dfalse'])('in stream %s', (stream) => {
    it('a page has them all', async () => {
      await until(
        'the messages are stored',
        async () =>
          (await bridge.ok<{ state: { messages: number } }>(`GET /v1/streams/${stream}`)).state.messages ===
          sent.length,
      )
      expect((await bridge.page(stream, { limit: 1_000 })).messages).toMatchObject(expected)
    })

    it('a page of the last messages has the last', async () => {
      expect((await bridge.page(stream, { start: 'last_per_subject' })).messages).toMatchObject(
        expected.slice(-1),
      )
    })

    it('each is read by its sequence', async () => {
      for (const { seq, data } of expected)
        expect(
          await bridge.ok(`GET /v1/streams/${stream}/messages/${seq}`, {
            headers: { Accept: 'application/json' },
          }),
        ).toMatchObject({ seq, data })
    })

    it('a pull has them all, with their tokens', async () => {
      await bridge.ok(`PUT /v1/streams/${stream}/consumers/c`, { json: {} })
      const path = `/v1/streams/${stream}/consumers/c`
      const pulled = []
      while (pulled.length < sent.length) {
        const { messages } = await bridge.pull(path, { batch: 5, wait_ms: 5_000 })
        const results = await bridge.settle(
          ...messages.map(({ ack_token: token }) => ({ token, action: 'ack' as const })),
        )
        expect(results.every(({ status }) => status === 'ok')).toBe(true)
        pulled.push(...messages)
      }
      expect(pulled).toMatchObject(expected)
    })

    it('a reader of events has them all, from history and live', async () => {
      const { response } = await bridge.open(`GET /v1/streams/${stream}/messages`, {
        headers: { Accept: 'text/event-stream' },
        query: { start: 'beginning' },
      })
      const wanted = 2 * sent.length
      let text = ''
      let hasSent = false
      const decoder = new TextDecoder()
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        text += decoder.decode(chunk, { stream: true })
        if (!hasSent && text.includes('event: caught_up')) {
          hasSent = true
          for (const { block, payload } of sent)
            socket.write(
              `HPUB ${stream}.a ${block.length} ${block.length + payload.length}\r\n${block}${payload}\r\n`,
            )
        }
        if (text.match(/^event: message$/gm)?.length === wanted) break
      }
      const messages = [...text.matchAll(/^event: message\ndata: (.*)$/gm)].map(
        ([, data = '']) => JSON.parse(data) as Page['messages'][number],
      )
      expect(messages.map(({ seq }) => seq)).toEqual(Array.from({ length: wanted }, (_, index) => index + 1))
      expect(messages.slice(0, sent.length)).toMatchObject(expected)
    })
  })
})
