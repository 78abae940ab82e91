/** The figures of one log to many readers: how many deliveries, and how soon. */
import { type Contender, type Figure, type Floor, perSecond } from '../figure.ts'
import type { DeliverJob } from '../load/fan-out.ts'
import type { Rate } from '../load/rate.ts'
import type { Pace } from '../options.ts'
import type { Stage } from '../stage.ts'
import {
  type LiveStream,
  nchanSource,
  PAYLOAD_BYTES,
  prepareStream,
  type Source,
  sluicePath,
  sluiceSource,
} from './live.ts'

const READERS = 500
/** Messages that the slowest of all readers may be behind: more make none of the contenders faster. */
const IN_FLIGHT = 128
const RUN_IN_MS = 1_000

const LATENCY_READERS = 1_000
const PER_SECOND = 100

type Shape = { readers: number; pace: DeliverJob['pace']; runInMs: number; measureMs: number }

/** Opens readers, has them delivered to, and closes them again. */
const deliverTo = async (stage: Stage, source: Source, shape: Shape): Promise<Rate> => {
  const { readers, pace, runInMs: warmUpMs, measureMs } = shape
  await stage.http.ask('openReaders', { ...source.readers, readers, lanes: 1 })
  try {
    const span = { warmUpMs, measureMs, watchedPid: source.pids }
    const job = { publisher: source.publisher, bytes: PAYLOAD_BYTES, pace, span }
    return await stage.http.ask('deliver', job)
  } finally {
    await stage.http.ask('closeReaders', undefined)
  }
}

const sources = (
  stage: Stage,
  stream: LiveStream,
): { name: string; find: () => Promise<Source>; isPeer: boolean }[] => [
  { name: 'nchan', find: async () => nchanSource(await stage.peers.nchan()), isPeer: true },
  {
    name: 'nchan, a worker for each core',
    find: async () => nchanSource(await stage.peers.nchanOnEachCore()),
    isPeer: true,
  },
  ...stage.hosts.map((host) => ({
    name: host.name,
    find: async () => sluiceSource(stage, stream, host),
    isPeer: false,
  })),
]

/** 500 readers of one stream, as fast as they get it. */
export const fanOutFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> => {
  const stream = await prepareStream(stage, 'fanout')
  const shape = { readers: READERS, pace: { inFlight: IN_FLIGHT }, runInMs: RUN_IN_MS }
  const measured = { ...shape, measureMs: pace.liveMs }
  const floors: Floor[] = [{ of: 'ratio', least: 1 }]
  const contenders = sources(stage, stream).map(
    ({ name, find, isPeer }): Contender => ({
      name,
      warmUp: async () => await deliverTo(stage, await find(), { ...shape, measureMs: pace.warmUpMs }),
      measure: async () => perSecond(await deliverTo(stage, await find(), measured)),
      floors: isPeer ? [] : floors,
    }),
  )
  const ceiling = async () => {
    const path = `${sluicePath(stream, false)}?start=beginning`
    const event = await stage.replay.ask('recordEvent', { url: stage.hosts[0]?.url ?? '', path })
    const url = await stage.replay.ask('spray', { event, readers: READERS })
    const readers = { url, path: '/', ready: ': ready\n\n', readyAfterMs: 0 }
    const source: Source = { pids: [], readers, publisher: { kind: 'none' } }
    return perSecond(await deliverTo(stage, source, measured))
  }
  const title = `fan-out of ${PAYLOAD_BYTES} B to ${READERS} SSE readers`
  return [{ title, unit: 'deliveries/s', contenders, ceiling }]
}

/** From a publish to each of 1,000 sockets: the worst one in a hundred is the figure. */
export const latencyFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> => {
  const stream = await prepareStream(stage, 'latency')
  const shape = { readers: LATENCY_READERS, pace: { perSecond: PER_SECOND }, runInMs: RUN_IN_MS }
  const measure = async (source: Source, measureMs: number) => {
    const { p99Ms, ...rate } = await deliverTo(stage, source, { ...shape, measureMs })
    const { value, ...measured } = perSecond(rate)
    return { ...measured, value: p99Ms ?? Number.NaN, facts: { 'deliveries/s': value } }
  }
  const contenders = sources(stage, stream).map(
    ({ name, find, isPeer }): Contender => ({
      name,
      warmUp: async () => await measure(await find(), pace.warmUpMs),
      measure: async () => await measure(await find(), pace.liveMs),
      floors: isPeer ? [] : [{ of: 'ratio', most: 2 }],
    }),
  )
  const title = `publish → SSE, ${LATENCY_READERS} readers, ${PER_SECOND} messages/s of ${PAYLOAD_BYTES} B`
  return [{ title, unit: 'ms, p99', contenders }]
}
