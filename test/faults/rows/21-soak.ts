/** Row 21: half an hour of everything with a fault every thirty seconds, and nothing that grows. */
import { readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { openNative } from '../../live/native.ts'
import { leaderOf } from '../../publishing/leader.ts'
import { rssOf } from '../../publishing/process-memory.ts'
import { type TestNats, waitForLeader } from '../../support/nats.ts'
import { type Sample, type Slope, slopeOf } from '../load/slopes.ts'
import { type Instance, STREAM, type Stage, setStage } from '../load/stage.ts'
import { CREW } from '../load/workload.ts'
import type { Row, RowRun } from '../row.ts'

/** A full run takes half an hour. */
const FAULT_COUNT = { full: 60, part: 2 }
const BETWEEN_FAULTS_MS = 30_000
const SAMPLE_MS = 10_000
/** Requests of one client begin so much after the one before, ms: what is stored in half an hour fits into this process. */
const PAUSE_MS = 500
const MIB = 1_048_576
/** What counts as growth, over the time looked at, where noise explains less. */
const LEAST = { 'memory in use': MIB, 'resident memory': 8 * MIB, count: 8 }

type Kind = keyof typeof LEAST
type Fault = (run: RowRun, stage: Stage) => Promise<void>

const FAULTS: readonly Fault[] = [
  killLeader,
  pauseLeader,
  loseAnswers,
  resetConnections,
  stepDown,
  cutClients,
]

export const soakRow: Row = {
  number: 21,
  fault: 'soak: mixed load, a fault every 30 s',
  shows: ['I1', 'I2', 'I3', 'I4', 'I5', 'I7', 'I8', 'I9'],
  async run(run) {
    const crew = { ...CREW, pauseMs: PAUSE_MS }
    const stage = await setStage(run, { nodes: 3, proxied: true, mayBreak: true, inspected: true, crew })
    const watch = new Watch(stage)
    const random = run.random('which fault')
    for (let round = run.rounds(FAULT_COUNT); round > 0; round -= 1) {
      const nextAt = performance.now() + BETWEEN_FAULTS_MS
      const fault = FAULTS[Math.floor(random() * FAULTS.length)]
      await fault?.(run, stage)
      await stage.goOn()
      while (performance.now() < nextAt) {
        await delay(SAMPLE_MS)
        await watch.sample()
      }
    }
    watch.tell(run)
    await stage.finish()
  },
}

async function killLeader(run: RowRun, { cluster, nodes }: Stage): Promise<void> {
  if (!cluster) return
  const leader = await leaderOf(cluster, STREAM)
  await leader.kill()
  run.injected('leader SIGKILLed')
  await delay(3_000)
  await leader.restart()
  await waitForLeader([...nodes])
}

async function pauseLeader(run: RowRun, { cluster }: Stage): Promise<void> {
  if (!cluster) return
  const leader = await leaderOf(cluster, STREAM)
  await leader.pause()
  run.injected('leader paused')
  await delay(5_000)
  leader.resume()
}

async function loseAnswers(run: RowRun, { natsProxies }: Stage): Promise<void> {
  for (const proxy of natsProxies) proxy.setWeather({ deafToServer: true })
  await delay(200)
  for (const proxy of natsProxies) proxy.reset()
  run.injected('answers of JetStream lost, connections reset')
  for (const proxy of natsProxies) proxy.setWeather({})
}

async function resetConnections(run: RowRun, { natsProxies }: Stage): Promise<void> {
  for (const proxy of natsProxies) proxy.reset()
  run.injected('connections to NATS reset')
}

async function stepDown(run: RowRun, { nodes }: Stage): Promise<void> {
  const native = await openNative(nodes[0]?.wsUrl ?? '')
  // Between two leaders there is nobody to step down.
  await native.ask(`STREAM.LEADER.STEPDOWN.${STREAM}`).catch(() => undefined)
  await native.close()
  run.injected('leader stepped down')
}

async function cutClients(run: RowRun, { clientProxies }: Stage): Promise<void> {
  for (const proxy of clientProxies) proxy.reset()
  run.injected('connections of all clients reset')
}

/** What must not grow, sampled over time. */
class Watch {
  readonly #stage: Stage
  readonly #beganAt = performance.now()
  readonly #samples = new Map<string, { readonly kind: Kind; readonly samples: Sample[] }>()

  constructor(stage: Stage) {
    this.#stage = stage
  }

  async sample(): Promise<void> {
    const { instances, nodes } = this.#stage
    for (const instance of instances) {
      // Before a collection a host has room to spare, by turns much and little of it.
      this.#add('memory in use', instance.name, await instance.memoryInUse())
      this.#add('resident memory', instance.name, rssOf(instance.pid))
      this.#add('count', `open files of ${instance.name}`, openFilesOf(instance))
    }
    const { connections, subscriptions } = await countAt(nodes)
    this.#add('count', 'connections to NATS', connections)
    this.#add('count', 'subscriptions', subscriptions)
    this.#add('count', 'consumers', await consumersAt(nodes))
  }

  #add(kind: Kind, what: string, value: number): void {
    const name = kind === 'count' ? what : `${kind} of ${what}`
    const at = (performance.now() - this.#beganAt) / 1_000
    const series = this.#samples.get(name) ?? { kind, samples: [] }
    series.samples.push({ at, value })
    this.#samples.set(name, series)
  }

  tell(run: RowRun): void {
    for (const [name, { kind, samples }] of this.#samples) {
      const slope = slopeOf(samples)
      const written = writtenAs(kind !== 'count', slope)
      run.figure(`${name} ${written}`)
      if (slope.drift > Math.max(slope.noise, LEAST[kind]))
        run.broken(kind === 'count' ? 'I8' : 'I7', `${name} grows: ${written}`)
    }
  }
}

/** The mean, and by how much it moved in the time looked at, with the noise of that. */
function writtenAs(isMemory: boolean, { mean, drift, noise }: Slope): string {
  const unit = isMemory ? MIB : 1
  const [level, moved, chance] = [mean, drift, noise].map((value) => (value / unit).toFixed(1))
  return `${level}${isMemory ? ' MiB' : ''}, moved ${moved} ± ${chance}`
}

const openFilesOf = ({ pid }: Instance): number => readdirSync(`/proc/${pid}/fd`).length

interface Connz {
  readonly connections: readonly { readonly name?: string; readonly subscriptions: number }[]
}

/** Of the bridges alone. */
async function countAt(nodes: readonly TestNats[]): Promise<{ connections: number; subscriptions: number }> {
  const answers = await Promise.all(
    nodes.map(async ({ monitorUrl }) => (await (await fetch(`${monitorUrl}/connz`)).json()) as Connz),
  )
  const own = answers.flatMap(({ connections }) => connections).filter(({ name }) => name === 'sluice')
  return {
    connections: own.length,
    subscriptions: own.reduce((sum, { subscriptions }) => sum + subscriptions, 0),
  }
}

async function consumersAt(nodes: readonly TestNats[]): Promise<number> {
  const native = await openNative(nodes[0]?.wsUrl ?? '')
  try {
    const { state } = await native.ask<{ state: { consumer_count: number } }>(`STREAM.INFO.${STREAM}`)
    return state.consumer_count
  } finally {
    await native.close()
  }
}
