/** The figures of publishing: acked, one message a request. */

import type { HostName } from '../../scripts/host.ts'
import { type Contender, type Figure, type Floor, type Measurement, perSecond } from '../figure.ts'
import { publishRequest } from '../load/over-http.ts'
import type { Span } from '../load/rate.ts'
import type { Pace } from '../options.ts'
import type { Stage } from '../stage.ts'

const CLIENTS = [1, 32, 256]
const PAYLOAD_BYTES = 256
const STREAM = 'BENCH_PUBLISH'
const SUBJECT = 'bench.publish'
/** Of the native client; not where a single client waits for each answer. */
const FLOORS: Record<HostName, Floor> = {
  node: { of: 'ratio', least: 0.5 },
  workerd: { of: 'ratio', least: 0.15 },
}
/** One client alone would leave most of the code uncompiled. */
const WARM_UP_CLIENTS = 32
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
  const contender = (
    name: string,
    publish: (clients: number, span: Span) => Promise<Measurement>,
    floor?: Floor,
  ): Contender => ({
    name,
    floors: floor && clients > 1 ? [floor] : [],
    warmUp: () => publish(Math.max(clients, WARM_UP_CLIENTS), warming),
    async measure() {
      await purge()
      return await publish(clients, measured)
    },
  })
  const natively = async (window: number, span: Span) =>
    perSecond(await native.ask('publishNatively', { ...job, url: natsUrl, window, span }))
  const overHttp = async (url: string, clients: number, span: Span) =>
    perSecond(await http.ask('publish', { ...job, url, clients, span }))
  const overWebdis = async (clients: number, span: Span) => {
    const { url, pid } = await stage.peers.webdis()
    const job = { url, key: SUBJECT, clients, bytes: PAYLOAD_BYTES, span: { ...span, watchedPid: pid } }
    return perSecond(await http.ask('publishToWebdis', job))
  }

  return {
    title: `publish, acked, ${PAYLOAD_BYTES} B, ${clients} ${clients === 1 ? 'client' : 'clients'}`,
    unit: 'messages/s',
    contenders: [
      contender('native', natively),
      ...stage.hosts.map(({ name, url, pid }) =>
        contender(name, (count, span) => overHttp(url, count, { ...span, watchedPid: pid }), FLOORS[name]),
      ),
      contender('webdis XADD', overWebdis),
    ],
    async ceiling() {
      const [host] = stage.hosts
      const request = publishRequest(job, 0)
      const recorded = await http.ask('record', { url: host?.url ?? '', request })
      // Each client has a subject of its own; the answer is the same to all.
      const recordings = [{ ...recorded, start: 'POST ' }]
      return await overHttp(await stage.replay.ask('replay', { recordings }), clients, measured)
    },
  }
}

/** Publishes at 1, 32 and 256 clients; native: as many messages waiting for their PubAck on one connection. */
export const publishFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> => {
  await createStream(stage)
  return CLIENTS.map((clients) => figureOf(stage, pace, clients))
}
