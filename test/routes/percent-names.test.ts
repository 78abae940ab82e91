/** The tests of names with `%`: acknowledged like any other, or refused where the server would lose the acks. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, createClient } from '../contract/client.ts'
import { refusal } from '../contract/expectations.ts'
import { type Native, openNative } from '../live/native.ts'
import { startHost, type TestHost } from '../support/host.ts'
import { NATS_LINES, startNats, type TestNats } from '../support/nats.ts'

describe.each(NATS_LINES)('names with a percent sign, on nats-server %s', (version) => {
  let nats: TestNats
  let native: Native
  let bridge: TestHost
  let client: Client

  beforeAll(async () => {
    nats = await startNats({ version })
    native = await openNative(nats.wsUrl)
    bridge = await startHost('node', { natsUrl: nats.wsUrl })
    client = await createClient(bridge.url)
  })
  afterAll(async () => {
    await bridge?.stop()
    await native?.close()
    await nats?.stop()
  })

  it.each([
    ['consumer', 'PLAIN', 'a%b'],
    ['consumer', 'PLAIN2', '100%'],
    ['consumer', 'PLAIN3', '%d%s%n'],
    ['stream', 'a%b', 'plain'],
    ['stream', '%%', 'plain'],
    ['stream', '%x', '%y'],
  ])('its %s, of %s and %s: acknowledged, or refused naming it', async (field, stream, consumer) => {
    const subject = `percent.${Buffer.from(stream).toString('hex')}`
    await native.ask(`STREAM.CREATE.${stream}`, { name: stream, subjects: [subject], storage: 'memory' })
    await native.publish({ subject, payload: Buffer.from('x'), headers: {} })
    const path = `/v1/streams/${encodeURIComponent(stream)}/consumers/${encodeURIComponent(consumer)}`
    const config = { durable_name: consumer, ack_policy: 'explicit' }
    await native.ask(`CONSUMER.CREATE.${stream}.${consumer}`, { stream_name: stream, config })

    const put = await client.send(`PUT ${path}`, { json: {} })

    const page = await client.send(`GET /v1/streams/${encodeURIComponent(stream)}/messages`)
    if (version === '2.10') {
      expect(page).toMatchObject(field === 'stream' ? refusal('stream') : { status: 200 })
      expect(put).toMatchObject(refusal(field))
      expect(await client.send(`POST ${path}/pull`, { json: {} })).toMatchObject(refusal(field))
      const headers = { Accept: 'text/event-stream' }
      expect(await client.send(`GET ${path}/messages`, { headers })).toMatchObject(refusal(field))
      return
    }
    expect([put.status, page.status]).toEqual([200, 200])
    const { messages } = await client.pull(path)
    const acks = messages.map(({ ack_token: token }) => ({ token, action: 'ack' as const }))
    expect(await client.settle(...acks)).toEqual([{ status: 'ok' }])
  })
  it('a new stream of such a name: made, or refused naming it', async () => {
    const answer = await client.send('POST /v1/streams', { json: { name: 'new%', subjects: ['new.>'] } })
    expect(answer).toMatchObject(version === '2.10' ? refusal('stream') : { status: 201 })
  })
})
