/** Owns finding a Chromium for the browser tests, or installing Debian's where that is possible. */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { run } from '../../scripts/processes.ts'

/** A browser that said its version, or why there is none. */
export type Chromium = { path: string; version: string } | { path: undefined; reason: string }

/** What a headless Chromium needs to run as root in a container, and to keep quiet on the network. */
export const CHROMIUM_FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

const find = async (): Promise<Chromium | undefined> => {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const onPath = NAMES.flatMap((name) => folders.map((folder) => join(folder, name)))
  for (const path of [process.env.CHROMIUM ?? '', ...onPath].filter((path) => path && existsSync(path))) {
    const { ok, stdout } = await run(path, ['--version'])
    const version = /\d+(\.\d+){3}/.exec(stdout)?.[0]
    if (ok && version) return { path, version }
  }
  return undefined
}

const install = async (): Promise<string | undefined> => {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args: string[]) => run('apt-get', ['-q', '-y', ...args], { env })
  const once = () => apt('install', '--no-install-recommends', 'chromium')
  const first = await once()
  if (first.ok) return undefined
  // A fresh container knows no package at all, an old one knows versions that are gone.
  await apt('update')
  const second = await once()
  return second.ok ? undefined : second.stderr.trim()
}

/**
 * Finds a Chromium: the one CHROMIUM names, or one on PATH; else installs Debian's where this is root and apt is there.
 * `say` hears that it installs.
 */
export const getChromium = async (say: (text: string) => void = console.error): Promise<Chromium> => {
  const found = await find()
  if (found) return found
  const without = 'no Chromium on PATH, and none can be installed:'
  if (process.getuid?.() !== 0) return { path: undefined, reason: `${without} this is not root` }
  if (!(await run('apt-get', ['--version'])).ok)
    return { path: undefined, reason: `${without} there is no apt here` }
  say("Installing Debian's chromium (once) …")
  const reason = await install()
  return (await find()) ?? { path: undefined, reason: `${without} ${reason ?? 'it does not run here'}` }
}
