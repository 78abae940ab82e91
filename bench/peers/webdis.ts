/** Webdis with Redis as a peer: private ones on loopback ports, Redis as durable as it is usually run. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePorts } from '../../scripts/ports.ts'
import { run, startServer, waitUntilReady } from '../../scripts/processes.ts'
import { getPrograms, type Programs } from './programs.ts'

/** Running ones. `pid`: that of webdis, the bridge. `redisPort`: to fill streams without it. */
export type Webdis = {
  /** What they call themselves, and how durable Redis is. */
  version: string
  url: string
  pid: number
  redisPort: number
  stop: () => Promise<void>
}

// Debian's redis-server is a link into redis-tools.
const REDIS = 'usr/bin/redis-server'
const WEBDIS = 'usr/bin/webdis'
const WANTED = { peer: 'webdis', packages: ['webdis', 'redis-server'], files: [REDIS, WEBDIS] }
const THREADS = 2
const POOL = 8

const startRedis = async ({ root, env }: Programs, folder: string, port: number) => {
  const server = await startServer({
    name: 'redis-server',
    command: join(root, REDIS),
    args: [
      ...['--bind', '127.0.0.1', '--port', String(port), '--dir', folder],
      ...['--save', '', '--appendonly', 'yes', '--appendfsync', 'everysec'],
    ],
    env,
    logPath: join(folder, 'redis.log'),
  })
  return server
}

const startBridge = async (programs: Programs, folder: string, ports: { redis: number; http: number }) => {
  const config = join(folder, 'webdis.json')
  const logfile = join(folder, 'webdis.log')
  const settings = {
    redis_host: '127.0.0.1',
    redis_port: ports.redis,
    http_host: '127.0.0.1',
    http_port: ports.http,
    threads: THREADS,
    pool_size: POOL,
    daemonize: false,
    websockets: false,
    database: 0,
    http_max_request_size: 8_388_608,
    acl: [{ disabled: [] }],
    verbosity: 3,
    logfile,
  }
  writeFileSync(config, JSON.stringify(settings))
  return await startServer({
    name: 'webdis',
    command: join(programs.root, WEBDIS),
    args: [config],
    env: programs.env,
    logPath: logfile,
  })
}

/** It answers before it has Redis. */
const isUp = async (url: string): Promise<true | string> => {
  try {
    const text = await (await fetch(`${url}/PING`)).text()
    return text.includes('PONG') || text
  } catch {
    return `${url} does not answer`
  }
}

/** Starts both in a folder of their own. The caller stops them. Throws with the reason where that cannot be. */
export const startWebdis = async (folder: string, say: (text: string) => void): Promise<Webdis> => {
  const programs = await getPrograms(WANTED, say)
  mkdirSync(folder, { recursive: true })
  const [redisPort = 0, http = 0] = await freePorts(2)
  const redis = await startRedis(programs, folder, redisPort)
  const bridge = await startBridge(programs, folder, { redis: redisPort, http })
  const url = `http://127.0.0.1:${http}`
  await waitUntilReady(bridge, () => isUp(url))
  const { stdout } = await run(join(programs.root, REDIS), ['--version'], { env: programs.env })
  return {
    version: `webdis with Redis ${/v=([\d.]+)/.exec(stdout)?.[1]}, appendonly yes, appendfsync everysec`,
    url,
    pid: bridge.pid,
    redisPort,
    async stop() {
      await bridge.stop()
      await redis.stop()
    },
  }
}
