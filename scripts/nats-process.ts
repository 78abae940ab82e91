/** Running one nats-server: its configuration file, and the wait until it serves. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type Server, startServer, waitUntilReady } from './processes.ts'

/** Where a nats-server listens, on the loopback address. */
export type NatsPorts = { client: number; websocket: number; monitor?: number }

/** What to run. `configPath` is written anew, the server itself writes `pidPath`; `extra` is more configuration. */
export type NatsOptions = {
  program: string
  ports: NatsPorts
  storeDir: string
  configPath: string
  pidPath: string
  logPath: string
  extra?: string
}

const quoted = (path: string): string => JSON.stringify(path)

// `same_origin`: a web page that a developer happens to visit must not reach a NATS on their loopback address.
const configuration = ({ ports, storeDir, pidPath, extra = '' }: NatsOptions): string => `
host: "127.0.0.1"
port: ${ports.client}
pid_file: ${quoted(pidPath)}
${ports.monitor ? `http: "127.0.0.1:${ports.monitor}"` : ''}
websocket { host: "127.0.0.1", port: ${ports.websocket}, no_tls: true, same_origin: true }
jetstream { store_dir: ${quoted(storeDir)} }
${extra}
`

const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** Starts a nats-server and settles when it accepts connections. Throws with the end of its log when it does not. */
export const runNatsServer = async (options: NatsOptions): Promise<Server> => {
  const { program, storeDir, configPath, logPath } = options
  mkdirSync(storeDir, { recursive: true })
  mkdirSync(dirname(configPath), { recursive: true })
  // Credentials may stand in it.
  writeFileSync(configPath, configuration(options), { mode: 0o600 })
  const before = sizeOf(logPath)
  const server = await startServer({
    name: 'nats-server',
    command: program,
    args: ['-c', configPath],
    logPath,
  })
  const log = () => (sizeOf(logPath) > before ? readFileSync(logPath).subarray(before).toString() : '')
  await waitUntilReady(server, () => log().includes('Server is ready') || 'its log does not say so')
  return server
}

/** The usual places of one server's files in a folder; JetStream makes itself a folder in `storeDir`. */
export const natsFiles = (folder: string): { storeDir: string; configPath: string; pidPath: string } => ({
  storeDir: folder,
  configPath: join(folder, 'nats.conf'),
  pidPath: join(folder, 'nats.pid'),
})
