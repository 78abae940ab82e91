/** Getting a nats-server program of a wanted line: from PATH, from the cache, from Debian or from the project. */
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fetchDebianPackage } from './debian.ts'
import { CACHE } from './paths.ts'
import { run } from './processes.ts'

/** The two lines that are tested against: the newest, and the oldest that is supported. */
export type NatsLine = 'current' | '2.10'

/** A program that was run once and said its version, such as `2.15.1`. */
export type NatsProgram = { path: string; version: string }

type Release = { version: string; sha256: Record<string, string> }
type Source = { debianSuite: string; release: Release; fits: (version: string) => boolean }

const minorOf = (version: string): number => {
  const [major, minor] = version.split('.').map(Number)
  return major === 2 ? (minor ?? 0) : 0
}

/** Checksums: linux archives of the project's releases, as its own Docker images check them. */
const SOURCES: Record<NatsLine, Source> = {
  current: {
    debianSuite: 'testing',
    fits: (version) => minorOf(version) >= 12,
    release: {
      version: '2.15.0',
      sha256: {
        x64: '5d2c51caca950333aba84911df7d377f826f3a59ec36061c6539105084f65c92',
        arm64: 'cdc208f5a3f42963a52b6ab06ef65626bb870315dc936e26ba571780c6351112',
      },
    },
  },
  '2.10': {
    debianSuite: 'trixie',
    fits: (version) => minorOf(version) === 10,
    release: {
      version: '2.10.29',
      sha256: {
        x64: 'e314da74a83a1d3876db8814c27eb990fe729640fd6452025b441bcede8390da',
        arm64: 'da4b27942ecfb4c5f0c54553d2e7f470ddda9d7581cfe8131b351a0e223ed401',
      },
    },
  },
}

const DOWNLOAD_TIMEOUT_MS = 120_000

const versionOf = async (path: string): Promise<string | undefined> =>
  /v(\d+\.\d+\.\d+)/.exec((await run(path, ['-v'])).stdout)?.[1]

const checked = async (path: string, source: Source): Promise<NatsProgram | undefined> => {
  const version = existsSync(path) ? await versionOf(path) : undefined
  return version && source.fits(version) ? { path, version } : undefined
}

const onPath = async (source: Source): Promise<NatsProgram | undefined> => {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const found = folder === '' ? undefined : await checked(join(folder, 'nats-server'), source)
    if (found) return found
  }
  return undefined
}

const fetchRelease = async (
  release: Release,
  folder: string,
): Promise<{ path: string } | { reason: string }> => {
  const sha256 = release.sha256[process.arch]
  if (process.platform !== 'linux' || !sha256)
    return { reason: `no checksum for ${process.platform} ${process.arch}` }
  const name = `nats-server-v${release.version}-linux-${process.arch === 'x64' ? 'amd64' : process.arch}`
  const url = `https://github.com/nats-io/nats-server/releases/download/v${release.version}/${name}.tar.gz`
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(DOWNLOAD_TIMEOUT_MS) })
    if (!response.ok) return { reason: `HTTP ${response.status} for ${url}` }
    const bytes = new Uint8Array(await response.arrayBuffer())
    const actual = createHash('sha256').update(bytes).digest('hex')
    if (actual !== sha256) return { reason: `${url} has the SHA-256 ${actual}, expected ${sha256}` }
    const archive = join(folder, 'release.tar.gz')
    writeFileSync(archive, bytes)
    const unpacked = await run('tar', ['-xzf', archive, '-C', folder])
    return unpacked.ok ? { path: join(folder, name, 'nats-server') } : { reason: unpacked.stderr.trim() }
  } catch (err) {
    return { reason: `${url} cannot be reached (${err instanceof Error ? err.message : String(err)})` }
  }
}

/** Moves a program that runs into the cache in one step, so that no other process ever sees half of it. */
const keep = async (fetched: string, cached: string, source: Source): Promise<NatsProgram | undefined> => {
  if (!existsSync(fetched)) return undefined
  chmodSync(fetched, 0o755)
  if (!(await checked(fetched, source))) return undefined
  renameSync(fetched, cached)
  return await checked(cached, source)
}

const fetchProgram = async (
  line: NatsLine,
  cached: string,
  say: (text: string) => void,
): Promise<NatsProgram> => {
  const source = SOURCES[line]
  const folder = mkdtempSync(join(CACHE, 'nats-server', 'fetch-'))
  try {
    say(`Fetching nats-server (${line}) from Debian ${source.debianSuite} into .sluice (once) …`)
    const debian = await fetchDebianPackage({ suite: source.debianSuite, name: 'nats-server', folder })
    if ('files' in debian) {
      const programs = ['usr/sbin', 'usr/bin'].map((place) => join(debian.files, place, 'nats-server'))
      const program = programs.find((path) => existsSync(path))
      const kept = program ? await keep(program, cached, source) : undefined
      if (kept) return kept
    }
    const debianReason = 'reason' in debian ? debian.reason : 'its program does not run here'

    say(`That did not work; fetching nats-server ${source.release.version} from the project's releases …`)
    const released = await fetchRelease(source.release, folder)
    const kept = 'path' in released ? await keep(released.path, cached, source) : undefined
    if (kept) return kept
    const releaseReason = 'reason' in released ? released.reason : 'its program does not run here'

    throw new Error(
      [
        line === 'current'
          ? 'No nats-server: put nats-server 2.12 or newer on PATH.'
          : 'No nats-server 2.10: put one on PATH.',
        `Debian ${source.debianSuite}: ${debianReason}`,
        `Release archive: ${releaseReason}`,
      ].join('\n'),
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * Finds or fetches a nats-server: what is on PATH if it fits, else the cache, else Debian, else the project's release.
 * `current`: 2.12 or newer. `say` hears of each slow step. Offline it works from the second time on.
 * Throws with every reason when there is no way to get one.
 */
export const getNatsServer = async (
  line: NatsLine = 'current',
  say: (text: string) => void = console.error,
): Promise<NatsProgram> => {
  const source = SOURCES[line]
  const folder = join(CACHE, 'nats-server')
  const cached = join(folder, `nats-server-${line}`)
  const found = (await onPath(source)) ?? (await checked(cached, source))
  if (found) return found
  mkdirSync(folder, { recursive: true })
  return await fetchProgram(line, cached, say)
}
