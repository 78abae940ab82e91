/** Running on Node in production, as README.md has it: in a clone with `npm ci --omit=dev`, and nothing else. */
import { cpSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ROOT } from '../../scripts/paths.ts'
import { freePort } from '../../scripts/ports.ts'
import { run, type Server, startServer, waitUntilReady } from '../../scripts/processes.ts'
import { HOSTS, newTokenKey } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { makeClone } from './clone.ts'

const START_MS = 180_000
const QUIETLY = ['--no-audit', '--no-fund', '--loglevel=error']

type Locked = Readonly<Record<string, { readonly dev?: boolean; readonly devOptional?: boolean }>>

/** Without a network: out of npm's cache, else the same packages out of what is installed here. */
async function install(folder: string): Promise<void> {
  const installed = await run('npm', ['ci', '--omit=dev', '--offline', ...QUIETLY], { cwd: folder })
  if (installed.ok) return
  rmSync(join(folder, 'node_modules'), { recursive: true, force: true })
  const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')) as { packages: Locked }
  for (const [path, { dev, devOptional }] of Object.entries(lock.packages))
    if (path !== '' && !dev && !devOptional) cpSync(join(ROOT, path), join(folder, path), { recursive: true })
}

describe.runIf(HOSTS.includes('node'))('a clone with npm ci --omit=dev', () => {
  let folder: string
  let nats: TestNats
  let server: Server
  let url: string
  beforeAll(async () => {
    folder = makeClone()
    await install(folder)
    nats = await startNats({ configText: 'authorization { user: shop, password: secret }' })
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    server = await startServer({
      name: 'node src/node.ts',
      command: process.execPath,
      args: ['src/node.ts'],
      cwd: folder,
      env: {
        AUTH: 'nats',
        HOST: '0.0.0.0',
        PORT: String(port),
        NATS_URL: nats.wsUrl,
        TOKEN_KEYS: newTokenKey(),
      },
      logPath: join(folder, 'output'),
    })
    const isReady = async () => (await fetch(`${url}/readyz`).catch(() => undefined))?.ok || 'not ready'
    await waitUntilReady(server, isReady)
  }, START_MS)
  afterAll(async () => {
    await server?.stop()
    await nats?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  test('has no package for development', () => {
    const installed = readdirSync(join(folder, 'node_modules'))
    expect(installed).toContain('nats.ws')
    for (const name of ['typescript', 'wrangler', 'vitest', 'workerd']) expect(installed).not.toContain(name)
  })

  test('is started by the command in README.md', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
    expect(readme).toMatch(/^npm ci --omit=dev\nAUTH=nats HOST=.* node src\/node\.ts$/m)
  })

  test('publishes and reads for a NATS user, and for nobody else', async () => {
    const headers = { Authorization: `Basic ${btoa('shop:secret')}`, 'Content-Type': 'application/json' }
    const body = '{"name":"ORDERS","subjects":["orders.>"]}'
    expect((await fetch(`${url}/v1/streams`, { method: 'POST', body })).status).toBe(401)
    expect((await fetch(`${url}/v1/streams`, { method: 'POST', headers, body })).status).toBe(201)
    const published = await fetch(`${url}/v1/subjects/orders.a/messages`, {
      method: 'POST',
      headers,
      body: '{}',
    })
    expect(published.status).toBe(201)
    const page = (await (await fetch(`${url}/v1/streams/ORDERS/messages`, { headers })).json()) as object
    expect(page).toMatchObject({ messages: [{ data: '{}' }] })
  })

  test('ends in order on SIGTERM', async () => {
    server.signal('SIGTERM')
    expect(await server.ended).toEqual({ code: 0, signal: null })
  })
})
