/** Owns fetching one program out of a Debian package of any suite, with nothing installed or changed on the system. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './processes.ts'

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
 * Everything apt would write goes below `folder`. What the machine's apt.conf.d says about proxies, certificates and
 * credentials stays in force; its hooks do not, since they clean or index the system's own state.
 */
const privateConfiguration = (folder: string): string => `
Dir::Etc::sourcelist "${folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "${folder}/state";
Dir::State::status "/dev/null";
Dir::Cache "${folder}/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
`

/** Says why the package could not be had, or nothing when its files lie below `folder`/files. */
const fetchFrom = async (
  mirror: string,
  suite: string,
  name: string,
  folder: string,
): Promise<string | undefined> => {
  for (const part of ['state/lists/partial', 'cache/archives/partial', 'files']) {
    mkdirSync(join(folder, part), { recursive: true })
  }
  const keyring = KEYRINGS.find((path) => existsSync(path))
  const options = keyring ? `[signed-by=${keyring}] ` : ''
  writeFileSync(join(folder, 'sources.list'), `deb ${options}${mirror} ${suite} main\n`)
  const configuration = join(folder, 'apt.conf')
  writeFileSync(configuration, privateConfiguration(folder))

  const apt = (...args: string[]) => run('apt-get', ['-c', configuration, '-q', ...args], { cwd: folder })
  const updated = await apt('update', '--error-on=any')
  if (!updated.ok) return updated.stderr.trim()
  const downloaded = await apt('download', name)
  const archive = readdirSync(folder).find((file) => file.endsWith('.deb'))
  if (!downloaded.ok || !archive) return downloaded.stderr.trim()
  const unpacked = await run('dpkg', ['-x', join(folder, archive), join(folder, 'files')])
  return unpacked.ok ? undefined : unpacked.stderr.trim()
}

/**
 * Fetches a package of a Debian suite (signatures checked by apt) and unpacks it below `folder`/files.
 * Answers the reason where it cannot be done; `folder` is the caller's to remove.
 */
export const fetchDebianPackage = async (options: {
  suite: string
  name: string
  folder: string
}): Promise<{ files: string } | { reason: string }> => {
  if (!(await run('apt-get', ['--version'])).ok) return { reason: 'there is no apt here' }
  const reasons: string[] = []
  for (const [index, mirror] of (await mirrors()).entries()) {
    const folder = join(options.folder, `mirror-${index}`)
    const reason = await fetchFrom(mirror, options.suite, options.name, folder)
    if (reason === undefined) return { files: join(folder, 'files') }
    reasons.push(reason)
  }
  return { reason: reasons.join('\n') || 'apt has no mirror configured' }
}
