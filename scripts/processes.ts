/** Child processes: each ends by its own pid, none outlives the process that started it, all leave a log. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'

/** How a process ended. */
export type Ending = { code: number | null; signal: NodeJS.Signals | null }

/** A running server: the pid is the server's own, never that of a wrapper. */
export type Server = {
  name: string
  pid: number
  logPath: string | undefined
  /** Standard output, where it was asked for as a pipe. */
  stdout: Readable | null
  /** Settles when the process has ended, for whatever reason. */
  ended: Promise<Ending>
  hasEnded: () => boolean
  signal: (signal: NodeJS.Signals) => void
  /** SIGTERM, then SIGKILL after `graceMs` (default 1,500); settles when the process is gone. */
  stop: (graceMs?: number) => Promise<void>
  /** SIGKILL; settles when the process is gone. */
  crash: () => Promise<void>
}

/** What to start, and where its output goes. */
export type ServerOptions = {
  name: string
  command: string
  args: string[]
  env?: NodeJS.ProcessEnv
  cwd?: string
  /** The file that takes what it prints; without one, what it prints goes where this process's output goes. */
  logPath?: string
  /** Standard output as a pipe, to be read by the caller. */
  pipeStdout?: boolean
}

const GRACE_MS = 1_500

const running = new Set<ChildProcess>()
let hooked = false

const killAllOnExit = () => {
  if (hooked) return
  hooked = true
  process.on('exit', () => {
    for (const child of running) child.kill('SIGKILL')
  })
}

/** Where Linux's setpriv is there, the kernel itself ends the child when this process dies, even by SIGKILL. */
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => existsSync(path))

const bound = (command: string, args: string[]): [string, string[]] =>
  SETPRIV ? [SETPRIV, ['--pdeathsig', 'KILL', '--', command, ...args]] : [command, args]

/**
 * Starts a server, in a process group of its own so that a Ctrl-C reaches it only through its owner.
 * Throws when the program cannot be started; the caller stops it, and process exit does so at the latest.
 */
export const startServer = async (options: ServerOptions): Promise<Server> => {
  killAllOnExit()
  const { name, logPath } = options
  if (logPath) mkdirSync(dirname(logPath), { recursive: true })
  const log = logPath ? openSync(logPath, 'a') : 'inherit'
  const [command, args] = bound(options.command, options.args)
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env ?? process.env,
    detached: true,
    stdio: ['ignore', options.pipeStdout ? 'pipe' : log, log],
  })
  if (typeof log === 'number') closeSync(log)
  running.add(child)

  const ended = new Promise<Ending>((resolve) => {
    child.once('exit', (code, signal) => {
      running.delete(child)
      resolve({ code, signal })
    })
  })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (err) => {
      running.delete(child)
      reject(new Error(`${name} could not be started`, { cause: err }))
    })
  })

  const stop = async (graceMs = GRACE_MS) => {
    if (!running.has(child)) return
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs)
    await ended
    clearTimeout(timer)
  }
  return {
    name,
    pid: child.pid ?? 0,
    logPath,
    stdout: child.stdout,
    ended,
    hasEnded: () => !running.has(child),
    signal: (signal) => void child.kill(signal),
    stop,
    crash: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** The last lines of a server's log, for an error message. */
export const logTail = (logPath: string, lines = 20): string =>
  existsSync(logPath) ? readFileSync(logPath, 'utf8').trimEnd().split('\n').slice(-lines).join('\n') : ''

/** A server without a log has already said on this terminal what it had to say. */
const withLog = (text: string, { logPath }: Server): Error =>
  new Error(logPath ? `${text}. Its log:\n${logTail(logPath)}` : `${text}.`)

/**
 * Waits until `isReady` answers true, asking every 20 ms; until then it says why not, and what it throws ends the wait.
 * Throws with the end of the log when the server ends first, or after `waitMs` (default 20,000). Then nothing runs on.
 */
export const waitUntilReady = async (
  server: Server,
  isReady: () => Promise<true | string> | true | string,
  waitMs = 20_000,
): Promise<void> => {
  const deadline = Date.now() + waitMs
  try {
    while (!server.hasEnded()) {
      const answer = await isReady()
      if (answer === true) return
      if (Date.now() > deadline)
        throw new Error(`${server.name} was not ready within ${waitMs} ms (${answer})`)
      await delay(20)
    }
  } catch (err) {
    await server.crash()
    throw withLog(err instanceof Error ? err.message : String(err), server)
  }
  const { code, signal } = await server.ended
  throw withLog(`${server.name} ended at start (${signal ?? `code ${code}`})`, server)
}

/** What a finished command left. */
export type Finished = { ok: boolean; stdout: string; stderr: string }

/** Runs a command to its end and keeps what it printed; a program that is not there is just not `ok`. */
export const run = (
  command: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Finished> =>
  new Promise((resolve) => {
    killAllOnExit()
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    running.add(child)
    const printed = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      printed.stdout += part
    })
    child.stderr.setEncoding('utf8').on('data', (part: string) => {
      printed.stderr += part
    })
    const finish = (finished: Finished) => {
      running.delete(child)
      resolve(finished)
    }
    child.once('error', (err) => finish({ ok: false, stdout: '', stderr: err.message }))
    child.once('close', (code) => finish({ ok: code === 0, ...printed }))
  })
