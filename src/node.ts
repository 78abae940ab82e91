/** Owns the Node entry: the same app in one process. */
import { createServer, Server } from 'node:http'
import { serve } from '@hono/node-server'
import { createApp } from './app.ts'
import { createDependencies } from './bridge.ts'
import { watchProcess } from './hosts/process.ts'
import { createSessions } from './hosts/sessions.ts'
import { endSlowBodies } from './hosts/slow-bodies.ts'
import { createLineBuffer } from './line-buffer.ts'
import { createMetrics } from './metrics.ts'
import { readSettings } from './settings.ts'
import { version } from './version.ts'

const DEFAULT_PORT = 8_787
const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost'])

/** On a loopback address nobody needs to say who may call. */
function withDefaults(env: NodeJS.ProcessEnv, hostname: string): NodeJS.ProcessEnv {
  return LOOPBACK.has(hostname) ? { ...env, AUTH: env.AUTH || 'none' } : env
}

function start() {
  const hostname = process.env.HOST || '127.0.0.1'
  const settings = readSettings(withDefaults(process.env, hostname))
  const metrics = createMetrics({ version, host: 'node', runtime: `node ${process.version}` })
  watchProcess(metrics)
  const sessions = createSessions(settings, metrics)
  // On Linux and macOS a write to standard output has happened when it returns, so that nothing waits at the exit.
  const lines = createLineBuffer((text) => process.stdout.write(text))
  process.on('exit', lines.flush)
  const app = createApp(
    createDependencies(settings, {
      host: 'node',
      metrics,
      openSession: (caller) => sessions.open(caller),
      writeLine: lines.write,
    }),
  )
  const server = serve(
    {
      fetch: app.fetch,
      hostname,
      port: Number(process.env.PORT || DEFAULT_PORT),
      createServer,
      serverOptions: { requestTimeout: 0 },
    },
    ({ port }) => console.log(`listening on http://${hostname}:${port}`),
  )
  if (server instanceof Server) endSlowBodies(server)
  const stop = async () => {
    server.close()
    if ('closeAllConnections' in server) server.closeAllConnections()
    await sessions.close()
    process.exit(0)
  }
  process.once('SIGTERM', () => void stop())
  process.once('SIGINT', () => void stop())
}

try {
  start()
} catch (failure) {
  console.error(failure instanceof Error ? failure.message : String(failure))
  process.exit(1)
}
