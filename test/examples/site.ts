/** Where the Python programs of an example are tested: a bridge, a folder, and kills at seeded moments. */
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import { ROOT } from '../../scripts/paths.ts'
import { logTail, run, type Server, startServer } from '../../scripts/processes.ts'
import { type HostName, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

/** Says the interpreter itself: a version manager's wrapper in front of it would take the signals. */
const SAY_PYTHON = 'import sqlite3, sys; print(sys.executable if sys.version_info >= (3, 9) else "")'

const python = (await run('python3', ['-c', SAY_PYTHON])).stdout.trim()

/** Whether the examples can run here; `why` goes into a title, so that whatever lists skipped tests says why. */
export const PYTHON = {
  isMissing: python === '',
  why: python ? '' : ', missing here: python3 (3.9 or newer, with sqlite3)',
}

/** Another one every time, unless SLUICE_KILL_SEED says otherwise. */
export const SEED = Number(process.env.SLUICE_KILL_SEED ?? Date.now() % 1_000_000)

/** Numbers from 0 to below 1 that a seed settles. */
export const randomFrom = (seed: string): (() => number) => {
  let count = 0
  return () => {
    count += 1
    return createHash('sha256').update(`${seed} ${count}`).digest().readUInt32BE() / 2 ** 32
  }
}

type Condition = () => boolean | Promise<boolean>

/** Settles when it holds. */
export const waitUntil = async (holds: Condition): Promise<void> => {
  while (!(await holds())) await delay(2)
}

/** The programs of an example, in the folder of a test. */
type Programs = {
  start: (script: string, ...args: string[]) => Promise<Server>
  /** Waits for its end, which must be with this code, and answers what it printed. */
  finish: (program: Server, code?: number) => Promise<string>
  /** SIGKILL, `afterMs` after `hasBegun` first holds; fails where the program ends by itself before. */
  killLater: (program: Server, hasBegun: Condition, afterMs: number) => Promise<void>
  killAll: () => Promise<void>
}

const createPrograms = (example: string, folder: string, url: string): Programs => {
  const started = new Set<Server>()
  const outputOf = (program: Server): string => logTail(program.logPath ?? '')
  return {
    start: async (script, ...args) => {
      const program = await startServer({
        name: script,
        command: python,
        // Without what an installation adds to every start: the examples use the standard library alone.
        args: ['-S', '-E', '-B', join(ROOT, 'examples', example, script), ...args],
        cwd: folder,
        env: { SLUICE_URL: url },
        logPath: join(folder, `output-${started.size}`),
      })
      started.add(program)
      return program
    },
    finish: async (program, wanted = 0) => {
      const { code } = await program.ended
      expect(code, outputOf(program)).toBe(wanted)
      return outputOf(program)
    },
    killLater: async (program, hasBegun, afterMs) => {
      await waitUntil(async () => (await hasBegun()) || program.hasEnded())
      await delay(afterMs)
      expect(program.hasEnded(), `ended before it was killed: ${outputOf(program)}`).toBe(false)
      await program.crash()
    },
    killAll: async () => {
      for (const program of started) await program.crash()
    },
  }
}

/** A message as a read gives it. */
export type StoredMessage = { seq: number; subject: string; data: string; headers: Record<string, string[]> }

/** A bridge on a nats-server of its own, and a folder in which programs use it. */
export type Site = Programs & {
  nats: TestNats
  host: TestHost
  folder: string
  /** Asks the bridge for what must succeed. */
  call: (method: string, path: string, body?: object) => Promise<void>
  /** All of a stream. */
  messagesOf: (stream: string) => Promise<StoredMessage[]>
  /** The rows of a database in the folder. */
  select: <Row>(database: string, sql: string) => Row[]
  end: () => Promise<void>
}

/** Starts all that the programs of an example need. The caller ends it. */
export const startSite = async (example: string, hostName: HostName): Promise<Site> => {
  const nats = await startNats()
  const host = await startHost(hostName, { natsUrl: nats.wsUrl })
  const { url } = host
  const folder = mkdtempSync(join(tmpdir(), `sluice-${example}-`))
  const programs = createPrograms(example, folder, url)
  const site: Site = {
    ...programs,
    nats,
    host,
    folder,
    call: async (method, path, body) => {
      const content = body && { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }
      const response = await fetch(url + path, { method, ...content })
      expect(response.ok, `${method} ${path}: ${response.status}`).toBe(true)
    },
    messagesOf: async (stream) => {
      const headers = { Accept: 'application/x-ndjson' }
      const text = await (await fetch(`${url}/v1/streams/${stream}/messages`, { headers })).text()
      const lines: unknown[] = text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(lines.at(-1)).toMatchObject({ up_to_date: true })
      return lines.slice(0, -1) as StoredMessage[]
    },
    select: <Row>(database: string, sql: string) => {
      const db = new DatabaseSync(join(folder, database))
      const rows = db.prepare(sql).all()
      db.close()
      return rows.map((row) => ({ ...row }) as Row)
    },
    end: async () => {
      await programs.killAll()
      await site.host.stop()
      await nats.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  return site
}
