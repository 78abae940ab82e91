/** Finding a Chromium for the browser tests, or installing Debian's where that is possible. */
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { installDebianPackages } from '../../scripts/debian-packages.ts'
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

/**
 * Finds a Chromium: the one CHROMIUM names, or one on PATH; else installs Debian's where this is root and apt is there.
 * `say` hears that it installs.
 */
export const getChromium = async (say: (text: string) => void = console.error): Promise<Chromium> => {
  const found = await find()
  if (found) return found
  const reason = await installDebianPackages(['chromium'], say)
  const without = 'no Chromium on PATH, and none can be installed:'
  return (await find()) ?? { path: undefined, reason: `${without} ${reason ?? 'it does not run here'}` }
}
