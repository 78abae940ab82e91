/** Playing one sequence of commands to its end: then all must come good, and nothing may be left behind. */
import fc from 'fast-check'
import { startAnew } from './bridge.ts'
import { Cast, commandArbitraries, setupArbitrary } from './commands.ts'
import { type Breakage, type Setup, STREAM, World } from './world.ts'

const SETTLE_MS = 30_000
const LEAVE_MS = 70_000
const GIVE_BACK_MS = 1_000

type Commands = Iterable<fc.AsyncCommand<object, Cast, boolean>>

/** Plays it and answers what is wrong. */
export async function play(
  setup: Setup,
  commands: Commands,
  breakage?: Breakage,
): Promise<readonly string[]> {
  const world = new World(setup, breakage)
  const cast = new Cast(world)
  await fc.asyncModelRun(() => ({ model: {}, real: cast }), commands)
  await comeGood(cast)
  await close(cast)
  const complaints = [
    ...world.complaints,
    ...cast.publications.complaints(),
    ...cast.eventClients.flatMap((client) => client.complaints()),
    ...cast.workers.complaints(),
  ]
  if (complaints.length > 0) startAnew()
  return complaints
}

/** No more faults: every reader comes to the end, every message is done. */
async function comeGood(cast: Cast): Promise<void> {
  const { world, workers, eventClients, pageReaders } = cast
  await world.clock.until(() => !world.jetstream.network.isAway, SETTLE_MS)
  world.jetstream.network.heal()
  await world.settle()
  if (!world.isIdle) world.complain('Requests are under way that never end')
  if (!world.wasFaulty) await checkGivenBack(cast)
  for (const client of eventClients) {
    client.unstall()
    world.begin('Events', () => client.open())
  }
  await publishLast(cast)
  for (const reader of pageReaders)
    world.begin('A read', async () => {
      for (let pages = 0; pages < 30; pages += 1)
        if (!(await reader.read({ limit: 100, waitMs: 0, form: 'page' }))) return
      world.complain('A reader of pages comes to no end')
    })
  world.begin('The last pulls', () => workers.drain())
  await world.settle()
  const isAtEnd = () => eventClients.every((client) => client.isAtEnd)
  if (!(await world.clock.until(isAtEnd, SETTLE_MS)))
    world.complain('A reader of events does not come to the end')
}

/** What a client that left did not get goes to the next one at once. */
async function checkGivenBack({ world, workers }: Cast): Promise<void> {
  await world.pass(GIVE_BACK_MS)
  const unseen = workers.unseen()
  if (unseen.length > 0) world.complain(`Nobody has ${unseen.join(', ')}, which were delivered`)
}

async function publishLast({ world }: Cast): Promise<void> {
  for (const subject of ['a', 'b', 'a.x']) {
    const payload = Buffer.from(`last ${subject}`)
    world.stream?.publish({ subject: `${STREAM}.${subject}`, payload, headers: {} })
    await world.pass(1)
  }
}

/** I8: no timer, subscription or waiting pull is left behind clients that are gone. */
async function close({ world, eventClients }: Cast): Promise<void> {
  const { jetstream, bridge, clock } = world
  for (const client of eventClients) client.cut()
  await world.pass(LEAVE_MS)
  const waiting = jetstream.consumers.reduce((sum, one) => sum + one.waiting.length, 0)
  if (jetstream.follows.size > 0 || waiting > 0)
    world.complain(`${jetstream.follows.size} subscriptions and ${waiting} pulls are left`)
  void bridge.close()
  for (const consumer of jetstream.consumers) consumer.end()
  await world.pass(0)
  if (clock.pending > 0) world.complain(`${clock.pending} timers are left`)
}

/** Sequences of at most so many commands, and what differs beside them. */
export const sequences = (maxCommands: number) => {
  const commands = commandArbitraries as unknown as fc.Arbitrary<fc.AsyncCommand<object, Cast, true>>[]
  return [setupArbitrary, fc.commands(commands, { maxCommands, size: 'max' })] as const
}

/** What a run of many sequences found. `failure`: the shortest sequence that shows it, and what is wrong. */
export interface Found {
  readonly runs: number
  readonly seconds: number
  /** Of this process's time. */
  readonly cpuSeconds: number
  readonly failure: string | undefined
}

const NANOS_PER_SECOND = 1e9
const MICROS_PER_SECOND = 1e6

interface Exploration {
  readonly runs: number
  readonly seed: number
  readonly breakage?: Breakage
  /** Ends with the first failure as it is: to make it short takes longer. */
  readonly isShort?: boolean
}

const MAX_COMMANDS = 14

/** Plays so many sequences drawn from a seed, until one shows that something is wrong. */
export async function explore({ runs, seed, breakage, isShort = false }: Exploration): Promise<Found> {
  const startedAt = process.hrtime.bigint()
  const usedBefore = process.cpuUsage()
  const [setups, commands] = sequences(MAX_COMMANDS)
  const property = fc.asyncProperty(setups, commands, async (setup, played) => {
    const complaints = await play(setup, played, breakage)
    if (complaints.length > 0) throw new Error(complaints.join('\n'))
  })
  const details = await fc.check(property, { numRuns: runs, seed, endOnFailure: isShort })
  const seconds = Number(process.hrtime.bigint() - startedAt) / NANOS_PER_SECOND
  const { user, system } = process.cpuUsage(usedBefore)
  const said = details.errorInstance instanceof Error ? details.errorInstance.message : ''
  const failure = details.failed ? `${said}\n${fc.defaultReportMessage(details)}` : undefined
  return { runs: details.numRuns, seconds, cpuSeconds: (user + system) / MICROS_PER_SECOND, failure }
}
