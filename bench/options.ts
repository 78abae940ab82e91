/** What a run of the bench is asked for: figures, hosts, rounds, and how long each measurement takes. */
import { parseArgs } from 'node:util'
import type { HostName } from '../scripts/host.ts'

/** The groups of figures, as `--only` names them. */
export const GROUPS = [
  'fanout',
  'latency',
  'memory',
  'filters',
  'publish',
  'publish-lines',
  'ndjson',
  'pages',
  'pull',
  'resume',
  'slow-reader',
  'bundle',
] as const
export type Group = (typeof GROUPS)[number]

const HOSTS: readonly HostName[] = ['node', 'workerd']

/**
 * How long things take. `liveMs`: of a span with live readers. `storedMessages`: what the stream holds that is read;
 * `resumed`: what the streams hold in which readers resume. `slowMs`: how long there is a slow reader.
 */
export type Pace = {
  rounds: number
  warmUpMs: number
  measureMs: number
  liveMs: number
  idleReaders: number
  filteredReaders: number
  storedMessages: number
  resumed: readonly number[]
  slowMs: number
}

export type BenchOptions = {
  pace: Pace
  groups: readonly Group[]
  hosts: readonly HostName[]
  /** Runs the Node host under a profiler and tells where its time went. */
  profile: boolean
}

const FULL: Pace = {
  rounds: 5,
  warmUpMs: 1_500,
  measureMs: 1_500,
  liveMs: 4_000,
  idleReaders: 5_000,
  filteredReaders: 10_000,
  storedMessages: 1_000_000,
  resumed: [10_000, 1_000_000, 5_000_000],
  slowMs: 60_000,
}
const QUICK: Pace = {
  rounds: 2,
  warmUpMs: 500,
  measureMs: 800,
  liveMs: 1_500,
  idleReaders: 1_000,
  filteredReaders: 2_000,
  storedMessages: 50_000,
  resumed: [10_000, 100_000],
  slowMs: 8_000,
}
const MAX_ROUNDS = 100

export const USAGE = `usage: npm run bench -- [--quick] [--rounds N] [--only NAME] [--host ${HOSTS.join('|')}] [--profile]
  --quick     short measurements and two rounds: a look, no result to publish
  --rounds    measurements of each contender, 1 to ${MAX_ROUNDS}, default ${FULL.rounds}
  --only      these figures alone; may be repeated: ${GROUPS.join(', ')}
  --host      this host alone
  --profile   runs Sluice on Node alone, under a profiler, and tells where its time goes`

/** A request that cannot be met: shown with the usage and without a stack. */
export class BenchRefused extends Error {}

const oneOf = <Name extends string>(names: readonly Name[], option: string, said: string): Name => {
  const name = names.find((known) => known === said)
  if (name === undefined) throw new BenchRefused(`${option}: "${said}" is not one of ${names.join(', ')}.`)
  return name
}

const readRounds = (said: string): number => {
  const rounds = Number(said)
  if (Number.isInteger(rounds) && rounds >= 1 && rounds <= MAX_ROUNDS) return rounds
  throw new BenchRefused(`--rounds: "${said}" is not a whole number from 1 to ${MAX_ROUNDS}.`)
}

const parse = (args: string[]) => {
  try {
    return parseArgs({
      args: args.filter((argument) => argument !== '--'),
      options: {
        quick: { type: 'boolean', default: false },
        profile: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
        rounds: { type: 'string' },
        only: { type: 'string', multiple: true, default: [] },
        host: { type: 'string', multiple: true, default: [] },
      },
    }).values
  } catch (err) {
    throw new BenchRefused(err instanceof Error ? err.message : String(err))
  }
}

/** Reads the command line. Undefined: only the usage is asked for. Throws `BenchRefused`. */
export const readOptions = (args: string[]): BenchOptions | undefined => {
  const { quick, profile, help, rounds, only, host } = parse(args)
  if (help) return undefined
  const pace = quick ? QUICK : FULL
  const groups = only.flatMap((said) => said.split(',')).map((said) => oneOf(GROUPS, '--only', said))
  const hosts = host.flatMap((said) => said.split(',')).map((said) => oneOf(HOSTS, '--host', said))
  if (profile && hosts.includes('workerd')) throw new BenchRefused('--profile is for the Node host alone.')
  return {
    pace: rounds === undefined ? pace : { ...pace, rounds: readRounds(rounds) },
    groups: GROUPS.filter((group) => groups.length === 0 || groups.includes(group)),
    hosts: profile ? ['node'] : HOSTS.filter((name) => hosts.length === 0 || hosts.includes(name)),
    profile,
  }
}
