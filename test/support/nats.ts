/** The nats-servers of the tests: one or three, with files of their own that are gone at the end. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type NatsPorts, natsFiles, runNatsServer } from '../../scripts/nats-process.ts'
import { getNatsServer, type NatsLine } from '../../scripts/nats-server.ts'
import { LOGS } from '../../scripts/paths.ts'
import { freePorts } from '../../scripts/ports.ts'
import type { Server } from '../../scripts/processes.ts'

/** A nats-server of a test; every address stays the same over `restart`. */
export type TestNats = {
  /** For a native client. */
  url: string
  /** For Sluice: `NATS_URL`. */
  wsUrl: string
  /** The HTTP monitoring endpoint: `/connz`, `/jsz` … */
  monitorUrl: string
  version: string
  pid: () => number
  logPath: string
  /** Ends it in order; the store stays for a `restart`, and is removed when this process ends. */
  stop: () => Promise<void>
  /** SIGKILL. */
  kill: () => Promise<void>
  /** Starts it again, after a SIGKILL if it still runs: same ports, same store. */
  restart: () => Promise<void>
  /** SIGSTOP, and the wait until all its threads stand still: it keeps its connections and answers nothing. */
  pause: () => Promise<void>
  /** SIGCONT. */
  resume: () => void
}

/** What a test may choose: the line, more configuration (users, limits …), and a folder that it keeps itself. */
export type TestNatsOptions = {
  version?: NatsLine
  configText?: string
  storeDir?: string
  ports?: NatsPorts
}

/** Three nodes of one cluster; `wsUrl` is the list of all three. */
export type TestCluster = { nodes: TestNats[]; wsUrl: string; stop: () => Promise<void> }

/** Says why a line is not there; the environment carries it to the processes that vitest forks. */
const WITHOUT_2_10 = 'SLUICE_WITHOUT_NATS_2_10'

/** The lines that can be tested against here: 2.10 is left out where it cannot be had. */
export const NATS_LINES: NatsLine[] = process.env[WITHOUT_2_10] ? ['current'] : ['current', '2.10']

/** Fetches the nats-servers. Answers why there is no 2.10, if so. Throws when there is no current one. */
export const prepareNatsLines = async (): Promise<string | undefined> => {
  await getNatsServer('current')
  try {
    if (!process.env[WITHOUT_2_10]) await getNatsServer('2.10')
  } catch (err) {
    process.env[WITHOUT_2_10] = err instanceof Error ? err.message : String(err)
  }
  return process.env[WITHOUT_2_10]
}

const folders = new Set<string>()
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

/** vitest ends its forks by a signal, past any exit hook: its global set-up says where, and removes all at the end. */
const temporaryFolder = (): string => {
  const folder = mkdtempSync(join(process.env.SLUICE_TEST_FOLDER ?? tmpdir(), 'sluice-nats-'))
  folders.add(folder)
  return folder
}

const freeNatsPorts = async (): Promise<Required<NatsPorts>> => {
  const [client = 0, websocket = 0, monitor = 0] = await freePorts(3)
  return { client, websocket, monitor }
}

/** Starts a nats-server with JetStream. `version`: default `current`. Throws with its log when it does not come up. */
export const startNats = async (options: TestNatsOptions = {}): Promise<TestNats> => {
  const { path, version } = await getNatsServer(options.version)
  const ports = { ...(await freeNatsPorts()), ...options.ports }
  const folder = temporaryFolder()
  const files = natsFiles(folder)
  const logPath = join(LOGS, `nats-${process.pid}-${ports.client}.log`)
  const start = (): Promise<Server> =>
    runNatsServer({
      program: path,
      ports,
      ...files,
      ...(options.storeDir ? { storeDir: options.storeDir } : {}),
      logPath,
      extra: options.configText ?? '',
    })

  let server = await start()
  return {
    url: `nats://127.0.0.1:${ports.client}`,
    wsUrl: `ws://127.0.0.1:${ports.websocket}`,
    monitorUrl: `http://127.0.0.1:${ports.monitor}`,
    version,
    pid: () => server.pid,
    logPath,
    stop: async () => await server.stop(),
    kill: async () => await server.crash(),
    restart: async () => {
      await server.crash()
      server = await start()
    },
    pause: async () => {
      server.signal('SIGSTOP')
      while (!isStopped(server.pid)) await delay(1)
    },
    resume: () => server.signal('SIGCONT'),
  }
}

/** Whether every thread of a process is stopped; a signal reaches them one by one. */
const isStopped = (pid: number): boolean => {
  const tasks = `/proc/${pid}/task`
  const states = readdirSync(tasks).map(
    (task) => /\) (\w)/.exec(readFileSync(join(tasks, task, 'stat'), 'utf8'))?.[1],
  )
  return states.every((state) => state === 'T')
}

const CLUSTER_WAIT_MS = 30_000

const hasLeader = async (node: TestNats, size: number): Promise<boolean> => {
  try {
    const { meta_cluster: meta } = (await (await fetch(`${node.monitorUrl}/jsz`)).json()) as {
      meta_cluster?: { leader?: string; cluster_size?: number }
    }
    const healthy = await fetch(`${node.monitorUrl}/healthz`)
    return healthy.ok && Boolean(meta?.leader) && meta?.cluster_size === size
  } catch {
    return false
  }
}

/** Settles when every node knows the leader of the cluster and all its members, so that R3 streams can be made. */
export const waitForLeader = async (nodes: TestNats[], size = nodes.length): Promise<void> => {
  const deadline = Date.now() + CLUSTER_WAIT_MS
  for (const node of nodes) {
    while (!(await hasLeader(node, size))) {
      if (Date.now() > deadline) throw new Error(`The NATS cluster found no leader; see ${node.logPath}`)
      await delay(50)
    }
  }
}

/** Starts a cluster of nats-servers with JetStream, ready for R3 streams. `configText` goes to every node. */
export const startCluster = async (
  size = 3,
  options: { version?: NatsLine; configText?: string } = {},
): Promise<TestCluster> => {
  const routePorts = await freePorts(size)
  const routes = routePorts.map((port) => `nats-route://127.0.0.1:${port}`).join(', ')
  const nodes = await Promise.all(
    routePorts.map((port, index) =>
      startNats({
        ...options,
        configText: `server_name: n${index + 1}
cluster { name: test, host: "127.0.0.1", port: ${port}, routes: [${routes}] }
${options.configText ?? ''}`,
      }),
    ),
  )
  await waitForLeader(nodes, size)
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()))
  }
  return { nodes, wsUrl: nodes.map((node) => node.wsUrl).join(','), stop }
}
