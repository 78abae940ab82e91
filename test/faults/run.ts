/** `npm run faults`: the fault matrix against real servers and real hosts, and the table of what held. */
import { mkdirSync } from 'node:fs'
import { cpus } from 'node:os'
import { join, relative } from 'node:path'
import { getNatsServer } from '../../scripts/nats-server.ts'
import { CACHE, ROOT } from '../../scripts/paths.ts'
import { run as runProgram } from '../../scripts/processes.ts'
import { getWorkerBundle } from '../../scripts/worker-bundle.ts'
import { workerdPath } from '../../scripts/workerd.ts'
import { type FaultOptions, FaultsRefused, readOptions, USAGE } from './options.ts'
import { formatLog, formatTable, formatTotal, type Versions, writeReport } from './report.ts'
import { holds, type RowResult, runRow } from './row.ts'
import { ROWS } from './rows.ts'

const say = (text: string): void => console.error(text)

const describe = async ({ seed }: FaultOptions): Promise<Versions> => {
  const { version } = await getNatsServer('current', say)
  const workerd = await runProgram(workerdPath(), ['--version'])
  const processors = cpus()
  return {
    seed,
    versions: [`nats-server ${version}`, workerd.stdout.trim(), `Node ${process.versions.node}`],
    machine: `${processors.length} × ${processors[0]?.model ?? 'an unknown processor'}`,
  }
}

const runAll = async (options: FaultOptions, keep: (results: readonly RowResult[]) => void) => {
  const { seed, pace, hosts, rounds } = options
  const results: RowResult[] = []
  for (const row of ROWS) {
    if (options.rows.length > 0 && !options.rows.includes(row.number)) continue
    say(`row ${row.number}: ${row.fault}`)
    const result = await runRow(row, { seed, pace, hosts, rounds, say })
    results.push(result)
    keep(results)
    say(`${formatLog(result)}\n  ${result.seconds} s; ${result.figures.join('; ')}`)
    if (result.failure !== undefined) say(`row ${row.number} failed: ${result.failure}`)
    if (!holds(result))
      say(`again: npm run faults -- --seed ${seed} --row ${row.number}${pace === 'part' ? ' --part' : ''}`)
  }
  return results
}

const main = async (): Promise<void> => {
  const options = readOptions(
    process.argv.slice(2),
    ROWS.map(({ number }) => number),
  )
  if (!options) {
    console.log(USAGE)
    return
  }
  const began = new Date()
  await getWorkerBundle(say)
  const versions = await describe(options)
  const about = `seed ${versions.seed}; ${versions.versions.join(', ')}; ${versions.machine}`
  say(about)
  const folder = join(CACHE, 'faults')
  mkdirSync(folder, { recursive: true })
  const path = join(folder, `${began.toISOString().replaceAll(/[:.]/g, '-')}.json`)
  const results = await runAll(options, (soFar) => writeReport(path, versions, soFar))
  console.log(`\n${about}\n\n${formatTable(results)}\n\n${formatTotal(results)}`)
  console.log(`${Math.round((Date.now() - began.getTime()) / 1_000)} s; all of it: ${relative(ROOT, path)}`)
  // What a row that failed has left running ends with this process.
  process.exit(results.every(holds) ? 0 : 1)
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))

main().catch((err: unknown) => {
  say(err instanceof FaultsRefused ? `${err.message}\n${USAGE}` : String((err as Error).stack ?? err))
  process.exitCode = 1
})
