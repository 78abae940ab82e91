/** Owns the figure of many filters on one stream: what they cost NATS, and that each reader gets its own alone. */
import type { HostName, SluiceServer } from '../../scripts/host.ts'
import { type Contender, type Figure, type Measurement, perSecond } from '../figure.ts'
import type { Pace } from '../options.ts'
import type { Stage } from '../stage.ts'
import { PAYLOAD_BYTES, prepareStream, type Source, STREAM, sluiceSource } from './live.ts'

const IN_FLIGHT = 256
/** For latencies: few enough that nothing queues. */
const PER_SECOND = 500
const RUN_IN_MS = 500
const MOST = 4
const FLOORS = [
  { of: 'consumers', most: MOST },
  { of: 'connections', most: MOST },
]

/** What NATS keeps: consumers of the stream, and connections of everybody. */
const askNats = async ({ native, natsUrl: url, monitorUrl }: Stage) => {
  const { state } = await native.ask('askApi', { url, path: `STREAM.INFO.${STREAM}` })
  const connz = (await (await fetch(`${monitorUrl}/connz?limit=1`)).json()) as { total: number }
  return { consumers: state?.consumer_count ?? Number.NaN, connections: connz.total }
}

const contenderOf = (stage: Stage, pace: Pace, name: HostName): Contender => {
  let host: SluiceServer | undefined
  let source: Source | undefined
  let connectionsBefore = 0
  let openedMs = 0

  const deliver = async (way: { inFlight: number } | { perSecond: number }) => {
    if (!source) throw new Error('no readers')
    const span = { warmUpMs: RUN_IN_MS, measureMs: pace.liveMs / 2, watchedPid: source.pid }
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
      await prepareStream(stage)
      connectionsBefore = (await askNats(stage)).connections
      host = await stage.startFresh(name)
      source = sluiceSource(stage, { name, url: host.url, pid: host.pid }, true)
      const readers = pace.filteredReaders
      openedMs = await stage.http.ask('openReaders', { ...source.readers, readers, lanes: readers })
      await deliver({ inFlight: IN_FLIGHT })
    },
    async measure(): Promise<Measurement> {
      const { messages, ms, cpuMs } = await deliver({ inFlight: IN_FLIGHT })
      const { p50Ms = Number.NaN, p99Ms = Number.NaN } = await deliver({ perSecond: PER_SECOND })
      const { consumers, connections } = await askNats(stage)
      return {
        ...perSecond({ messages, ms, p50Ms, p99Ms, ...(cpuMs === undefined ? {} : { cpuMs }) }),
        facts: {
          consumers,
          connections: connections - connectionsBefore,
          'readers opened/s': (pace.filteredReaders * 1_000) / openedMs,
        },
      }
    },
    async end() {
      await stage.http.ask('closeReaders', undefined)
      await host?.crash()
    },
  }
}

/** One host after the other, since its readers stay: they would be idle load for the other. */
export const filtersFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> => {
  const count = pace.filteredReaders.toLocaleString('en-US')
  return stage.hosts.map(({ name }) => ({
    title: `${count} readers, as many filters, ${name}; latencies at ${PER_SECOND} messages/s`,
    unit: 'deliveries/s',
    contenders: [contenderOf(stage, pace, name)],
  }))
}
