/** Installing Debian's packages for the tests, where that is possible: as root, on a system with apt. */
import { run } from './processes.ts'

/** Installs packages; answers why it could not, undefined where it could. `say` hears that it installs. */
export const installDebianPackages = async (
  names: readonly string[],
  say: (text: string) => void = console.error,
): Promise<string | undefined> => {
  if (process.getuid?.() !== 0) return 'this is not root'
  if (!(await run('apt-get', ['--version'])).ok) return 'there is no apt here'
  say(`Installing Debian's ${names.join(' and ')} (once) …`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args: string[]) => run('apt-get', ['-q', '-y', ...args], { env })
  const once = () => apt('install', '--no-install-recommends', ...names)
  if ((await once()).ok) return undefined
  // A fresh container knows no package at all, an old one knows versions that are gone.
  await apt('update')
  const second = await once()
  return second.ok ? undefined : second.stderr.trim()
}
