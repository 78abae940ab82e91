/** The line that says what was measured on: no figure means anything without it. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os'
import { join } from 'node:path'
import { run } from '../scripts/processes.ts'
import { workerdPath } from '../scripts/workerd.ts'

/** Read before anything is started. */
const LOAD_BEFORE = Math.round((loadavg()[0] ?? 0) * 100) / 100

/** What was measured on. `load`: of the last minute before anything was started. */
export type Machine = {
  cores: number
  cpu: string
  memoryGiB: number
  load: number
  node: string
  workerd: string
  natsServer: string
  natsClient: string
}

const versionOf = (name: string): string => {
  const entry = createRequire(import.meta.url).resolve(name)
  const folder = entry.slice(0, entry.lastIndexOf(join('node_modules', name)))
  const manifest = readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

/** Asks the machine; the nats-server's version is what it said of itself. */
export const describeMachine = async (natsServer: string): Promise<Machine> => ({
  cores: availableParallelism(),
  cpu: cpus()[0]?.model ?? 'unknown',
  memoryGiB: Math.round(totalmem() / 2 ** 30),
  load: LOAD_BEFORE,
  node: process.versions.node,
  workerd: (await run(workerdPath(), ['--version'])).stdout.trim().replace(/^workerd /, ''),
  natsServer,
  natsClient: `nats.ws ${versionOf('nats.ws')} over WebSocket`,
})

export const machineLine = (machine: Machine): string =>
  `${machine.cores} cores (${machine.cpu}), ${machine.memoryGiB} GiB, load ${machine.load} before; Node ${machine.node}, ` +
  `workerd ${machine.workerd}, nats-server ${machine.natsServer} on file storage, all on loopback; ` +
  `native: ${machine.natsClient}`
