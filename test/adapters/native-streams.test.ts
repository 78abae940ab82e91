/** A stream of NATS's own subjects, which a NATS client has made, is read, changed and deleted like any other. */
import { connect } from 'nats.ws'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Client, createClient, type StreamBody } from '../contract/client.ts'
import { startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

let nats: TestNats
let host: TestHost
let bridge: Client

beforeAll(async () => {
  nats = await startNats()
  host = await startHost('node', { natsUrl: nats.wsUrl })
  bridge = await createClient(host.url)
})
afterAll(async () => {
  await host?.stop()
  await nats?.stop()
})

it.each([
  { name: 'KV_B', subjects: ['$KV.B.>'] },
  { name: 'ADVISORIES', subjects: ['other.>', '$JS.EVENT.ADVISORY.>'] },
  { name: 'TENANTS', subjects: ['*.orders.>'], no_ack: true },
])('$name', async (config) => {
  const { name, ...own } = config
  const native = await connect({ servers: nats.wsUrl })
  await native.request(`$JS.API.STREAM.CREATE.${name}`, JSON.stringify({ storage: 'memory', ...config }))
  const path = `/v1/streams/${name}`

  const { config: made } = await bridge.ok<StreamBody>(`GET ${path}`)
  expect(made).toMatchObject(config)
  const json = { storage: 'memory', description: 'changed', ...own }
  expect(await bridge.ok(`PUT ${path}`, { json })).toMatchObject({ config: json })
  expect(
    await bridge.send(`PUT ${path}`, { json: { ...json, subjects: ['_INBOX.>', ...config.subjects] } }),
  ).toMatchObject({
    status: 400,
    body: { errors: [{ field: 'subjects.0' }] },
  })
  expect(await bridge.page(name)).toMatchObject({ messages: expect.any(Array) })
  expect((await bridge.send(`DELETE ${path}`)).status).toBe(204)
  await native.close()
})
