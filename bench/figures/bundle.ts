/** The figures of the Worker's bundle: what it weighs, and what a fresh runtime spends on evaluating it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { gzipSync } from 'node:zlib'
import { freePort } from '../../scripts/ports.ts'
import { startServer, waitUntilReady } from '../../scripts/processes.ts'
import { getWorkerBundle, METAFILE, type WorkerBundle } from '../../scripts/worker-bundle.ts'
import { workerdPath } from '../../scripts/workerd.ts'
import { type Figure, median } from '../figure.ts'

/** Of esbuild's metafile, what is read here. */
type Metafile = { outputs: Record<string, { inputs: Record<string, { bytesInOutput: number }> }> }

/** What the bundle weighs. `parts`: minified bytes by package, or folder of ours, the heaviest first. */
export type BundleSize = { bytes: number; gzipBytes: number; parts: Record<string, number> }

/** The package or our folder that a source belongs to; what scripts/cut-packages.ts writes is named after its package. */
const partOf = (source: string): string => {
  const [, inPackages] = source.match(/.*node_modules\/((?:@[^/]+\/)?[^/]+)/) ?? []
  const [, cut] = source.match(/^\.sluice\/cut\/([\w.]+)(?:-[\w-]+)?\.js$/) ?? []
  return inPackages ?? cut ?? source.replace(/\/[^/]*$/, '')
}

const partsOf = ({ outputs }: Metafile): Record<string, number> => {
  const parts = new Map<string, number>()
  for (const { inputs } of Object.values(outputs)) {
    for (const [source, { bytesInOutput }] of Object.entries(inputs)) {
      const part = partOf(source)
      parts.set(part, (parts.get(part) ?? 0) + bytesInOutput)
    }
  }
  return Object.fromEntries([...parts].sort(([, one], [, other]) => other - one))
}

/** Measures the bundle as wrangler deploys it. */
export const measureBundle = async (): Promise<BundleSize> => {
  const { folder, modules } = await getWorkerBundle()
  const contents = modules.map((name) => readFileSync(join(folder, name)))
  const sum = (sizes: number[]) => sizes.reduce((total, size) => total + size, 0)
  return {
    bytes: sum(contents.map(({ length }) => length)),
    gzipBytes: sum(contents.map((content) => gzipSync(content).length)),
    parts: partsOf(JSON.parse(readFileSync(join(folder, METAFILE), 'utf8')) as Metafile),
  }
}

/** Evaluates the bundle when asked to, as `wrangler check startup` does. */
const PROBE = `export default {
  async fetch({ url }) {
    if (url.endsWith('/evaluate')) await import('worker.js')
    return new Response()
  },
}
`

const configuration = ({ folder, compatibilityDate }: WorkerBundle, at: string, port: number): string => `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "probe", worker = .probe)],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "probe")],
);
const probe :Workerd.Worker = (
  modules = [
    (name = "probe.js", esModule = embed "probe.js"),
    (name = "worker.js", esModule = embed ${JSON.stringify(relative(at, join(folder, 'worker.js')))}),
  ],
  compatibilityDate = ${JSON.stringify(compatibilityDate)},
);
`

const request = async (url: string): Promise<true> => {
  const response = await fetch(url)
  await response.arrayBuffer()
  if (!response.ok) throw new Error(`${url} answers ${response.status}`)
  return true
}

/** What all threads of a process have spent so far. Source: Linux, Scheduler Statistics: the first is nanoseconds. */
const cpuMsOf = (pid: number): number =>
  readdirSync(`/proc/${pid}/task`)
    .map((thread) => readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1'))
    .reduce((total, spent) => total + Number.parseInt(spent, 10) / 1e6, 0)

/** What a process spends while `act` is under way. */
const spending = async (pid: number, act: () => Promise<unknown>): Promise<number> => {
  const before = cpuMsOf(pid)
  await act()
  return cpuMsOf(pid) - before
}

const measureOnce = async (bundle: WorkerBundle): Promise<number> => {
  const at = mkdtempSync(join(tmpdir(), 'sluice-start-up-'))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  writeFileSync(join(at, 'probe.js'), PROBE)
  writeFileSync(join(at, 'config.capnp'), configuration(bundle, at, port))
  const args = ['serve', join(at, 'config.capnp')]
  const server = await startServer({ name: 'workerd', command: workerdPath(), args })
  try {
    await waitUntilReady(server, () => request(url).catch(String))
    const empty = await spending(server.pid, () => request(url))
    return (await spending(server.pid, () => request(`${url}/evaluate`))) - empty
  } finally {
    await server.crash()
    rmSync(at, { recursive: true, force: true })
  }
}

/**
 * Measures what a fresh workerd spends on compiling and evaluating the bundle's global scope, ms of CPU, once a round:
 * the first request that needs it, without what an empty one takes. workerd's own start is not in it.
 */
export const measureStartUp = async (rounds: number): Promise<number[]> => {
  const bundle = await getWorkerBundle()
  const spent: number[] = []
  for (let round = 0; round < rounds; round++) spent.push(await measureOnce(bundle))
  return spent
}

/** What a deploy uploads, and what it costs to begin. */
export const workerFigures = async (): Promise<Figure[]> => [
  {
    title: 'bundle of the Worker',
    unit: 'KiB, gzip',
    contenders: [
      {
        name: 'worker',
        warmUp: async () => {},
        measure: async () => ({ value: (await measureBundle()).gzipBytes / 1_024 }),
        floors: [{ of: 'value', most: 140 }],
      },
    ],
  },
  {
    title: 'start-up of the Worker',
    unit: 'ms of CPU',
    contenders: [
      {
        name: 'worker',
        warmUp: () => measureStartUp(1),
        measure: async () => ({ value: median(await measureStartUp(3)) }),
        floors: [{ of: 'value', most: 50 }],
      },
    ],
  },
]
