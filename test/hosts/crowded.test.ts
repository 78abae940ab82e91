/** One tenant beside others that together have all of a host: it still has what it needs. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { authorizationText, basic, type Guarded, type NatsUser, onEveryHost } from '../auth/support.ts'
import { ADMIN } from '../auth/users.ts'
import { until } from '../contract/expectations.ts'

const GREEDY: readonly NatsUser[] = ['g1', 'g2', 'g3'].map((name) => ({ name, password: `${name}-secret` }))
const CONFIG = { configText: authorizationText([ADMIN, ...GREEDY]) }

const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
})

/** Sends so many requests over one connection, one behind the other, and reads no answer. */
function send(guarded: Guarded, user: NatsUser, request: string, count = 1): Socket {
  const { host, hostname, port } = new URL(guarded.host.url)
  const socket = connect(Number(port), hostname)
  sockets.push(socket)
  socket.on('error', () => {})
  const [line, ...rest] = request.split('\n')
  const head = `${line} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${basic(user)}\r\n${rest.join('\r\n')}`
  socket.write(head.repeat(count))
  return socket
}

const figure = async ({ host }: Guarded, name: string): Promise<number> => {
  const text = await (
    await fetch(`${host.url}/metrics`, { headers: { Authorization: 'Bearer token-for-the-figures' } })
  ).text()
  const line = text.split('\n').find((one) => one.startsWith(`${name} `) || one.startsWith(`${name}{`))
  return Number(line?.split(' ').at(-1) ?? Number.NaN)
}
const METRICS = { METRICS_TOKEN: 'token-for-the-figures' }
const makeShop = async (guarded: Guarded) => {
  await guarded.caller(ADMIN).ok('POST /v1/streams', {
    json: { name: 'SHOP', subjects: ['shop.>'], storage: 'memory' },
  })
}

onEveryHost(
  { ...CONFIG, hosts: ['node'], env: { ...METRICS, MAX_PUBLISHERS: '4' }, prepare: makeShop },
  (guarded) => {
    test('batches of two tenants whose bodies do not come leave a slot to a third', async () => {
      const stalled = 'POST /v1/messages\nContent-Type: application/json\nContent-Length: 99\n\n{'
      for (const user of GREEDY.slice(0, 2)) for (const _ of [1, 2, 3]) send(guarded, user, stalled)
      await until(
        'all slots are taken',
        async () => (await figure(guarded, 'sluice_publishing_requests')) >= 4,
      )

      const batch = { messages: [{ subject: 'shop.a', data: 'x' }] }
      await expect(guarded.caller(ADMIN).ok('POST /v1/messages', { json: batch })).resolves.toMatchObject({
        results: [{ index: 0, duplicate: false }],
      })
    })
  },
)

onEveryHost(
  { ...CONFIG, hosts: ['node'], env: { ...METRICS, MAX_REQUESTS: '20' }, prepare: makeShop },
  (guarded) => {
    test('429 for more requests of a tenant at once than its share, while NATS does not answer', async () => {
      const [greedy] = GREEDY
      if (!greedy) throw new Error('There is one.')
      await guarded.caller(greedy).ok('GET /v1/streams/SHOP')
      await guarded.nats.pause()
      let heard = ''
      try {
        // Over two connections: on one of them nothing is answered before what came first, and refusals would pile up there.
        const hasty = send(guarded, greedy, 'GET /v1/streams/SHOP\n\n', 500)
        const ended = once(hasty, 'close')
        await until(
          'the share is taken',
          async () => (await figure(guarded, 'sluice_requests_under_way')) >= 10,
        )
        const other = send(guarded, greedy, 'GET /v1/streams/SHOP\n\n')
        other.on('data', (chunk) => {
          heard += chunk
        })
        await ended
        await until('an answer', async () => heard.includes('}'))
        expect(await figure(guarded, 'sluice_requests_under_way')).toBeLessThanOrEqual(10)
      } finally {
        guarded.nats.resume()
      }
      expect(heard).toContain('429')
      await until('all are answered', async () => (await figure(guarded, 'sluice_requests_under_way')) === 0)
    })
  },
)

onEveryHost({ ...CONFIG, hosts: ['node'], env: { MAX_CONNECTIONS: '2' }, prepare: makeShop }, (guarded) => {
  test('sessions that are connected and unused give way to a new caller, the one longest unused first', async () => {
    for (const user of GREEDY) await guarded.caller(user).ok('GET /v1/streams/SHOP')
    await expect(guarded.caller(ADMIN).ok('GET /v1/streams/SHOP')).resolves.toMatchObject({
      config: { name: 'SHOP' },
    })
  })

  test('lines that are still being read keep their session', async () => {
    const [reader] = GREEDY
    if (!reader) throw new Error('There is one.')
    const payload = 'x'.repeat(900_000)
    const wanted = 40
    for (let n = 0; n < wanted; n += 1) await guarded.caller(ADMIN).publish('shop.large', payload)
    const answer = await fetch(`${guarded.host.url}/v1/streams/SHOP/messages`, {
      headers: { Authorization: basic(reader), Accept: 'application/x-ndjson' },
    })
    for (const user of [...GREEDY.slice(1), ADMIN]) await guarded.caller(user).ok('GET /v1/streams/SHOP')
    const lines = (await answer.text()).trimEnd().split('\n')
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({ up_to_date: true })
    expect(lines).toHaveLength(wanted + 1)
  })
})
