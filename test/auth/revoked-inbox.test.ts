/** A user that may no longer hear replies, while its connection is there, is refused before anything is sent. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Client, createClient, type Problem, publishPath } from '../contract/client.ts'
import { range, until } from '../contract/expectations.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { as, basic, changingUsers, type NatsUser } from './support.ts'
import { ADMIN, makeStream } from './users.ts'

const USER: NatsUser = {
  name: 'carol',
  password: 'carol-secret-5a1',
  publish: ['kept.>', '$JS.API.>'],
  subscribe: ['_INBOX.>'],
}
const REVOKED: NatsUser = { ...USER, subscribe: ['elsewhere.>'] }

const users = changingUsers([ADMIN, USER])
let nats: TestNats
let hosts: TestHost[]

beforeAll(async () => {
  nats = await startNats({ configText: users.configText })
  hosts = await Promise.all(
    HOSTS.map((name) => startHost(name, { natsUrl: nats.wsUrl, env: { AUTH: 'nats' } })),
  )
})
afterAll(async () => {
  await Promise.all((hosts ?? []).map((host) => host.stop()))
  await nats?.stop()
})

/** Has the server know the user as it is now. */
const allow = async (user: NatsUser) => {
  const reloads = () => readFileSync(nats.logPath, 'utf8').split('Reloaded server configuration').length
  const before = reloads()
  users.change(nats, [ADMIN, user])
  await until('the users are read', async () => reloads() > before)
}

it.each(HOSTS)('403 with nothing done on %s, and it goes on when it may again', async (name) => {
  const bridge: Client = await createClient(hosts[HOSTS.indexOf(name)]?.url ?? '')
  const [admin, carol] = [as(bridge, basic(ADMIN)), as(bridge, basic(USER))]
  await makeStream(admin, 'KEPT', 'kept.>')
  await carol.publish('kept.a', 'before')

  await allow(REVOKED)
  for (const _ of range(1, 3)) {
    const answer = await carol.send<Problem>(`POST ${publishPath('kept.a')}`, { body: 'x' })
    expect(answer).toMatchObject({
      status: 403,
      body: { side_effects: 'none', detail: expect.stringContaining('"_INBOX.>"') },
    })
    expect((await carol.send('DELETE /v1/streams/KEPT')).status).toBe(403)
  }
  expect((await admin.page('KEPT')).messages.map(({ data }) => data)).toEqual(['before'])

  await allow(USER)
  await carol.publish('kept.a', 'after')
  expect((await admin.page('KEPT')).messages.map(({ data }) => data)).toEqual(['before', 'after'])
  await admin.ok('DELETE /v1/streams/KEPT')
})
