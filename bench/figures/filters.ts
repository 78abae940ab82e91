/** The figure of many filters on one stream: what they cost NATS, and that each reader gets its own alone. */
import { readFileSync } from 'node:fs'
import type { HostName, SluiceServer } from '../../scripts/host.ts'
import { type Contender, type Figure, type Measurement, perSecond } from '../figure.ts'
import type { Pace } from '../options.ts'
import type { Stage } from '../stage.ts'
import { PAYLOAD_BYTES, prepareStream, type Source, sluiceSource } from './live.ts'

const IN_FLIGHT = 128
/** For latencies: few enough that nothing queues. */
const PER_SECOND = 100
const RUN_IN_MS = 500
const MOST = 4
const FLOORS = [
  { of: 'consumers', most: MOST },
  { of: 'connections', most: MOST },
]

type Connections = { connections: { cid: number; name?: string }[] }

const NAMES_OF_BENCH = ['bench', 'bench publisher']

/** Connections to NATS that are not the bench's own, by NATS's number of them. */
const foreignConnections = async ({ monitorUrl }: Stage): Promise<number[]> => {
  const connz = (await (await fetch(`${monitorUrl}/connz?limit=10000`)).json()) as Connections
  return connz.connections.filter(({ name = '' }) => !NAMES_OF_BENCH.includes(name)).map(({ cid }) => cid)
}

const consumersOf = async ({ native, natsUrl: url }: Stage, stream: string): Promise<number> => {
  const { state } = await native.ask('askApi', { url, path: `STREAM.INFO.${stream}` })
  return state?.consumer_count ?? Number.NaN
}

const contenderOf = (
  stage: Stage,
  pace: Pace,
  { name, readers }: { name: HostName; readers: number },
): Contender => {
  const figure = `filters_${name}`
  let host: SluiceServer | undefined
  let source: Source | undefined
  let connectionsBefore: number[] = []
  let openedMs = 0

  const deliver = async (way: { inFlight: number } | { perSecond: number }) => {
    if (!source) throw new Error('no readers')
    const span = { warmUpMs: RUN_IN_MS, measureMs: pace.liveMs / 2, watchedPid: source.pids }
    return await stage.http.ask('deliver', {
      publisher: source.publisher,
      bytes: PAYLOAD_BYTES,
      pace: way,
      span,
    })
  }
  return {
    name,
    floors: FLOORS,
    async warmUp() {
      const stream = await prepareStream(stage, figure)
      connectionsBefore = await foreignConnections(stage)
      host = await stage.startFresh(name)
      source = sluiceSource(stage, stream, { url: host.url, pid: host.pid, filtered: true })
      openedMs = await stage.http.ask('openReaders', { ...source.readers, readers, lanes: readers })
      await deliver({ inFlight: IN_FLIGHT })
    },
    async measure(): Promise<Measurement> {
      const { messages, ms, cpuMs } = await deliver({ inFlight: IN_FLIGHT })
      const { p50Ms = Number.NaN, p99Ms = Number.NaN } = await deliver({ perSecond: PER_SECOND })
      const connections = await foreignConnections(stage)
      return {
        ...perSecond({ messages, ms, p50Ms, p99Ms, ...(cpuMs === undefined ? {} : { cpuMs }) }),
        facts: {
          consumers: await consumersOf(stage, `BENCH_${figure.toUpperCase()}`),
          connections: connections.filter((cid) => !connectionsBefore.includes(cid)).length,
          'readers opened/s': (readers * 1_000) / openedMs,
        },
      }
    },
    async end() {
      await stage.http.ask('closeReaders', undefined)
      await host?.crash()
    },
  }
}

/** Files that a host opens for a reader: workerd duplicates the descriptor of each connection. */
const FILES_PER_READER: Record<HostName, number> = { node: 1, workerd: 2 }
const OTHER_FILES = 200

/** As many as are asked for, or as the system's limit of open files, which processes inherit, leaves room for. */
const readersOn = (name: HostName, wanted: number): number => {
  const limits = readFileSync('/proc/self/limits', 'latin1')
  const files = Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY)
  return Math.min(wanted, Math.floor((files - OTHER_FILES) / FILES_PER_READER[name]))
}

/** One host after the other, since its readers stay: they would be idle load for the other. */
export const filtersFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> =>
  stage.hosts.map(({ name }) => {
    const readers = readersOn(name, pace.filteredReaders)
    return {
      title: `${readers.toLocaleString('en-US')} readers, as many filters, ${name}; latencies at ${PER_SECOND} messages/s`,
      unit: 'deliveries/s',
      contenders: [contenderOf(stage, pace, { name, readers })],
    }
  })
