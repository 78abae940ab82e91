/** Owns the figures of publishing: acked, one message a request. */
import { type Contender, type Figure, perSecond } from '../figure.ts'
import { publishRequest } from '../load/over-http.ts'
import type { Span } from '../load/rate.ts'
import type { Pace } from '../options.ts'
import type { Stage } from '../stage.ts'

const CLIENTS = [1, 32, 256]
const PAYLOAD_BYTES = 256
const STREAM = 'BENCH_PUBLISH'
const SUBJECT = 'bench.publish'
/** At the start of each measurement, until all connections are at work. */
const RUN_IN_MS = 200

const createStream = async ({ native, natsUrl: url }: Stage): Promise<void> => {
  const body = { name: STREAM, subjects: [`${SUBJECT}.>`], storage: 'file', allow_direct: true }
  await native.ask('askApi', { url, path: `STREAM.CREATE.${STREAM}`, body })
}

const figureOf = (stage: Stage, pace: Pace, clients: number): Figure => {
  const { native, http, natsUrl } = stage
  const measured = { warmUpMs: RUN_IN_MS, measureMs: pace.measureMs }
  const warming = { warmUpMs: 0, measureMs: pace.warmUpMs }
  const job = { subject: SUBJECT, bytes: PAYLOAD_BYTES }
  // Every measurement finds the stream empty.
  const purge = () => native.ask('askApi', { url: natsUrl, path: `STREAM.PURGE.${STREAM}` })
  const contender = (name: string, publish: (span: Span) => ReturnType<Contender['measure']>): Contender => ({
    name,
    warmUp: () => publish(warming),
    async measure() {
      await purge()
      return await publish(measured)
    },
  })
  const overHttp = async (url: string, span: Span, watchedPid?: number) =>
    perSecond(await http.ask('publish', { ...job, url, clients, span: { ...span, watchedPid } }))

  return {
    title: `publish, acked, ${PAYLOAD_BYTES} B, ${clients} ${clients === 1 ? 'client' : 'clients'}`,
    unit: 'messages/s',
    contenders: [
      contender('native', async (span) =>
        perSecond(await native.ask('publishNatively', { ...job, url: natsUrl, window: clients, span })),
      ),
      ...stage.hosts.map(({ name, url, pid }) => contender(name, (span) => overHttp(url, span, pid))),
    ],
    async ceiling() {
      const [host] = stage.hosts
      const request = publishRequest(job, 0)
      const recorded = await http.ask('record', { url: host?.url ?? '', request })
      // Each client has a subject of its own; the answer is the same to all.
      const recordings = [{ ...recorded, start: 'POST ' }]
      return await overHttp(await stage.replay.ask('replay', { recordings }), measured)
    },
  }
}

/** Publishes at 1, 32 and 256 clients; native: as many messages waiting for their PubAck on one connection. */
export const publishFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> => {
  await createStream(stage)
  return CLIENTS.map((clients) => figureOf(stage, pace, clients))
}
