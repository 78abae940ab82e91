/** What wrangler runs before it bundles (`[build]` in wrangler.toml): the cut packages, and for `wrangler dev` settings and a nats-server. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readFileSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import './cut-packages.ts'
import { readDevVars } from './dev-vars.ts'
import { getNatsServer } from './nats-server.ts'
import { LOGS, ROOT } from './paths.ts'
import { probePort } from './ports.ts'

const POLL_MS = 50
const START_MS = 20_000

/** The process that runs this build: past the shell that it may have been started through. */
const wranglerPid = (): number => {
  const of = (pid: number, file: string) => readFileSync(`/proc/${pid}/${file}`, 'utf8')
  let pid = process.ppid
  if (!existsSync('/proc/self/stat')) return pid
  while (/^(ba|da|z)?sh\n$/.test(of(pid, 'comm'))) {
    const [, parent] = of(pid, 'stat').split(') ').at(-1)?.split(' ') ?? []
    pid = Number(parent)
  }
  return pid
}

const listens = async (port: number) => !(await probePort('127.0.0.1', port)).free

const startNats = async (port: number): Promise<void> => {
  if (await listens(port)) return
  // Fetched here, where it can say so.
  await getNatsServer('current', console.log)
  mkdirSync(LOGS, { recursive: true })
  const logPath = join(LOGS, 'dev-nats.log')
  const log = openSync(logPath, 'a')
  const args = [
    '--experimental-strip-types',
    join(ROOT, 'scripts', 'dev-nats.ts'),
    `${port}`,
    `${wranglerPid()}`,
  ]
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', log, log] })
  child.unref()
  for (const until = Date.now() + START_MS; !(await listens(port)); await delay(POLL_MS))
    if (child.exitCode !== null || Date.now() > until)
      throw new Error(`The nats-server for wrangler dev does not start; see ${logPath}.`)
  console.log(`nats-server is running on ws://127.0.0.1:${port} until wrangler ends.`)
}

if (process.env.WRANGLER_COMMAND === 'dev') {
  const unheeded = ['HOST', 'DATA_DIR'].filter((name) => process.env[name])
  if (unheeded.length > 0)
    console.log(
      `${unheeded.join(' and ')}: of no effect on wrangler dev, which has .dev.vars and .sluice/dev.`,
    )
  const { natsPort, written } = await readDevVars()
  if (natsPort !== undefined) await startNats(natsPort)
  if (written) {
    console.log('Settings for development are in .dev.vars now.')
    // wrangler has read its settings before this build; a change of its configuration has it read them again.
    const now = new Date()
    utimesSync(join(ROOT, 'wrangler.toml'), now, now)
  }
}
