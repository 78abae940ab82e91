/** The profile of the Node host: how it is taken, and where it says the time went. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ROOT } from '../scripts/paths.ts'

/** The part of V8's .cpuprofile that is read here: each sample names the node that was on top. */
type CpuProfile = {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[]
  samples: number[]
  timeDeltas: number[]
}

const INTERVAL_US = 200
const TOP_FUNCTIONS = 40
/** Not at work. */
const IDLE = new Set(['(idle)', '(root)'])

const folderOf = (folder: string): string => join(folder, 'profiles')

/** Has the profiler of Node write to the folder when the process ends. */
export const profilerEnv = (folder: string): Record<string, string> => ({
  NODE_OPTIONS: `--cpu-prof --cpu-prof-interval=${INTERVAL_US} --cpu-prof-dir=${folderOf(folder)}`,
})

/** Removes earlier profiles. */
export const clearProfiles = (folder: string): void => {
  rmSync(folderOf(folder), { recursive: true, force: true })
  mkdirSync(folderOf(folder), { recursive: true })
}

const readProfile = (folder: string): CpuProfile => {
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.cpuprofile')) : []
  const [only, ...others] = files
  if (only === undefined || others.length > 0) throw new Error(`${files.length} profiles in ${folder}`)
  return JSON.parse(readFileSync(join(folder, only), 'utf8')) as CpuProfile
}

/** A file of ours by its path, one of a package by the package's name. */
const placeOf = (url: string): { file: string; owner: string } => {
  if (!url.startsWith('file:'))
    return { file: url, owner: url.startsWith('node:') ? 'node' : 'V8 and native code' }
  const file = relative(ROOT, fileURLToPath(url))
  const [, name] = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file) ?? []
  return {
    file: name === undefined ? file : file.slice(file.lastIndexOf('node_modules/') + 13),
    owner: name ?? 'src',
  }
}

const add = (sums: Map<string, number>, name: string, time: number) =>
  sums.set(name, (sums.get(name) ?? 0) + time)

const lines = (sums: Map<string, number>, whole: number, count: number): string =>
  [...sums]
    .sort(([, one], [, other]) => other - one)
    .slice(0, count)
    .map(([name, time]) => `${((100 * time) / whole).toFixed(1).padStart(6)} %  ${name}`)
    .join('\n')

/** Self time by owner and by function, in shares of the time at work. Throws where there is not exactly one profile. */
export const summarizeProfile = (folder: string): string => {
  const { nodes, samples, timeDeltas } = readProfile(folderOf(folder))
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  const byOwner = new Map<string, number>()
  const byFunction = new Map<string, number>()
  let busy = 0
  for (const [index, id] of samples.entries()) {
    const frame = frames.get(id)
    const time = timeDeltas[index] ?? 0
    if (!frame || IDLE.has(frame.functionName)) continue
    const { file, owner } = placeOf(frame.url)
    const isNative = !frame.url
    busy += time
    add(byOwner, isNative ? (frame.functionName.startsWith('(') ? frame.functionName : owner) : owner, time)
    add(
      byFunction,
      `${frame.functionName || '(anonymous)'}  ${file}${isNative ? '' : `:${frame.lineNumber + 1}`}`,
      time,
    )
  }
  return [
    `\nWhere Sluice on Node was for ${(busy / 1e6).toFixed(1)} s of work, by owner (self time):`,
    lines(byOwner, busy, byOwner.size),
    '\nby function (self time):',
    lines(byFunction, busy, TOP_FUNCTIONS),
  ].join('\n')
}
