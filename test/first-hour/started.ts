/** `npm start` as a process of its own, and what it says. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ROOT } from '../../scripts/paths.ts'
import { freePort } from '../../scripts/ports.ts'
import { type Server, startServer } from '../../scripts/processes.ts'
import type { HostName } from '../support/host.ts'

export interface Started {
  readonly url: string
  readonly server: Server
  /** All that it has printed. */
  said(): string
  /** Settles when it has printed the text. Throws when it ends without. */
  says(text: string | RegExp): Promise<void>
  stop(): Promise<void>
}

const POLL_MS = 20

/** Starts what `npm start` runs behind its bootstrap, in a data folder of its own. `env`: settings. */
export async function startSluice(
  host: HostName,
  env: Readonly<Record<string, string>> = {},
): Promise<Started> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-start-'))
  const port = await freePort()
  const logPath = join(folder, 'output')
  const server = await startServer({
    name: 'npm start',
    command: process.execPath,
    args: ['--disable-warning=ExperimentalWarning', join(ROOT, 'scripts', 'start.ts'), host],
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      PORT: String(port),
      DATA_DIR: join(folder, 'data'),
      LOG: 'off',
      ...env,
    },
    logPath,
  })
  const said = () => readFileSync(logPath, 'utf8')
  return {
    url: `http://127.0.0.1:${port}`,
    server,
    said,
    async says(text) {
      const isSaid = () => (typeof text === 'string' ? said().includes(text) : text.test(said()))
      while (!isSaid()) {
        if (server.hasEnded()) throw new Error(`It ended without saying ${text}:\n${said()}`)
        await delay(POLL_MS)
      }
    },
    async stop() {
      await server.stop(10_000)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
