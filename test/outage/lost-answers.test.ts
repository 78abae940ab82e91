/** A request that was sent and whose answer is lost with the connection may have been carried out: it is told so. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { JetStream } from '../../src/jetstream.ts'
import { failureOf, makeStream, open } from '../adapters/support.ts'
import { until } from '../contract/expectations.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const DONE = 'jetstream_timeout'
const NOT_DONE = 'jetstream_unavailable'

type Ask = (jetstream: JetStream, stream: string) => Promise<unknown>

const asks: readonly (readonly [name: string, code: string, ask: Ask])[] = [
  ['createStream', DONE, (jetstream) => jetstream.createStream({ name: 'NEW', subjects: ['new.>'] })],
  ['purgeStream', DONE, (jetstream, stream) => jetstream.purgeStream(stream, {})],
  ['deleteMessage', DONE, (jetstream, stream) => jetstream.deleteMessage(stream, 1)],
  ['putConsumer', DONE, (jetstream, stream) => jetstream.putConsumer(stream, { durable_name: 'c' })],
  ['deleteConsumer', DONE, (jetstream, stream) => jetstream.deleteConsumer(stream, 'c')],
  ['deleteStream', DONE, (jetstream, stream) => jetstream.deleteStream(stream)],
  [
    'settle',
    DONE,
    (jetstream, stream) => jetstream.settle(`$JS.ACK.${stream}.c.1.1.1.1.0`, { action: 'ack' }),
  ],
  ['streamInfo', NOT_DONE, (jetstream, stream) => jetstream.streamInfo(stream)],
  ['listStreams', NOT_DONE, (jetstream) => jetstream.listStreams(0)],
]

describe('an answer lost with the connection', () => {
  let nats: TestNats
  beforeAll(async () => {
    nats = await startNats()
  })
  afterAll(async () => await nats.stop())

  it.each(['sent', 'not sent'])('what has been %s', async (when) => {
    const { jetstream, close } = open(nats.wsUrl, { REQUEST_TIMEOUT_MS: '20000' })
    const stream = await makeStream(jetstream, { storage: 'file' })
    if (when === 'sent') await nats.pause()
    else await nats.kill()
    if (when === 'not sent')
      await until('it is noticed', async () => (await failureOf(jetstream.ping())).code === NOT_DONE)

    const failures = asks.map(([, , ask]) => failureOf(ask(jetstream, stream)))
    await new Promise((resolve) => setImmediate(resolve))
    await nats.kill()

    const codes = (await Promise.all(failures)).map(({ code }) => code)
    expect(asks.map(([name], index) => [name, codes[index]])).toEqual(
      asks.map(([name, code]) => [name, when === 'sent' ? code : NOT_DONE]),
    )
    await close()
    await nats.restart()
  })
})
