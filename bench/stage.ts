/** Owns what the figures are measured on: one nats-server, Sluice on its hosts, and the processes of the clients. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { HostName, SluiceServer } from '../scripts/host.ts'
import { natsFiles, runNatsServer } from '../scripts/nats-process.ts'
import { getNatsServer } from '../scripts/nats-server.ts'
import { startNode } from '../scripts/node-host.ts'
import { CACHE } from '../scripts/paths.ts'
import { freePorts } from '../scripts/ports.ts'
import { startWorkerd } from '../scripts/workerd.ts'
import { type Load, startLoad } from './load/process.ts'
import type { BenchOptions } from './options.ts'
import { profilerEnv } from './profile.ts'

/** Results, logs and profiles; git ignores it. */
export const FOLDER = join(CACHE, 'bench')

/** What is started, ready to be measured. */
export type Stage = {
  natsVersion: string
  natsUrl: string
  hosts: readonly { name: HostName; url: string; pid: number }[]
  /** Clients: native ones, those of HTTP, and the server that replays recordings. */
  native: Load
  http: Load
  replay: Load
}

/** A profile is written when the process ends, and takes its time. */
const PROFILE_GRACE_MS = 20_000

const startHost = async (name: HostName, natsUrl: string, profile: boolean): Promise<SluiceServer> => {
  const log = join(FOLDER, `${name}.log`)
  rmSync(log, { force: true })
  const env = {
    AUTH: 'none',
    NATS_URL: natsUrl,
    TOKEN_KEYS: `bench:${randomBytes(32).toString('base64url')}`,
    ...(profile ? profilerEnv(FOLDER) : {}),
  }
  return await (name === 'node' ? startNode : startWorkerd)({ port: 0, env, log })
}

/** What undoes things, the newest first; whatever is under way ends, too. */
export type Endings = (() => Promise<void> | void)[]

/** Starts everything, and leaves in `endings` how each part ends. Throws with the log of what does not come up. */
export const setStage = async (
  { hosts, profile }: Pick<BenchOptions, 'hosts' | 'profile'>,
  endings: Endings,
): Promise<Stage> => {
  mkdirSync(FOLDER, { recursive: true })
  const { path: program, version: natsVersion } = await getNatsServer('current', console.error)
  const folder = mkdtempSync(join(FOLDER, 'store-'))
  endings.push(() => rmSync(folder, { recursive: true, force: true }))
  const [client = 0, websocket = 0] = await freePorts(2)
  const nats = await runNatsServer({
    program,
    ports: { client, websocket },
    logPath: join(folder, 'nats.log'),
    ...natsFiles(folder),
  })
  endings.push(() => nats.stop())
  const natsUrl = `ws://127.0.0.1:${websocket}`

  const started: Stage['hosts'][number][] = []
  for (const name of hosts) {
    const server = await startHost(name, natsUrl, profile)
    endings.push(() => server.stop(profile ? PROFILE_GRACE_MS : undefined))
    started.push({ name, url: server.url, pid: server.pid })
  }
  const load = () => {
    const one = startLoad()
    endings.push(() => one.stop())
    return one
  }
  return { natsVersion, natsUrl, hosts: started, native: load(), http: load(), replay: load() }
}
