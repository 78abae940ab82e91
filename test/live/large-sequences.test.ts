/** Streams whose sequences come to where numbers are no longer exact: refused, never read in circles. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, createClient, type Page } from '../contract/client.ts'
import { problem, refusal, seqs } from '../contract/expectations.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { type Native, openNative } from './native.ts'

const LARGEST = 9_007_199_254_740_991n

describe.each(HOSTS)('large sequences, on %s', (name) => {
  let nats: TestNats
  let native: Native
  let host: TestHost
  let client: Client
  let made = 0

  beforeAll(async () => {
    nats = await startNats()
    native = await openNative(nats.wsUrl)
    host = await startHost(name, { natsUrl: nats.wsUrl })
    client = await createClient(host.url)
  })
  afterAll(async () => {
    await host?.stop()
    await native?.close()
    await nats?.stop()
  })

  /** A native stream that begins there, with so many messages. */
  const make = async (firstSeq: bigint, count: number) => {
    made += 1
    const stream = `LARGE${made}`
    const config = `{"name":"${stream}","subjects":["${stream}.>"],"allow_direct":true,"first_seq":${firstSeq}}`
    const reply = await native.client.request(`$JS.API.STREAM.CREATE.${stream}`, config)
    expect(reply.json()).not.toHaveProperty('error')
    for (let n = 0; n < count; n += 1) await native.client.request(`${stream}.a`, `m${n}`)
    return stream
  }
  const read = (stream: string, query: Record<string, string>, Accept: string) =>
    client.send<Page>(`GET /v1/streams/${stream}/messages`, { query, headers: { Accept } })

  it('400 naming first_seq for a stream that would begin too late', async () => {
    const json = { name: 'LATE', subjects: ['late'], first_seq: Number(LARGEST) - 10 }
    expect(await client.send('POST /v1/streams', { json })).toMatchObject(refusal('first_seq'))
  })

  it('400 naming start for a sequence that no number holds', async () => {
    const stream = await make(1n, 1)
    for (const start of ['seq:9007199254740993', 'seq:9999999999999999'])
      expect(await read(stream, { start }, 'application/json')).toMatchObject(refusal('start'))
  })

  it('exact up to the last sequence that is', async () => {
    const stream = await make(LARGEST - 4n, 4)
    const { body } = await read(stream, {}, 'application/json')
    const last = Number(LARGEST) - 1
    expect([seqs(body.messages), body.up_to_date]).toEqual([[last - 3, last - 2, last - 1, last], true])
  })

  it.each(['application/json', 'application/x-ndjson', 'text/event-stream'])(
    '422 sequence_too_large behind it, under Accept: %s',
    async (accept) => {
      const stream = await make(LARGEST - 2n, 6)
      for (const start of ['beginning', 'tail:1', 'last', 'new', 'last_per_subject'])
        expect(await read(stream, { start }, accept)).toMatchObject(problem(422, 'sequence_too_large'))
    },
  )

  it('422 sequence_too_large for its last message, and 504 that a publish is stored', async () => {
    const stream = await make(LARGEST + 2n, 2)
    expect(
      await client.send(`GET /v1/streams/${stream}/messages/last`, {
        headers: { Accept: 'application/json' },
      }),
    ).toMatchObject(problem(422, 'sequence_too_large'))
    expect(await client.send(`POST /v1/subjects/${stream}.a/messages`, { body: 'x' })).toMatchObject({
      status: 504,
      body: {
        code: 'publish_unconfirmed',
        side_effects: 'possible',
        detail: expect.stringContaining('stored'),
      },
    })
  })
})
