/** What is said where NATS does not answer, or has no JetStream: at the start, by /readyz, and to each request. */
import { afterEach, describe, expect, test } from 'vitest'
import { freePorts } from '../../scripts/ports.ts'
import { HOSTS, startHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { type Started, startSluice } from './started.ts'

const START_MS = 90_000
const WITHOUT_JETSTREAM = {
  'the server': {
    configText: 'jetstream: false',
    detail: 'JetStream is not enabled on this NATS server.',
  },
  'the account': {
    configText: 'accounts { PLAIN { users: [{ user: plain, password: plain }] } }\nno_auth_user: plain',
    detail: 'JetStream is not enabled for this NATS account.',
  },
}
const OF_ANOTHER_USER = 'authorization { user: another, password: another }'

describe.each(HOSTS)('npm start on %s', (host) => {
  let started: Started | undefined
  let nats: TestNats | undefined
  afterEach(async () => {
    await started?.stop()
    await nats?.stop()
  })

  test('is not ready while nobody answers at NATS_URL, says so, and is ready once NATS is there', {
    timeout: START_MS,
  }, async () => {
    const [client = 0, websocket = 0, monitor = 0] = await freePorts(3)
    const natsUrl = `ws://127.0.0.1:${websocket}`
    started = await startSluice(host, { NATS_URL: natsUrl })
    await started.says(`NATS_URL=${natsUrl}: NATS cannot be reached. ${natsUrl}: connect ECONNREFUSED`)
    expect(started.said()).not.toContain('is ready')

    nats = await startNats({ ports: { client, websocket, monitor } })
    await started.says('Sluice is ready at')
  })

  test('says where it looked for NATS, and that the ordinary port of NATS is not the one that it needs', {
    timeout: START_MS,
  }, async () => {
    const [client = 0, websocket = 0, monitor = 0, nobody = 0] = await freePorts(4)
    nats = await startNats({ ports: { client, websocket, monitor } })
    const [ordinary, closed] = [`ws://127.0.0.1:${client}`, `ws://127.0.0.1:${nobody}`]
    started = await startSluice(host, { NATS_URL: `${ordinary},${closed}`, LOG: 'all' })
    await started.says(`${ordinary} is no WebSocket`)
    await started.says(`${closed}: connect ECONNREFUSED`)
    const isOfReadiness = (line: string) => line.includes('/readyz')
    expect(started.said().split('\n').filter(isOfReadiness)).toEqual([])

    expect((await fetch(`${started.url}/readyz`)).status).toBe(503)
    await started.says(/"route":"\/readyz".*\n/)
    const line = started.said().split('\n').find(isOfReadiness) ?? ''
    const { cause } = JSON.parse(line) as { cause: string }
    for (const url of [ordinary, closed]) expect(cause).toContain(`answers at ${url}.`)
    expect(cause).not.toContain('    at ')
  })

  test('says with AUTH=nats that its own nats-server takes any credential', {
    timeout: START_MS,
  }, async () => {
    started = await startSluice(host, { AUTH: 'nats' })
    await started.says('the nats-server started here takes any credential')
    await started.says('Sluice is ready at')
  })

  test.each(Object.entries(WITHOUT_JETSTREAM))(
    'says that %s has no JetStream',
    { timeout: START_MS },
    async (_, off) => {
      nats = await startNats({ configText: off.configText })
      started = await startSluice(host, { NATS_URL: nats.wsUrl })
      await started.says(off.detail)
      expect(started.said()).not.toContain('is ready')
    },
  )
})

describe.each(HOSTS)('on %s', (host) => {
  test.each([
    ['none', 503],
    ['nats', 200],
  ])(
    '/readyz where NATS refuses the bridge itself, with AUTH=%s: %s',
    { timeout: START_MS },
    async (AUTH, status) => {
      const nats = await startNats({ configText: OF_ANOTHER_USER })
      const sluice = await startHost(host, { natsUrl: nats.wsUrl, env: { AUTH } })
      expect((await fetch(`${sluice.url}/readyz`)).status).toBe(status)
      await sluice.stop()
      await nats.stop()
    },
  )

  test.each(Object.entries(WITHOUT_JETSTREAM))(
    '503 saying that %s has no JetStream, by every operation',
    {
      timeout: START_MS,
    },
    async (_, { configText, detail }) => {
      const nats = await startNats({ configText })
      const sluice = await startHost(host, { natsUrl: nats.wsUrl })
      const json = { 'Content-Type': 'application/json' }
      const requests: [path: string, init?: RequestInit][] = [
        ['/readyz'],
        ['/v1/streams'],
        ['/v1/streams', { method: 'POST', headers: json, body: '{"name":"A","subjects":["a"]}' }],
        ['/v1/streams/A/messages'],
        ['/v1/streams/A/consumers/c'],
        ['/v1/subjects/a/messages', { method: 'POST', body: 'x' }],
      ]
      for (const [path, init] of requests) {
        const answer = await fetch(sluice.url + path, init)
        expect({ path, status: answer.status, ...((await answer.json()) as object) }).toMatchObject({
          path,
          status: 503,
          detail,
          code: 'jetstream_unavailable',
        })
      }
      await sluice.stop()
      await nats.stop()
    },
  )
})
