/** Running Sluice's Node entry as a process of its own. */
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { SluiceOptions, SluiceServer } from './host.ts'
import { address, isAlive } from './host.ts'
import { ROOT } from './paths.ts'
import { freePort } from './ports.ts'
import { startServer, waitUntilReady } from './processes.ts'

/** The entry says that it listens; whoever starts it here says so in words of their own. */
const showAllButReadiness = (stdout: NodeJS.ReadableStream): void => {
  createInterface({ input: stdout }).on('line', (line) => {
    if (!line.startsWith('listening on ')) console.log(line)
  })
}

/** Only what Node itself needs from outside, so that a setting of this shell never slips into a test. */
const passedOn = (): Record<string, string> =>
  Object.fromEntries(
    ['PATH', 'HOME', 'TMPDIR', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR']
      .map((name) => [name, process.env[name]] as const)
      .filter((entry): entry is [string, string] => entry[1] !== undefined),
  )

/** Less than who stops it waits before a SIGKILL, unless they say otherwise. */
const SHUTDOWN_MS = '1200'

/**
 * Starts Sluice on Node and settles when `GET /livez` answers.
 * `env`: settings. The caller stops it; process exit does so at the latest.
 * Throws with the end of its log when it does not come up.
 */
export const startNode = async (options: SluiceOptions): Promise<SluiceServer> => {
  const { hostname = '127.0.0.1', env, log, inspectorPort, v8Flags = [] } = options
  const port = options.port === 0 ? await freePort() : options.port
  const server = await startServer({
    name: 'node',
    command: process.execPath,
    args: [
      '--disable-warning=ExperimentalWarning',
      ...v8Flags,
      ...(inspectorPort ? [`--inspect=${address('127.0.0.1', inspectorPort)}`] : []),
      join(ROOT, 'src', 'node.ts'),
    ],
    env: { ...passedOn(), NODE_ENV: 'production', SHUTDOWN_MS, ...env, HOST: hostname, PORT: String(port) },
    ...(log ? { logPath: log } : { pipeStdout: true }),
  })
  if (server.stdout) showAllButReadiness(server.stdout)
  const url = `http://${address(hostname, port)}`
  await waitUntilReady(server, () => isAlive(url))
  const { pid, ended, stop, crash } = server
  return { url, pid, ended, stop, crash }
}
