/** The Node entry: the same app in one process. */
import { createServer, Server } from 'node:http'
import { serve } from '@hono/node-server'
import { createApp } from './app.ts'
import { createDependencies } from './bridge.ts'
import { createHolds } from './holds.ts'
import { createEndingBodies } from './hosts/ending-bodies.ts'
import { watchAnswers } from './hosts/open-answers.ts'
import { watchProcess } from './hosts/process.ts'
import { createSessions } from './hosts/sessions.ts'
import { shutDownOnSignals } from './hosts/shutdown.ts'
import { endSlowAnswers } from './hosts/slow-answers.ts'
import { endSlowBodies } from './hosts/slow-bodies.ts'
import { tellUnhandled, watchUnhandled } from './hosts/unhandled.ts'
import { Ledger } from './ledger.ts'
import { createLineBuffer } from './line-buffer.ts'
import type { Log } from './log.ts'
import { createMetrics } from './metrics.ts'
import { isLoopback } from './public-address.ts'
import { readSettings, type Settings, settingNotes } from './settings.ts'
import { createTimers } from './timers.ts'
import { version } from './version.ts'

const DEFAULT_PORT = 8_787

/** On a loopback address nobody needs to say who may call; pages of other names may not. */
function withDefaults(env: NodeJS.ProcessEnv, hostname: string): NodeJS.ProcessEnv {
  if (!isLoopback(hostname)) return env
  return { ...env, AUTH: env.AUTH || 'none', LOOPBACK_ONLY: env.LOOPBACK_ONLY || 'true' }
}

/**
 * One request's failure does not end those of all others. What is kept between requests can be made again: connections, feeds,
 * counts. A failure to start still ends the process, since this is called once it has started.
 */
function outliveFailures(log: Log) {
  const tell = (failure: unknown) => tellUnhandled(log, failure)
  process.on('unhandledRejection', tell)
  process.on('uncaughtException', tell)
  // Whoever read the log has gone: to say so there would fail again.
  for (const output of [process.stdout, process.stderr]) output.on('error', () => undefined)
}

/** How often Node looks for headers that are late, within their time. */
const LOOKS = 8

/** Bodies have limits of their own. Without one for the whole request, Node sets none for its headers, unless it is told to. */
function connectionTimes({ HEADERS_TIMEOUT_MS, KEEP_ALIVE_MS }: Settings) {
  return {
    requestTimeout: 0,
    headersTimeout: HEADERS_TIMEOUT_MS,
    connectionsCheckingInterval: Math.ceil(HEADERS_TIMEOUT_MS / LOOKS),
    keepAliveTimeout: KEEP_ALIVE_MS,
  }
}

function start() {
  const hostname = process.env.HOST || '127.0.0.1'
  const settings = readSettings(withDefaults(process.env, hostname))
  for (const note of settingNotes(process.env)) console.error(note)
  const metrics = createMetrics({ version, host: 'node', runtime: `node ${process.version}` })
  watchProcess(metrics)
  const ledger = new Ledger(settings)
  metrics.watchHeld(ledger.held)
  const openHold = createHolds({ ledger, metrics, startTimer: createTimers() })
  watchUnhandled(metrics)
  const sessions = createSessions(settings, metrics, openHold)
  // On Linux and macOS a write to standard output has happened when it returns, so that nothing waits at the exit.
  const lines = createLineBuffer((text) => process.stdout.write(text))
  process.on('exit', lines.flush)
  const dependencies = createDependencies(settings, {
    host: 'node',
    metrics,
    openHold,
    openSession: (caller) => sessions.open(caller),
    writeLine: lines.write,
  })
  const app = createApp(dependencies)
  const bodies = createEndingBodies()
  const server = serve(
    {
      fetch: (request, env) => {
        bodies.watch(request, env.incoming)
        return app.fetch(request, env)
      },
      hostname,
      port: Number(process.env.PORT || DEFAULT_PORT),
      createServer,
      serverOptions: connectionTimes(settings),
    },
    ({ port }) => {
      outliveFailures(dependencies.log)
      console.log(`listening on http://${hostname}:${port}`)
    },
  )
  if (!(server instanceof Server)) throw new Error('The server is not one of HTTP/1.1.')
  endSlowBodies(server)
  endSlowAnswers(server)
  const { MAX_CLIENT_CONNECTIONS: most } = settings
  const answers = watchAnswers(server, { most, refused: () => metrics.refused.MAX_CLIENT_CONNECTIONS.add(1) })
  shutDownOnSignals({ answers, bodies, sessions, withinMs: settings.SHUTDOWN_MS })
}

try {
  start()
} catch (failure) {
  console.error(failure instanceof Error ? failure.message : String(failure))
  process.exit(1)
}
