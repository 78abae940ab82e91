/** `npm run dev` in a fresh clone: it listens where PORT says, makes itself settings, has a nats-server, and leaves nothing running. */
import { once } from 'node:events'
import { readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ROOT } from '../../scripts/paths.ts'
import { freePorts } from '../../scripts/ports.ts'
import { logTail, type Server, startServer, waitUntilReady } from '../../scripts/processes.ts'
import { WRANGLER_ENV } from '../../scripts/worker-bundle.ts'
import { HOSTS } from '../support/host.ts'
import { makeClone } from './clone.ts'

const START_MS = 120_000
const JSON_TYPE = { 'Content-Type': 'application/json' }

const listens = async (port: number): Promise<boolean> => {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

describe.runIf(HOSTS.includes('workerd'))('npm run dev in a fresh clone', () => {
  let folder: string
  let wrangler: Server
  let url: string
  beforeAll(async () => {
    folder = makeClone()
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    const [port = 0, inspector = 0] = await freePorts(2)
    url = `http://127.0.0.1:${port}`
    wrangler = await startServer({
      name: 'npm run dev',
      command: 'npm',
      args: ['run', 'dev', '--', '--ip', '127.0.0.1', '--inspector-port', `${inspector}`],
      cwd: folder,
      env: {
        ...process.env,
        ...WRANGLER_ENV,
        PORT: `${port}`,
        WRANGLER_LOG_PATH: join(folder, '.sluice', 'wrangler'),
      },
      logPath: join(folder, '.sluice', 'wrangler.log'),
    })
    const isReady = async () => {
      const answer = await fetch(`${url}/readyz`).catch(() => undefined)
      return answer?.ok || `it answers ${answer?.status}`
    }
    await waitUntilReady(wrangler, isReady, START_MS)
  }, START_MS)
  afterAll(async () => {
    await wrangler?.crash()
    rmSync(folder, { recursive: true, force: true })
  })

  test('publishes and reads', async () => {
    const send = async (path: string, body: object) => {
      const answer = await fetch(url + path, {
        method: 'POST',
        headers: JSON_TYPE,
        body: JSON.stringify(body),
      })
      return answer.status
    }
    expect(await send('/v1/streams', { name: 'ORDERS', subjects: ['orders.>'] })).toBe(201)
    expect(await send('/v1/subjects/orders.eu.42/messages', { id: 7 })).toBe(201)
    const page = (await (await fetch(`${url}/v1/streams/ORDERS/messages`)).json()) as { messages: object[] }
    expect(page.messages).toMatchObject([{ seq: 1, data: '{"id":7}' }])
  })

  test('keeps its settings from other users of the machine, and trusts pages of this machine alone', async () => {
    const path = join(folder, '.dev.vars')
    expect(statSync(path).mode & 0o077).toBe(0)
    expect(readFileSync(path, 'utf8')).toContain('LOOPBACK_ONLY=true')
  })

  test('leaves no nats-server behind', { timeout: START_MS }, async () => {
    const port = Number(/127\.0\.0\.1:(\d+)/.exec(readFileSync(join(folder, '.dev.vars'), 'utf8'))?.[1])
    expect(await listens(port), logTail(wrangler.logPath ?? '')).toBe(true)
    await wrangler.stop(10_000)
    while (await listens(port)) await delay(20)
  })
})
