/** Getting the peers' programs: what is installed, else Debian's packages, unpacked below .sluice and cached there. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fetchDebianPackages } from '../../scripts/debian.ts'
import { CACHE } from '../../scripts/paths.ts'

/** Which packages a peer is made of, and the files of theirs that are started or loaded. */
export type Wanted = { peer: string; packages: readonly string[]; files: readonly string[] }

/** Where the files lie, and the environment in which they find their libraries. */
export type Programs = { root: string; env: NodeJS.ProcessEnv }

const hasAll = (root: string, { files }: Wanted): boolean =>
  files.every((file) => existsSync(join(root, file)))

/** A multiarch folder such as x86_64-linux-gnu. */
const libraryFolders = (root: string): string[] => {
  const lib = join(root, 'usr', 'lib')
  const folders = existsSync(lib) ? readdirSync(lib).filter((name) => name.endsWith('-linux-gnu')) : []
  return folders.map((name) => join(lib, name))
}

const environment = (root: string): NodeJS.ProcessEnv =>
  root === '/' ? process.env : { ...process.env, LD_LIBRARY_PATH: libraryFolders(root).join(':') }

const fetchInto = async (wanted: Wanted, cached: string, say: (text: string) => void): Promise<void> => {
  const parent = join(CACHE, 'peers')
  mkdirSync(parent, { recursive: true })
  const folder = mkdtempSync(join(parent, 'fetch-'))
  try {
    const packages = wanted.packages.join(', ')
    say(`Fetching ${packages} and the libraries they need from Debian into .sluice (once) …`)
    const fetched = await fetchDebianPackages({ names: wanted.packages, folder })
    if ('reason' in fetched) throw new Error(`No ${wanted.peer}: ${fetched.reason}`)
    if (!hasAll(fetched.files, wanted)) throw new Error(`No ${wanted.peer}: ${packages} have other files`)
    rmSync(cached, { recursive: true, force: true })
    renameSync(fetched.files, cached)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Throws with the reason where there is no way to get them. `say` hears what is fetched. */
export const getPrograms = async (wanted: Wanted, say: (text: string) => void): Promise<Programs> => {
  const cached = join(CACHE, 'peers', wanted.peer)
  const found = ['/', cached].find((root) => hasAll(root, wanted))
  if (found === undefined) await fetchInto(wanted, cached, say)
  const root = found ?? cached
  return { root, env: environment(root) }
}
