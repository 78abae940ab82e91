/** `npm run bench`: Sluice on its hosts beside the native client, on the same nats-server in the same run. */
import { join, relative } from 'node:path'
import { ROOT } from '../scripts/paths.ts'
import { type Figure, measureFigure, type Result } from './figure.ts'
import { workerFigures } from './figures/bundle.ts'
import { fanOutFigures, latencyFigures } from './figures/fan-out.ts'
import { filtersFigures } from './figures/filters.ts'
import { memoryFigures } from './figures/memory.ts'
import { publishFigures } from './figures/publish.ts'
import { publishLinesFigures } from './figures/publish-lines.ts'
import { pullFigures } from './figures/pull.ts'
import { linesFigures, pagesFigures } from './figures/read.ts'
import { resumeFigures } from './figures/resume.ts'
import { slowReaderFigures } from './figures/slow-reader.ts'
import { LoadGone } from './load/process.ts'
import { describeMachine, machineLine } from './machine.ts'
import { type BenchOptions, BenchRefused, type Group, type Pace, readOptions, USAGE } from './options.ts'
import { clearProfiles, summarizeProfile } from './profile.ts'
import { formatTable, writeReport } from './report.ts'
import { type Endings, FOLDER, type Stage, setStage } from './stage.ts'

const FIGURES: Record<Group, (stage: Stage, pace: Pace) => Promise<Figure[]>> = {
  fanout: fanOutFigures,
  latency: latencyFigures,
  memory: memoryFigures,
  filters: filtersFigures,
  publish: publishFigures,
  'publish-lines': publishLinesFigures,
  ndjson: linesFigures,
  pages: pagesFigures,
  pull: pullFigures,
  resume: resumeFigures,
  'slow-reader': slowReaderFigures,
  bundle: workerFigures,
}

const say = (text: string): void => console.error(text)

const endings: Endings = []

let stopped = false

const end = async (): Promise<void> => {
  for (let undo = endings.pop(); undo; undo = endings.pop()) await undo()
}

const endWhenAsked = (): void => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stopped) return
      stopped = true
      void end().finally(() => process.exit(1))
    })
  }
}

/** A figure that could not even be prepared. */
const unprepared = (group: Group, err: unknown): Result => {
  const failure = err instanceof Error ? err.message : String(err)
  say(`${group}: ${failure}`)
  const standing = { name: 'preparation', rounds: [], ratios: [], floors: [], failure }
  return { title: group, unit: 'not measured', seconds: 0, standings: [standing] }
}

async function* measureGroup(stage: Stage, pace: Pace, group: Group): AsyncGenerator<Result> {
  try {
    const figures = await FIGURES[group](stage, pace)
    for (const figure of figures) yield await measureFigure(figure, pace.rounds, say)
  } catch (err) {
    if (err instanceof LoadGone) throw err
    yield unprepared(group, err)
  }
}

/** `keep` hears of all results so far, so that nothing is lost with a run that is cut short. */
const measureAll = async (
  stage: Stage,
  { groups, pace }: BenchOptions,
  keep: (results: readonly Result[]) => void,
): Promise<Result[]> => {
  const results: Result[] = []
  for (const group of groups) {
    for await (const result of measureGroup(stage, pace, group)) {
      results.push(result)
      keep(results)
    }
  }
  return results
}

const bench = async (options: BenchOptions): Promise<void> => {
  const began = new Date()
  if (options.profile) clearProfiles(FOLDER)
  const stage = await setStage(options, endings)
  const machine = await describeMachine(stage.natsVersion)
  say(machineLine(machine))
  const { pace } = options
  const startedAt = began.toISOString()
  const path = join(FOLDER, `${startedAt.replaceAll(/[:.]/g, '-')}.json`)
  const results = await measureAll(stage, options, (sofar) =>
    writeReport(path, { startedAt, machine, peers: [...stage.peerVersions], pace, results: sofar }),
  )
  await end()

  const took = Math.round((Date.now() - began.getTime()) / 1_000)
  console.log(`\n${machineLine(machine)}`)
  if (stage.peerVersions.size > 0)
    console.log(`peers, by Debian's packages: ${[...stage.peerVersions].join('; ')}`)
  console.log(
    `rounds: ${pace.rounds}, of ${pace.measureMs} ms, with live readers of ${pace.liveMs} ms; ratio: median of the ratios of each round`,
  )
  console.log(formatTable(results))
  if (options.profile) console.log(summarizeProfile(FOLDER))
  console.log(`\n${took} s; all rounds: ${relative(ROOT, path)}`)
}

const main = async (): Promise<void> => {
  endWhenAsked()
  const options = readOptions(process.argv.slice(2))
  if (options) await bench(options)
  else console.log(USAGE)
}

main().catch(async (err: unknown) => {
  // Whoever stops it has cut short what was under way.
  if (stopped) return
  await end()
  const message = err instanceof Error ? err.message : String(err)
  say(err instanceof BenchRefused ? `${message}\n${USAGE}` : message)
  process.exitCode = 1
})
