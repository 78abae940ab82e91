/** Where publishes to a mapped subject end is known of replicated streams as well. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, createClient, type Problem, type Published, publishPath } from '../contract/client.ts'
import { startHost, type TestHost } from '../support/host.ts'
import { startCluster, type TestCluster } from '../support/nats.ts'

const MAPPINGS = 'mappings { "in.*": "M.$1" }'

describe('a stream of three replicas', () => {
  let cluster: TestCluster
  let host: TestHost
  let bridge: Client

  beforeAll(async () => {
    cluster = await startCluster(3, { configText: MAPPINGS })
    host = await startHost('node', { natsUrl: cluster.wsUrl })
    bridge = await createClient(host.url)
    for (const json of [
      { name: 'M', subjects: ['M.>'] },
      { name: 'T', subjects: ['T.>'], subject_transform: { src: 'T.*', dest: 'stored.{{wildcard(1)}}' } },
    ])
      await bridge.ok('POST /v1/streams', { json: { num_replicas: 3, allow_atomic: true, ...json } })
  })
  afterAll(async () => {
    await host?.stop()
    await cluster?.stop()
  })

  const keyed = (subject: string, body: string, key: string, headers = {}) =>
    bridge.send<Published & Problem>(`POST ${publishPath(subject)}`, {
      body,
      headers: { 'Idempotency-Key': key, ...headers },
    })

  it.each(['in.a', 'T.a'])('its cursor and its keys are good on %s', async (subject) => {
    const key = crypto.randomUUID()
    const first = await keyed(subject, 'once', key, { 'If-None-Match': '*' })
    const { stream, seq, cursor } = first.body
    const next = await bridge.publish(subject, 'next')

    const same = { status: 200, body: { duplicate: true, seq } }
    expect(await keyed(subject, 'once', key)).toMatchObject(same)
    expect(await keyed(subject, 'once', key, { 'If-None-Match': '*' })).toMatchObject(same)
    expect(await keyed(subject, 'once', crypto.randomUUID(), { 'If-None-Match': '*' })).toMatchObject({
      status: 412,
      body: { current_seq: next.seq },
    })
    expect(await keyed(`${subject}2`, 'once', key)).toMatchObject({
      status: 422,
      body: { code: 'idempotency_conflict' },
    })
    expect((await bridge.page(stream, { cursor })).messages).toMatchObject([{ seq: next.seq }])
  })

  it.each(['in', 'T'])('a batch to %s.* that comes again has its first sequences', async (place) => {
    const batch = crypto.randomUUID()
    const messages = ['a', 'b'].map((tail) => ({
      subject: `${place}.${tail}`,
      data: tail,
      id: `${batch}-${tail}`,
    }))
    const send = () =>
      bridge.ok<{ results: Published[] }>('POST /v1/messages', { json: { messages, atomic: true } })
    const { results } = await send()
    expect((await send()).results).toMatchObject(results.map(({ seq }) => ({ seq })))
  })
})
