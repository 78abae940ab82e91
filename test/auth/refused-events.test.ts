/** Events that a credential may not have: a browser comes back to an answer that begins well, so the refusal is a status. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, createClient } from '../contract/client.ts'
import { openEvents } from '../contract/events.ts'
import { problem } from '../contract/expectations.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const CONFIG = `authorization { users = [
  { user: admin, password: secret }
  { user: reader, password: secret, permissions: { publish: { deny: ["$JS.API.CONSUMER.CREATE.>"] } } }
  { user: asker, password: secret, permissions: { publish: { deny: ["$JS.API.CONSUMER.MSG.NEXT.>"] } } }
] }`

describe.each(HOSTS)('events that are not permitted, on %s', (name) => {
  let nats: TestNats
  let host: TestHost
  let client: Client

  const as = (user: string) => ({
    Authorization: `Basic ${Buffer.from(`${user}:secret`).toString('base64')}`,
  })
  const events = (user: string, path: string) =>
    client.send(`GET ${path}`, { headers: { ...as(user), Accept: 'text/event-stream' } })

  beforeAll(async () => {
    nats = await startNats({ configText: CONFIG })
    host = await startHost(name, { natsUrl: nats.wsUrl, env: { AUTH: 'nats', HEARTBEAT_MS: '500' } })
    client = await createClient(host.url)
    const json = { name: 'S', subjects: ['s.>'], storage: 'memory' }
    await client.ok('POST /v1/streams', { json, headers: as('admin') })
    await client.ok('POST /v1/subjects/s.a/messages', { body: 'x', headers: as('admin') })
    await client.ok('PUT /v1/streams/S/consumers/worker', { json: {}, headers: as('admin') })
  })
  afterAll(async () => {
    await host?.stop()
    await nats?.stop()
  })

  it('403 before any event of a stream that the credential may not follow', async () => {
    const path = '/v1/streams/S/messages?start=beginning'
    for (let n = 0; n < 2; n += 1)
      expect(await events('reader', path)).toMatchObject(problem(403, 'forbidden'))
  })

  it('403 for the reconnect to a consumer that the credential may not pull', async () => {
    const path = '/v1/streams/S/consumers/worker/messages'
    const first = await openEvents(client, path, { headers: as('asker') })
    const [failure] = await first.take<{ code: string }>('error', 1)
    first.close()
    expect(failure?.code).toBe('forbidden')

    expect(await events('asker', path)).toMatchObject(problem(403, 'forbidden'))
    const other = await openEvents(client, path, { headers: as('admin') })
    await other.take('message', 1)
    other.close()
  })
})
