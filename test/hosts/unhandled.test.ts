/** What becomes of a failure that nothing handles: the host goes on, counts it, and logs where, but not what it said. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openInspector } from '../../scripts/inspector.ts'
import { freePort } from '../../scripts/ports.ts'
import { startServer } from '../../scripts/processes.ts'
import { workerdPath } from '../../scripts/workerd.ts'
import { until } from '../contract/expectations.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { parseExposition } from '../support/prometheus.ts'

const SECRET = 'hunter2-in-a-message'

const FAILURES = {
  'a rejection': `void Promise.reject(new TypeError('${SECRET}'))`,
  'a rejection without an Error': `void Promise.reject('${SECRET}')`,
  'a throw behind a promise': `void Promise.resolve().then(() => { throw new Error('${SECRET}') }, () => {})`,
  'a throw in a timer': `void setTimeout(() => { throw new Error('${SECRET}\\n    at ${SECRET}') }, 0)`,
  'a throw in a microtask': `void queueMicrotask(() => { throw new RangeError('${SECRET}') })`,
}

describe.runIf(HOSTS.includes('node'))('on node', () => {
  let nats: TestNats
  let host: TestHost
  let inspectorPort: number

  beforeAll(async () => {
    nats = await startNats()
    inspectorPort = await freePort()
    host = await startHost('node', { natsUrl: nats.wsUrl, inspectorPort, env: { LOG: 'failures' } })
    expect((await fetch(`${host.url}/v1/streams`)).status).toBe(200)
  })
  afterAll(async () => {
    await host?.stop()
    await nats?.stop()
  })

  const counted = async () => {
    const figures = parseExposition(await (await fetch(`${host.url}/metrics`)).text())
    return figures.total('sluice_unhandled_failures_total')
  }

  test.each(Object.entries(FAILURES))(
    '%s is counted and logged without what it says',
    async (_, expression) => {
      const before = await counted()
      const inspector = await openInspector(inspectorPort)
      try {
        await inspector.ask('Runtime.evaluate', { expression })
      } finally {
        inspector.close()
      }
      await until('it is counted', async () => (await counted()) === before + 1)
      expect((await fetch(`${host.url}/v1/streams`)).status).toBe(200)
      const logged = () =>
        readFileSync(host.logPath, 'utf8')
          .split('\n')
          .filter((line) => line.includes('Nothing handled a failure.'))
      await until('it is logged', async () => logged().length === before + 1)
      expect(JSON.parse(logged().at(-1) ?? '')).toMatchObject({ level: 'warn', code: 'internal' })
      expect(readFileSync(host.logPath, 'utf8')).not.toContain(SECRET)
    },
  )
})

/** An isolate that has the net of the Worker, and fails as it is asked to. */
const WORKER = `
  import { tellAllUnhandled, tellUnhandled, watchUnhandled } from 'unhandled.js'
  const log = { warn: (failure) => console.log(JSON.stringify(failure)) }
  tellAllUnhandled(log)
  let count
  watchUnhandled({ watch: (_, read) => { count = read } })
  export default {
    async fetch(request, env, ctx) {
      const { pathname } = new URL(request.url)
      if (pathname === '/rejection') void Promise.reject(new TypeError('${SECRET}'))
      return new Response(String(count()))
    },
  }
`

describe.runIf(HOSTS.includes('workerd'))('in workerd', () => {
  test('a rejection is counted and logged without what it says', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-unhandled-'))
    const port = await freePort()
    const net = readFileSync(join(import.meta.dirname, '../../src/hosts/unhandled.ts'), 'utf8')
    writeFileSync(join(folder, 'unhandled.js'), stripTypeScriptTypes(net))
    writeFileSync(join(folder, 'worker.js'), WORKER)
    writeFileSync(
      join(folder, 'config.capnp'),
      `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "main", worker = .main)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]);
const main :Workerd.Worker = (compatibilityDate = "2026-11-01", modules = [
  (name = "worker.js", esModule = embed "worker.js"), (name = "unhandled.js", esModule = embed "unhandled.js")]);`,
    )
    const logPath = join(folder, 'log')
    const server = await startServer({
      name: 'workerd',
      command: workerdPath(),
      args: ['serve', join(folder, 'config.capnp')],
      env: {},
      logPath,
    })
    const ask = async (path: string) => await (await fetch(`http://127.0.0.1:${port}${path}`)).text()
    try {
      await until('it listens', () =>
        ask('/').then(
          () => true,
          () => false,
        ),
      )
      await ask('/rejection')
      await until('it is counted', async () => (await ask('/')) === '1')
      const text = readFileSync(logPath, 'utf8')
      expect(text).toMatch(/Nothing handled a failure.*TypeError/)
      expect(text).not.toContain(SECRET)
    } finally {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe.runIf(HOSTS.includes('node'))('a Node host', () => {
  test('ends with 1 where it cannot start: its port is taken', async () => {
    const nats = await startNats()
    try {
      const port = Number(new URL(nats.url).port)
      await expect(startHost('node', { natsUrl: nats.wsUrl, port })).rejects.toThrow('EADDRINUSE')
    } finally {
      await nats.stop()
    }
  })
})
