/** The built Worker: bundled by wrangler as a deploy would, and rebuilt only when its sources have changed. */
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join, relative } from 'node:path'
import { CACHE, ROOT } from './paths.ts'
import { run } from './processes.ts'

/** A built Worker, and what wrangler.toml says about how it runs. */
export type WorkerBundle = {
  folder: string
  /** File names in `folder`, the entry first. */
  modules: string[]
  compatibilityDate: string
  compatibilityFlags: string[]
  durableObjects: { binding: string; className: string }[]
  /** The plain settings of wrangler.toml. */
  vars: Record<string, string>
}

const BUNDLES = join(CACHE, 'worker')
const OLD_MS = 60 * 60 * 1_000

/** Wrangler without questions, telemetry, update checks or log files of its own. */
export const WRANGLER_ENV = {
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_LOG_PATH: join(CACHE, 'logs', 'wrangler'),
  WRANGLER_HIDE_BANNER: 'true',
  CI: 'true',
  NO_COLOR: '1',
}

/** Wrangler's own program, run by this Node. */
export const WRANGLER = join(ROOT, 'node_modules', 'wrangler', 'bin', 'wrangler.js')

const sources = (): string[] => {
  const inSrc = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  const how = ['package-lock.json', 'wrangler.toml', 'scripts/cut-packages.ts', 'scripts/worker-bundle.ts']
  const extra = how.map((name) => join(ROOT, name))
  return [...inSrc.sort(), ...extra.filter((path) => existsSync(path))]
}

const fingerprint = (): string => {
  const hash = createHash('sha256')
  for (const path of sources())
    hash.update(relative(ROOT, path)).update('\0').update(readFileSync(path)).update('\0')
  return hash.digest('hex').slice(0, 16)
}

const readManifest = async (): Promise<Omit<WorkerBundle, 'folder' | 'modules'>> => {
  // Loading wrangler takes a second, so it is done for a build alone.
  const { unstable_readConfig } = await import('wrangler')
  const config = unstable_readConfig({ config: join(ROOT, 'wrangler.toml') })
  if (!config.compatibility_date) throw new Error('wrangler.toml has no compatibility_date')
  const objects: { name: string; class_name: string }[] = config.durable_objects.bindings
  return {
    compatibilityDate: config.compatibility_date,
    compatibilityFlags: config.compatibility_flags,
    durableObjects: objects.map(({ name, class_name: className }) => ({ binding: name, className })),
    vars: Object.fromEntries(Object.entries(config.vars).map(([name, value]) => [name, String(value)])),
  }
}

/** Builds of earlier sources; one that runs has been read whole, so it bears the removal. */
const removeOldBuilds = (): void => {
  for (const name of readdirSync(BUNDLES)) {
    const path = join(BUNDLES, name)
    if (Date.now() - statSync(path).mtimeMs > OLD_MS) rmSync(path, { recursive: true, force: true })
  }
}

/** What esbuild says of the bundle, beside it: which sources are in it, and what each takes. */
export const METAFILE = 'bundle-meta.json'

const isModule = (name: string): boolean => /\.(js|mjs|wasm|txt|html|bin)$/.test(name)

const build = async (key: string, say: (text: string) => void): Promise<void> => {
  mkdirSync(BUNDLES, { recursive: true })
  removeOldBuilds()
  const fresh = mkdtempSync(join(BUNDLES, 'build-'))
  try {
    const output = ['--outdir', fresh, '--metafile', join(fresh, METAFILE)]
    const args = [WRANGLER, 'deploy', '--dry-run', ...output, '--config', join(ROOT, 'wrangler.toml')]
    const built = await run(process.execPath, args, { cwd: ROOT, env: { ...process.env, ...WRANGLER_ENV } })
    if (!built.ok) throw new Error(`The Worker could not be built:\n${built.stdout}${built.stderr}`)
    if (/WARNING/.test(built.stdout + built.stderr)) say(`${built.stdout}${built.stderr}`)
    const modules = readdirSync(fresh).filter(isModule)
    const entry = 'worker.js'
    if (!modules.includes(entry)) throw new Error(`wrangler built no ${entry}, but ${modules.join(', ')}`)
    const ordered = [entry, ...modules.filter((name) => name !== entry)]
    writeFileSync(join(fresh, 'bundle.json'), JSON.stringify({ modules: ordered, ...(await readManifest()) }))
    const folder = join(BUNDLES, key)
    // Another process may have built the same in the meantime, or be starting from it: never replace a build.
    if (!existsSync(folder)) renameSync(fresh, folder)
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

/**
 * Builds the Worker, or finds the build of these very sources.
 * `say` hears that it builds. Throws with wrangler's output when the build fails.
 */
export const getWorkerBundle = async (say: (text: string) => void = console.error): Promise<WorkerBundle> => {
  const key = fingerprint()
  const folder = join(BUNDLES, key)
  const manifest = join(folder, 'bundle.json')
  if (!existsSync(manifest)) {
    say('Building the Worker …')
    await build(key, say)
  }
  const { modules, ...rest } = JSON.parse(readFileSync(manifest, 'utf8')) as Omit<WorkerBundle, 'folder'>
  return { folder, modules, ...rest }
}
