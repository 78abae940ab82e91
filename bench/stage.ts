/** What the figures are measured on: one nats-server, Sluice on its hosts, and the processes of the clients. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
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
import { type Nchan, startNchan } from './peers/nchan.ts'
import { startWebdis, type Webdis } from './peers/webdis.ts'
import { profilerEnv } from './profile.ts'

/** Results, logs and profiles; git ignores it. */
export const FOLDER = join(CACHE, 'bench')

/**
 * Peers are started when they are first asked for, and throw each time where they cannot be had. nchan: with one
 * process, as Sluice has, which is the faster way where readers share two cores with it; and with a worker for each core.
 */
export type Peers = {
  nchan: () => Promise<Nchan>
  nchanOnEachCore: () => Promise<Nchan>
  webdis: () => Promise<Webdis>
}

/** What is started, ready to be measured. */
export type Stage = {
  natsVersion: string
  natsUrl: string
  /** Where the nats-server tells of itself. */
  monitorUrl: string
  hosts: readonly { name: HostName; url: string; pid: number }[]
  /** Clients: native ones, those of HTTP, and the server that replays recordings. */
  native: Load
  http: Load
  replay: Load
  peers: Peers
  /** What has been started of them. */
  peerVersions: ReadonlySet<string>
  /** For what needs a process of its own: the caller stops it, and the end of the bench does so at the latest. */
  startFresh: (name: HostName, inspectorPort?: number) => Promise<SluiceServer>
  startFreshNchan: () => Promise<Nchan>
}

/** A profile is written when the process ends, and takes its time. */
const PROFILE_GRACE_MS = 20_000

const startHost = async (
  name: HostName,
  natsUrl: string,
  more: Record<string, string>,
  inspectorPort?: number,
): Promise<SluiceServer> => {
  const log = join(FOLDER, `${name}.log`)
  const env = {
    AUTH: 'none',
    NATS_URL: natsUrl,
    TOKEN_KEYS: `bench:${randomBytes(32).toString('base64url')}`,
    ...more,
  }
  return await (name === 'node' ? startNode : startWorkerd)({ port: 0, env, log, inspectorPort })
}

/** What undoes things, the newest first; whatever is under way ends, too. */
export type Endings = (() => Promise<void> | void)[]

const once = <Made>(make: () => Promise<Made>): (() => Promise<Made>) => {
  let made: Promise<Made> | undefined
  return () => {
    made ??= make()
    return made
  }
}

/** Starts peers in folders of their own below `folder`. */
const createPeers = (folder: string, endings: Endings) => {
  let count = 0
  const peerVersions = new Set<string>()
  const kept = async <Peer extends { version: string; stop: () => Promise<void> }>(
    start: (folder: string, say: (text: string) => void) => Promise<Peer>,
  ): Promise<Peer> => {
    const peer = await start(join(folder, `peer-${count++}`), console.error)
    endings.push(() => peer.stop())
    peerVersions.add(peer.version)
    return peer
  }
  const nchanOf = (workers: number) => kept((own, say) => startNchan(own, say, workers))
  const startFreshNchan = () => nchanOf(1)
  const peers = {
    nchan: once(startFreshNchan),
    nchanOnEachCore: once(() => nchanOf(availableParallelism())),
    webdis: once(() => kept(startWebdis)),
  }
  return { peers, peerVersions, startFreshNchan }
}

/** Starts everything, and leaves in `endings` how each part ends. Throws with the log of what does not come up. */
export const setStage = async (
  { hosts, profile }: Pick<BenchOptions, 'hosts' | 'profile'>,
  endings: Endings,
): Promise<Stage> => {
  mkdirSync(FOLDER, { recursive: true })
  const { path: program, version: natsVersion } = await getNatsServer('current', console.error)
  const folder = mkdtempSync(join(FOLDER, 'store-'))
  endings.push(() => rmSync(folder, { recursive: true, force: true }))
  const [client = 0, websocket = 0, monitor = 0] = await freePorts(3)
  const nats = await runNatsServer({
    program,
    ports: { client, websocket, monitor },
    logPath: join(folder, 'nats.log'),
    ...natsFiles(folder),
  })
  endings.push(() => nats.stop())
  const natsUrl = `ws://127.0.0.1:${websocket}`

  const started: Stage['hosts'][number][] = []
  for (const name of hosts) {
    rmSync(join(FOLDER, `${name}.log`), { force: true })
    const server = await startHost(name, natsUrl, profile ? profilerEnv(FOLDER) : {})
    endings.push(() => server.stop(profile ? PROFILE_GRACE_MS : undefined))
    started.push({ name, url: server.url, pid: server.pid })
  }
  const load = () => {
    const one = startLoad()
    endings.push(() => one.stop())
    return one
  }
  return {
    natsVersion,
    natsUrl,
    monitorUrl: `http://127.0.0.1:${monitor}`,
    hosts: started,
    native: load(),
    http: load(),
    replay: load(),
    ...createPeers(folder, endings),
    async startFresh(name, inspectorPort) {
      const server = await startHost(name, natsUrl, {}, inspectorPort)
      endings.push(() => server.stop())
      return server
    },
  }
}
