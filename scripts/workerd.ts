/** Running the built Worker in real workerd, the runtime of Cloudflare Workers. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import type { SluiceOptions, SluiceServer } from './host.ts'
import { address, isAlive } from './host.ts'
import { freePort } from './ports.ts'
import { startServer, waitUntilReady } from './processes.ts'
import { getWorkerBundle, type WorkerBundle } from './worker-bundle.ts'

/** The real program: the npm bin is a wrapper around it, and a signal to a wrapper would miss it. */
export const workerdPath = (): string => {
  const exported = createRequire(import.meta.url)('workerd') as { default: string }
  return exported.default
}

/** Text in Cap'n Proto's syntax, which escapes as JSON does for all that occurs here. */
const text = (value: string): string => JSON.stringify(value)

const moduleKind = (name: string): string => {
  if (name.endsWith('.wasm')) return 'wasm'
  if (name.endsWith('.bin')) return 'data'
  return /\.m?js$/.test(name) ? 'esModule' : 'text'
}

/** Values travel through workerd's environment and not through this text, so that no secret is written to disk. */
const configuration = (
  bundle: WorkerBundle,
  folder: string,
  {
    names,
    listen,
    v8Flags,
  }: { readonly names: string[]; readonly listen: string; readonly v8Flags: readonly string[] },
): string => {
  // Cap'n Proto embeds by paths relative to the file that says so.
  const modules = bundle.modules.map(
    (name) =>
      `(name = ${text(name)}, ${moduleKind(name)} = embed ${text(relative(folder, join(bundle.folder, name)))})`,
  )
  const classes = bundle.durableObjects.map(
    ({ className }) => `(className = ${text(className)}, uniqueKey = ${text(`sluice-${className}`)})`,
  )
  const bindings = [
    ...names.map((name) => `(name = ${text(name)}, fromEnvironment = ${text(name)})`),
    ...bundle.durableObjects.map(
      ({ binding, className }) => `(name = ${text(binding)}, durableObjectNamespace = ${text(className)})`,
    ),
  ]
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "sluice", worker = .sluice),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = ${text(listen)}, http = (), service = "sluice")],
  v8Flags = [${v8Flags.map(text).join(', ')}],
);
const sluice :Workerd.Worker = (
  modules = [${modules.join(', ')}],
  compatibilityDate = ${text(bundle.compatibilityDate)},
  compatibilityFlags = [${bundle.compatibilityFlags.map(text).join(', ')}],
  durableObjectNamespaces = [${classes.join(', ')}],
  durableObjectStorage = (inMemory = void),
  bindings = [${bindings.join(', ')}],
);
`
}

/**
 * Starts Sluice in workerd and settles when `GET /livez` answers.
 * `env`: settings, over those of wrangler.toml. The caller stops it; process exit does so at the latest.
 * Throws with the end of its log when it does not come up.
 */
export const startWorkerd = async (options: SluiceOptions): Promise<SluiceServer> => {
  const { hostname = '127.0.0.1', env, log, inspectorPort, v8Flags = [] } = options
  const bundle = await getWorkerBundle(options.say)
  const port = options.port === 0 ? await freePort() : options.port
  const settings = { ...bundle.vars, ...env }
  const folder = mkdtempSync(join(tmpdir(), 'sluice-workerd-'))
  const path = join(folder, 'config.capnp')
  const names = Object.keys(settings)
  writeFileSync(path, configuration(bundle, folder, { names, listen: address(hostname, port), v8Flags }))
  try {
    const server = await startServer({
      name: 'workerd',
      command: workerdPath(),
      args: [
        'serve',
        path,
        ...(inspectorPort ? [`--inspector-addr=${address('127.0.0.1', inspectorPort)}`] : []),
      ],
      env: { TZ: 'UTC', ...settings },
      ...(log ? { logPath: log } : {}),
    })
    const url = `http://${address(hostname, port)}`
    await waitUntilReady(server, () => isAlive(url))
    return {
      url,
      pid: server.pid,
      ended: server.ended,
      stop: (graceMs) => server.stop(graceMs),
      crash: () => server.crash(),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
