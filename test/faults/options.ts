/** What a run of the fault matrix is asked for. */
import { parseArgs } from 'node:util'
import type { HostName } from '../../scripts/host.ts'
import type { Pace } from './row.ts'

const HOSTS: readonly HostName[] = ['workerd', 'node']
const MAX_ROUNDS = 100_000

export interface FaultOptions {
  readonly seed: number
  /** Numbers of rows; empty: all. */
  readonly rows: readonly number[]
  readonly rounds: number | undefined
  readonly pace: Pace
  readonly hosts: readonly HostName[]
}

export const USAGE = `usage: npm run faults -- [--seed N] [--row R] [--rounds K] [--host ${HOSTS.join('|')}] [--part]
  --seed    draws the same faults again; default: one of its own, which it prints
  --row     this row alone; may be repeated
  --rounds  how often a row injects its fault, 1 to ${MAX_ROUNDS}; default: as often as the row says itself
  --host    this host alone
  --part    the short run that is in npm test`

/** A request that cannot be met: shown with the usage and without a stack. */
export class FaultsRefused extends Error {}

function readNumber(option: string, said: string, [least, most]: readonly [number, number]): number {
  const number = Number(said)
  if (Number.isInteger(number) && number >= least && number <= most) return number
  throw new FaultsRefused(`${option}: "${said}" is not a whole number from ${least} to ${most}.`)
}

function readHost(said: string): HostName {
  const host = HOSTS.find((name) => name === said)
  if (host === undefined) throw new FaultsRefused(`--host: "${said}" is not one of ${HOSTS.join(', ')}.`)
  return host
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: args.filter((argument) => argument !== '--'),
      options: {
        seed: { type: 'string' },
        row: { type: 'string', multiple: true, default: [] },
        rounds: { type: 'string' },
        host: { type: 'string', multiple: true, default: [] },
        part: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values
  } catch (err) {
    throw new FaultsRefused(err instanceof Error ? err.message : String(err))
  }
}

/** Reads the command line. Undefined: only the usage is asked for. Throws `FaultsRefused`. */
export function readOptions(args: readonly string[], rows: readonly number[]): FaultOptions | undefined {
  const { seed, row, rounds, host, part, help } = parse(args)
  if (help) return undefined
  const asked = row.flatMap((said) => said.split(',')).map((said) => readNumber('--row', said, [1, 99]))
  const unknown = asked.find((number) => !rows.includes(number))
  if (unknown !== undefined) throw new FaultsRefused(`--row: there is no row ${unknown}.`)
  const hosts = host.flatMap((said) => said.split(',')).map(readHost)
  return {
    seed: seed === undefined ? Date.now() % 1_000_000 : readNumber('--seed', seed, [0, 2 ** 31]),
    rows: asked,
    rounds: rounds === undefined ? undefined : readNumber('--rounds', rounds, [1, MAX_ROUNDS]),
    pace: part ? 'part' : 'full',
    hosts: HOSTS.filter((name) => hosts.length === 0 || hosts.includes(name)),
  }
}
