/** Fetching programs out of Debian packages, with nothing installed or changed on the system. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { withoutPackages } from './dpkg-status.ts'
import { type Finished, run } from './processes.ts'

const KEYRINGS = ['gpg', 'pgp'].map((ending) => `/usr/share/keyrings/debian-archive-keyring.${ending}`)

/**
 * The machine's own mirrors, as apt itself reads them from either form of its source lists.
 * Security archives do not carry the suites asked for here.
 */
const mirrors = async (): Promise<string[]> => {
  const format = ['--no-release-info', '--format', '$(REPO_URI)']
  const { ok, stdout } = await run('apt-get', ['indextargets', ...format])
  const all = ok ? stdout.split('\n').filter((uri) => uri !== '') : []
  return [...new Set(all)].filter((uri) => !uri.includes('security'))
}

/**
 * What apt knows of the system: nothing for a package alone; where dependencies are to be found, what is installed but for the
 * wanted packages, of which apt would download none that is there.
 */
const NOTHING = '/dev/null'
const INSTALLED = '/var/lib/dpkg/status'

const statusFor = ({ names, withDependencies }: Wanted, folder: string): string => {
  if (!withDependencies) return NOTHING
  const path = join(folder, 'status')
  writeFileSync(path, withoutPackages(readFileSync(INSTALLED, 'utf8'), names))
  return path
}

/**
 * Everything apt would write goes below `folder`; `status` is only read. What the machine's apt.conf.d says about proxies, certificates and
 * credentials stays in force; its hooks do not, since they clean or index the system's own state.
 */
const privateConfiguration = (folder: string, status: string): string => `
Dir::Etc::sourcelist "${folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "${folder}/state";
Dir::State::status "${status}";
Dir::Cache "${folder}/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
`

type Wanted = { suite: string; names: readonly string[]; withDependencies: boolean }

/** The packages alone, or with all they need that is not installed; nothing is installed by either. */
const download = async (
  { names, withDependencies }: Wanted,
  apt: (...args: string[]) => Promise<Finished>,
): Promise<Finished> =>
  withDependencies
    ? await apt('install', '-y', '--no-install-recommends', '--download-only', ...names)
    : await apt('download', ...names)

const archivesIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.deb'))
    .map((file) => join(folder, file))

/** Says why the packages could not be had, or nothing when their files lie below `folder`/files. */
const fetchFrom = async (mirror: string, wanted: Wanted, folder: string): Promise<string | undefined> => {
  const archives = join(folder, 'cache', 'archives')
  for (const part of ['state/lists/partial', 'cache/archives/partial', 'files']) {
    mkdirSync(join(folder, part), { recursive: true })
  }
  const keyring = KEYRINGS.find((path) => existsSync(path))
  const options = keyring ? `[signed-by=${keyring}] ` : ''
  writeFileSync(join(folder, 'sources.list'), `deb ${options}${mirror} ${wanted.suite} main\n`)
  const configuration = join(folder, 'apt.conf')
  writeFileSync(configuration, privateConfiguration(folder, statusFor(wanted, folder)))

  const apt = (...args: string[]) => run('apt-get', ['-c', configuration, '-q', ...args], { cwd: folder })
  const updated = await apt('update', '--error-on=any')
  if (!updated.ok) return updated.stderr.trim()
  const downloaded = await download(wanted, apt)
  const found = [...archivesIn(folder), ...archivesIn(archives)]
  if (!downloaded.ok || found.length === 0) return downloaded.stderr.trim() || 'nothing was downloaded'
  for (const archive of found) {
    const unpacked = await run('dpkg', ['-x', archive, join(folder, 'files')])
    if (!unpacked.ok) return unpacked.stderr.trim()
  }
  return undefined
}

type Fetched = { files: string } | { reason: string }

const fetchWanted = async (wanted: Wanted, parent: string): Promise<Fetched> => {
  if (!(await run('apt-get', ['--version'])).ok) return { reason: 'there is no apt here' }
  const reasons: string[] = []
  for (const [index, mirror] of (await mirrors()).entries()) {
    const folder = join(parent, `mirror-${index}`)
    const reason = await fetchFrom(mirror, wanted, folder)
    if (reason === undefined) return { files: join(folder, 'files') }
    reasons.push(reason)
  }
  return { reason: reasons.join('\n') || 'apt has no mirror configured' }
}

/**
 * Fetches a package of a Debian suite (signatures checked by apt) and unpacks it below `folder`/files.
 * Answers the reason where it cannot be done; `folder` is the caller's to remove.
 */
export const fetchDebianPackage = async (options: {
  suite: string
  name: string
  folder: string
}): Promise<Fetched> => {
  const { suite, name, folder } = options
  return await fetchWanted({ suite, names: [name], withDependencies: false }, folder)
}

/** Debian's own name of this system's release; undefined where this is no Debian. */
const ownSuite = (): string | undefined => {
  const path = '/etc/os-release'
  const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
  if (!/^ID=debian$/m.test(text)) return undefined
  return /^VERSION_CODENAME=(\w+)$/m.exec(text)?.[1]
}

/**
 * Fetches packages of this system's own Debian release, and what they need that is not installed, and unpacks all into
 * one tree. Answers the reason where it cannot be done; `folder` is the caller's to remove.
 */
export const fetchDebianPackages = async (options: {
  names: readonly string[]
  folder: string
}): Promise<Fetched> => {
  const { names, folder } = options
  const suite = ownSuite()
  if (suite === undefined) return { reason: 'this is not a Debian release' }
  return await fetchWanted({ suite, names, withDependencies: true }, folder)
}
