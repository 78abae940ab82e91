/** What has to be true before TypeScript can run here: installed dependencies and a Node that strips types. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const cache = join(root, '.sluice')

/** The first Node that runs TypeScript as it is, without a flag. */
const NODE_MINIMUM = [22, 18]

/** The Node that is brought where the machine's is older: an npm package which is nothing but the binary. */
const NODE_VERSION = '24.21.0'
const NODE_INTEGRITY = {
  x64: 'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  arm64: 'sha512-FpJRPEz2OvvTLfjIOlNGFY9JLPMKgl5m+d4oGYBLg24kJ1mmvN1Zl/HPJgF4HDaJ51ISev1l1cRZ/DM+keXW5g==',
}

/** SIGHUP is what a closed terminal sends. */
const FORWARDED_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP']

const PARENT_CHECK_MS = 250

/** Where Linux's setpriv is there, the kernel itself ends the script when this process dies, even by SIGKILL. */
const BOUND = existsSync('/usr/bin/setpriv') ? ['/usr/bin/setpriv', '--pdeathsig', 'TERM', '--'] : []

const say = (text) => process.stderr.write(`${text}\n`)

const fail = (text) => {
  say(text)
  process.exit(1)
}

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))

const QUIETLY = ['--no-audit', '--no-fund', '--loglevel=error']

/** Answers what npm complained of, or nothing when all went well. */
const runNpm = (args, cwd) => {
  const { status, stderr, error } = spawnSync('npm', [...args, ...QUIETLY], {
    cwd,
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
  })
  if (error) return `npm could not be started: ${error.message}`
  return status === 0 ? undefined : stderr.trim() || `npm ended with code ${status}`
}

/** npm writes down what it installed; it is compared with the lock, so that an install by hand counts as well. */
const dependenciesAreCurrent = () => {
  const installedPath = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(installedPath)) return false
  const installed = readJson(installedPath).packages
  const wanted = Object.entries(readJson(join(root, 'package-lock.json')).packages)
  return wanted.every(
    ([path, entry]) => path === '' || entry.optional || installed[path]?.version === entry.version,
  )
}

const installDependencies = () => {
  if (dependenciesAreCurrent()) return
  say('Installing dependencies (npm ci) …')
  let complaint = runNpm(['ci'], root)
  // Where the lock was written against a registry that lacks some other platform's optional package, npm ci refuses it.
  if (complaint?.includes('EUSAGE')) {
    say('npm ci refuses the lock file; installing the versions it names (npm install --no-save) …')
    complaint = runNpm(['install', '--no-save'], root)
  }
  if (complaint) fail(`The dependencies could not be installed.\n${complaint}`)
}

const isRecent = (version) => {
  const [major, minor] = version.replace(/^v/, '').split('.').map(Number)
  return major > NODE_MINIMUM[0] || (major === NODE_MINIMUM[0] && minor >= NODE_MINIMUM[1])
}

const runs = (node) =>
  spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.trim() === `v${NODE_VERSION}`

const bringNode = () => {
  const name = `node-linux-${process.arch}`
  const folder = join(cache, 'node', NODE_VERSION)
  const inFolder = join('node_modules', name, 'bin', 'node')
  const node = join(folder, inFolder)
  if (existsSync(node)) return node

  const wanted = NODE_MINIMUM.join('.')
  const needed = `Sluice's scripts need Node ${wanted} or newer, this is ${process.version}`
  const integrity = NODE_INTEGRITY[process.arch]
  if (process.platform !== 'linux' || !integrity) fail(`${needed}. Put a newer one on PATH.`)
  say(`${needed}: fetching Node ${NODE_VERSION} into .sluice/node (once) …`)

  const fresh = `${folder}.${process.pid}`
  mkdirSync(fresh, { recursive: true })
  const dependencies = { [name]: NODE_VERSION }
  const packages = { '': { dependencies }, [`node_modules/${name}`]: { version: NODE_VERSION, integrity } }
  writeFileSync(join(fresh, 'package.json'), JSON.stringify({ private: true, dependencies }))
  writeFileSync(join(fresh, 'package-lock.json'), JSON.stringify({ lockfileVersion: 3, packages }))
  const complaint = runNpm(['ci', '--ignore-scripts'], fresh)
  if (complaint || !runs(join(fresh, inFolder))) {
    rmSync(fresh, { recursive: true, force: true })
    fail(
      `Node ${NODE_VERSION} could not be had. Put Node ${wanted} or newer on PATH.\n${complaint ?? 'It does not run.'}`,
    )
  }
  try {
    renameSync(fresh, folder)
  } catch {
    // Another start was faster; its copy is as good.
    rmSync(fresh, { recursive: true, force: true })
  }
  return node
}

/** npm runs scripts through a shell, which dies of a signal without passing it on: losing it means the same. */
const endWithParent = (child) => {
  if (!process.env.npm_lifecycle_event) return
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    child.kill('SIGTERM')
  }, PARENT_CHECK_MS)
}

const main = () => {
  const [script, ...args] = process.argv.slice(2)
  if (!script) fail('usage: node scripts/bootstrap.mjs <script.ts> [arguments]')
  installDependencies()
  const node = isRecent(process.version) ? process.execPath : bringNode()

  const command = [...BOUND, node, '--disable-warning=ExperimentalWarning', join(root, script), ...args]
  const child = spawn(command[0], command.slice(1), {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}` },
  })
  // A terminal sends Ctrl-C to the whole group, `kill` to this process alone: forwarding covers both, and a script
  // that ends in order must bear the same signal twice.
  for (const signal of FORWARDED_SIGNALS) process.on(signal, () => child.kill(signal))
  endWithParent(child)
  child.on('error', (error) => fail(`${node} could not be started: ${error.message}`))
  child.on('exit', (code, signal) => {
    if (code !== null) process.exit(code)
    for (const name of FORWARDED_SIGNALS) process.removeAllListeners(name)
    process.kill(process.pid, signal)
  })
}

main()
