/** `npm start`: a nats-server with its store on disk, Sluice in front of it, and an end that leaves nothing behind. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { claimDataDir, developmentTokenKey } from './data-dir.ts'
import { type SluiceServer, whyNotReady } from './host.ts'
import { natsFiles, runNatsServer } from './nats-process.ts'
import { getNatsServer } from './nats-server.ts'
import { startNode } from './node-host.ts'
import { freePorts } from './ports.ts'
import { type Ending, logTail, type Server } from './processes.ts'
import { whyNotReached } from './reach-nats.ts'
import { readStartOptions, SECRET_SETTINGS, type StartOptions, StartRefused } from './start-options.ts'
import { getWorkerBundle } from './worker-bundle.ts'
import { startWorkerd } from './workerd.ts'

const say = (text: string): void => console.error(text)

/** All in a row stay below the 3 s in which everything has to be gone, unless SHUTDOWN_MS gives Sluice more. */
const SHUTDOWN_MS = Number(process.env.SHUTDOWN_MS || 1_000)
const SLUICE_GRACE_MS = SHUTDOWN_MS + 200
const NATS_GRACE_MS = 1_500

/** Undoes what was started, the newest first. */
const endings: (() => Promise<void> | void)[] = []
let ending = false

const end = async (code: number): Promise<never> => {
  ending = true
  for (const undo of endings.reverse()) await undo()
  process.exit(code)
}

const endWhenAsked = (): void => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (!ending) void end(0)
    })
  }
}

const endWhenItEnds = (name: string, ended: Promise<Ending>, log?: string): void => {
  void ended.then(({ code, signal }) => {
    if (ending) return
    say(
      `${name} ended unexpectedly (${signal ?? `code ${code}`}).${log ? ` Its log:\n${logTail(log, 5)}` : ''}`,
    )
    void end(1)
  })
}

const TAKES_ANY =
  'AUTH=nats: the nats-server started here takes any credential. For users of your own set NATS_URL: README.md has such a NATS.'

const startNats = async (dataDir: string): Promise<string> => {
  const { path } = await getNatsServer('current', say)
  const [client = 0, websocket = 0] = await freePorts(2)
  const logPath = join(dataDir, 'nats.log')
  rmSync(logPath, { force: true })
  const server: Server = await runNatsServer({
    program: path,
    ports: { client, websocket },
    logPath,
    ...natsFiles(dataDir),
  })
  endings.push(() => server.stop(NATS_GRACE_MS))
  endWhenItEnds('nats-server', server.ended, logPath)
  return `ws://127.0.0.1:${websocket}`
}

/** The settings said in the environment; a Worker is given these alone, by name. */
const settingsFrom = async (env: NodeJS.ProcessEnv): Promise<Record<string, string>> => {
  const { vars } = await getWorkerBundle(say)
  const names = [...Object.keys(vars), ...SECRET_SETTINGS]
  return Object.fromEntries(
    names
      .map((name) => [name, env[name] ?? ''])
      .filter((entry): entry is [string, string] => entry[1] !== ''),
  )
}

const startSluice = async (
  options: StartOptions,
  natsUrl: string,
  tokenKeys: string,
): Promise<SluiceServer> => {
  const { host, hostname, port, auth, loopback } = options
  const own = {
    AUTH: auth,
    NATS_URL: natsUrl,
    TOKEN_KEYS: tokenKeys,
    // Without it a web page could reach this machine's bridge by leading a name of its own to it.
    LOOPBACK_ONLY: process.env.LOOPBACK_ONLY || String(loopback),
  }
  const ending = { SHUTDOWN_MS: String(SHUTDOWN_MS) }
  if (host === 'node') return await startNode({ hostname, port, env: { ...process.env, ...ending, ...own } })
  return await startWorkerd({ hostname, port, env: { ...(await settingsFrom(process.env)), ...own }, say })
}

const greet = (url: string, auth: string): void => {
  const curl = auth === 'nats' ? 'curl -u USER:PASSWORD' : 'curl'
  const json = `-H 'Content-Type: application/json'`
  console.log(`Sluice is ready at ${url}

  ${curl} ${json} -d '{"name":"ORDERS","subjects":["orders.>"]}' ${url}/v1/streams
  ${curl} ${json} -d '{"id":7}' ${url}/v1/subjects/orders.eu.42/messages
  ${curl} "${url}/v1/streams/ORDERS/messages?start=beginning"
`)
}

/** NATS may be started after Sluice: it is asked again as often, ms. */
const READINESS_PAUSE_MS = 500

/**
 * Waits until NATS answers through Sluice, and says each new reason why it does not. Sluice itself is asked only where NATS can
 * be reached: it logs each answer.
 */
const waitForNats = async (url: string, natsUrl: string): Promise<void> => {
  let told = ''
  const tell = (reason: string) => {
    if (reason !== told)
      say(`Sluice listens at ${url} and is not ready. NATS_URL=${natsUrl}: ${reason} Trying again …`)
    told = reason
  }
  while (!ending) {
    const unreachable = await whyNotReached(natsUrl)
    const reason =
      unreachable === undefined ? await whyNotReady(url) : `NATS cannot be reached. ${unreachable}`
    if (reason === undefined) return
    tell(reason)
    await delay(READINESS_PAUSE_MS)
  }
}

const main = async (): Promise<void> => {
  endWhenAsked()
  const options = await readStartOptions(process.argv[2], process.env)
  const { dataDir, loopback } = options
  let natsUrl = options.natsUrl
  if (!natsUrl) {
    if (options.auth === 'nats') say(TAKES_ANY)
    endings.push(await claimDataDir(dataDir))
    natsUrl = await startNats(dataDir)
  }
  const tokenKeys = process.env.TOKEN_KEYS || (loopback ? developmentTokenKey(dataDir) : '')
  const sluice = await startSluice(options, natsUrl, tokenKeys)
  endings.push(() => sluice.stop(SLUICE_GRACE_MS))
  endWhenItEnds('Sluice', sluice.ended)
  await waitForNats(sluice.url, natsUrl)
  if (!ending) greet(sluice.url, options.auth)
}

main().catch((err: unknown) => {
  if (ending) return
  const message = err instanceof Error ? err.message : String(err)
  say(err instanceof StartRefused ? message : `Sluice could not be started. ${message}`)
  void end(1)
})
