/** The proof that the bridge does not run on settings that it cannot trust, and never shows a value of them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { startNode } from '../../scripts/node-host.ts'
import { LOGS } from '../../scripts/paths.ts'
import { startWorkerd } from '../../scripts/workerd.ts'
import worker from '../../src/worker.ts'
import { HOSTS, newTokenKey } from '../support/host.ts'
import { startNats } from '../support/nats.ts'

/** Good as they are; nothing listens at the address, and nothing needs to. */
const GOOD = { AUTH: 'nats', NATS_URL: 'ws://127.0.0.1:1', TOKEN_KEYS: newTokenKey(), LOG: 'on' }
const KEY = 'k'.repeat(43)
const SECRET = 'secret-value-71c'

const BAD: [setting: string, value: string][] = [
  ['AUTH', SECRET],
  ['NATS_URL', ''],
  ['NATS_URL', `nats://user:${SECRET}@127.0.0.1:4222`],
  ['NATS_URL', `http://${SECRET}.example.com`],
  ['TOKEN_KEYS', ''],
  ['TOKEN_KEYS', SECRET],
  ['TOKEN_KEYS', `k1:${SECRET}`],
  ['TOKEN_KEYS', `k1:${KEY},k2:${SECRET}`],
  ['TOKEN_KEYS', `k1:${KEY},k1:${KEY}`],
  ['CORS_ORIGINS', `${SECRET}.example.com`],
  ['CORS_ORIGINS', 'https://*.example.com'],
  ['CORS_ORIGINS', '*'],
  ['CORS_ORIGINS', 'null'],
  ['PUBLIC_ORIGIN', `${SECRET}.example.com`],
  ['PUBLIC_ORIGIN', 'https://example.com/nats'],
  ['PUBLIC_PATH', SECRET],
  ['PUBLIC_PATH', '/a b'],
  ['LOOPBACK_ONLY', SECRET],
  ['TICKET_VALID_MS', SECRET],
  ['HEARTBEAT_MS', '1.5'],
  ['REQUEST_TIMEOUT_MS', '0'],
  ['MAX_CONNECTIONS', '-1'],
  ['READER_SHARDS', '65'],
  ['MAX_READERS', '0'],
  ['READER_BUFFER_BYTES', '65535'],
  ['MAX_PULL_BATCH', '1001'],
  ['METRICS_TOKEN', 'too-short'],
  ['METRICS_TOKEN', `${SECRET} with a space`],
  ['LOG', SECRET],
]

/** One of each kind: starting a process takes its time. */
const BAD_FOR_A_PROCESS = BAD.filter(
  ([setting, value], index) =>
    value.includes(SECRET) &&
    BAD.findIndex(([other, text]) => other === setting && text.includes(SECRET)) === index,
)

let logs = 0
const newLog = (): string => {
  logs += 1
  return join(LOGS, `settings-${process.pid}-${logs}.log`)
}

/** What is said for a bad setting: its name, and nothing of any value. */
function expectNamed(said: string, setting: string, value: string): void {
  expect(said).toContain(`Bad settings. ${setting}: `)
  const values = [SECRET, ...Object.values(GOOD), value].filter((one) => one.length > 4)
  for (const one of values) expect(said).not.toContain(one)
}

describe.runIf(HOSTS.includes('node'))('on node', () => {
  const start = async (env: Record<string, string>, hostname = '127.0.0.1') => {
    const log = newLog()
    const server = await startNode({ port: 0, hostname, env, log })
    return { server, log }
  }

  test.each(BAD_FOR_A_PROCESS)('does not start with a bad %s: %s', async (setting, value) => {
    const { message } = await start({ ...GOOD, [setting]: value }).then(
      ({ server }) => server.stop().then(() => new Error('It started.')),
      (failure: Error) => failure,
    )
    expectNamed(message, setting, value)
  })

  test('does not start on an address that others reach before it is said who may call', async () => {
    const { AUTH: _, ...silent } = GOOD

    await expect(start(silent, '0.0.0.0')).rejects.toThrow('Bad settings. AUTH: ')
    await expect(start({ ...silent, AUTH: '' }, '0.0.0.0')).rejects.toThrow('Bad settings. AUTH: ')
  })

  test.each(['none', 'nats'])(
    'starts on an address that others reach where AUTH=%s is said',
    async (AUTH) => {
      const { server } = await start({ ...GOOD, AUTH, CONNECT_TIMEOUT_MS: '100' }, '0.0.0.0')
      const url = server.url.replace('0.0.0.0', '127.0.0.1')

      expect((await fetch(`${url}/livez`)).status).toBe(200)
      // NATS is not there: with AUTH=none that is all that is wrong with the request.
      expect((await fetch(`${url}/v1/streams`)).status).toBe(AUTH === 'none' ? 503 : 401)
      await server.stop()
    },
  )

  test('serves anyone on a loopback address where nothing is said', async () => {
    const nats = await startNats()
    const { AUTH: _, ...silent } = GOOD
    const { server } = await start({ ...silent, NATS_URL: nats.wsUrl })

    expect((await fetch(`${server.url}/v1/streams`)).status).toBe(200)
    await server.stop()
    await nats.stop()
  })
})

describe.runIf(HOSTS.includes('workerd'))('on workerd', () => {
  const said = vi.spyOn(console, 'error').mockImplementation(() => undefined)
  afterAll(() => said.mockRestore())

  test('answers internal and logs the name of a bad setting', async () => {
    const log = newLog()
    const env = { ...GOOD, TOKEN_KEYS: `k1:${SECRET}` }

    const refusal = startWorkerd({ port: 0, env, log })

    await expect(refusal).rejects.toThrow(/Sluice answers 500: \{.*"code":"internal"/)
    expectNamed(readFileSync(log, 'utf8'), 'TOKEN_KEYS', env.TOKEN_KEYS)
  })

  // One Worker for each test, as each isolate has one: it keeps what it made of its settings.
  test.each(BAD)('refuses all traffic with a bad %s: %s', async (setting, value) => {
    said.mockClear()
    const env = { ...GOOD, [setting]: value } as unknown as Parameters<typeof worker.fetch>[1]

    for (const path of ['/', '/livez', '/readyz', '/docs', '/openapi.json', '/v1/streams', '/nothing']) {
      const answer = await worker.fetch(new Request(`https://sluice.example.com${path}`), env)
      const body: unknown = await answer.json()
      expect([path, answer.status, body]).toMatchObject([
        path,
        500,
        {
          code: 'internal',
          detail: expect.stringMatching(
            new RegExp(`^Bad or missing settings of this bridge: .*\\b${setting}\\b`),
          ),
        },
      ])
      expect(answer.headers.get('Content-Type')).toBe('application/problem+json')
    }
    const lines = said.mock.calls.map((call) => call.join(' '))
    expect(lines).toHaveLength(7)
    for (const line of lines) expectNamed(line, setting, value)
  })
})
