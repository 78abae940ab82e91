/** The figure of publishing many messages by one request: lines as they are taken, and batches beside. */
import type { HostName } from '../../scripts/host.ts'
import { type Contender, type Figure, type Floor, type Measurement, median, perSecond } from '../figure.ts'
import type { Span } from '../load/rate.ts'
import type { Pace } from '../options.ts'
import type { Stage } from '../stage.ts'

const PAYLOAD_BYTES = 256
const BATCH = 1_000
/** Messages that the native client has waiting for their PubAck: it is measured with what it is faster with. */
const NATIVE_WINDOWS = [256, 1_024]
const TRIES = 3
const FLOORS: Record<HostName, Floor> = {
  node: { of: 'ratio', least: 0.5 },
  workerd: { of: 'ratio', least: 0.3 },
}
/** At the start of each measurement, until everybody is at work. */
const RUN_IN_MS = 200

/** Publishes below `subject`. */
type Publish = (subject: string, span: Span) => Promise<Measurement>
type Candidate = { name: string; publish: Publish; floor?: Floor }

const written = (count: number): string => count.toLocaleString('en-US')

/** Each has a stream of its own, so that its sequences tell that nothing is missing. */
const inOwnStream = async (
  { native, natsUrl: url }: Stage,
  pace: Pace,
  { name, publish, floor }: Candidate,
): Promise<Contender> => {
  const token = name.replaceAll(/\W+/g, '_').toUpperCase()
  const stream = `BENCH_LINES_${token}`
  const subject = `bench.lines.${token}`
  const askApi = (verb: string, body?: object) =>
    native.ask('askApi', { url, path: `STREAM.${verb}.${stream}`, ...(body ? { body } : {}) })
  await askApi('CREATE', { name: stream, subjects: [`${subject}.>`], storage: 'file', allow_direct: true })
  return {
    name,
    floors: floor ? [floor] : [],
    warmUp: () => publish(subject, { warmUpMs: 0, measureMs: pace.warmUpMs }),
    async measure() {
      await askApi('PURGE')
      return await publish(subject, { warmUpMs: RUN_IN_MS, measureMs: pace.measureMs })
    },
    end: () => askApi('DELETE'),
  }
}

const nativeWith = ({ native, natsUrl: url }: Stage, window: number): Candidate => ({
  name: `native, ${written(window)} under way`,
  publish: async (subject, span) =>
    perSecond(await native.ask('publishNatively', { url, subject, bytes: PAYLOAD_BYTES, window, span })),
})

/** The native client with the window that it is faster with here and now. */
const fastestNative = async (stage: Stage, pace: Pace): Promise<Contender> => {
  const tried: { contender: Contender; rates: number[] }[] = []
  for (const window of NATIVE_WINDOWS) {
    const contender = await inOwnStream(stage, pace, nativeWith(stage, window))
    await contender.warmUp()
    tried.push({ contender, rates: [] })
  }
  for (let time = 0; time < TRIES; time++)
    for (const { contender, rates } of tried) rates.push((await contender.measure()).value)
  const [fastest, ...others] = tried.toSorted((one, other) => median(other.rates) - median(one.rates))
  if (!fastest) throw new Error('no window')
  for (const { contender } of others) await contender.end?.()
  return fastest.contender
}

const candidatesOf = ({ http, hosts }: Stage): Candidate[] =>
  hosts.flatMap(({ name, url, pid: watchedPid }) => {
    const job = { url, bytes: PAYLOAD_BYTES }
    const lines: Publish = async (subject, span) =>
      perSecond(await http.ask('publishLines', { ...job, subject, span: { ...span, watchedPid } }))
    const batches: Publish = async (subject, span) => {
      const batch = { ...job, subject, batch: BATCH, span: { ...span, watchedPid } }
      return perSecond(await http.ask('publishBatches', batch))
    }
    return [
      { name, publish: lines, floor: FLOORS[name] },
      { name: `${name}, batches of ${written(BATCH)}`, publish: batches },
    ]
  })

/** Publishes by one request that goes on, or by one batch after another. */
export const publishLinesFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> => {
  const first = await fastestNative(stage, pace)
  const others: Contender[] = []
  for (const candidate of candidatesOf(stage)) others.push(await inOwnStream(stage, pace, candidate))
  return [
    {
      title: `publish lines, acked, ${PAYLOAD_BYTES} B, 1 request beside ${first.name}`,
      unit: 'messages/s',
      contenders: [first, ...others],
      async ceiling() {
        const url = await stage.replay.ask('echoLines', undefined)
        const span = { warmUpMs: RUN_IN_MS, measureMs: pace.measureMs }
        const job = { url, subject: 'bench.lines', bytes: PAYLOAD_BYTES, span }
        return perSecond(await stage.http.ask('publishLines', job))
      },
    },
  ]
}
