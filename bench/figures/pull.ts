/** The figures of shared work: pull 100, acknowledge 100, and again. */
import { type Contender, type Figure, type Measurement, perSecond } from '../figure.ts'
import { ackRequest, findTokens, pullRequest } from '../load/over-http.ts'
import type { Span } from '../load/rate.ts'
import type { Pace } from '../options.ts'
import type { Stage } from '../stage.ts'
import { fillStream, fillWebdis, PAYLOAD_BYTES, STORED as stream } from './stored.ts'

const CLIENTS = [1, 8]
const BATCH = 100
const CONSUMER = 'bench'
const FLOOR = { of: 'ratio', least: 0.5 }

/** Gives `work` a consumer that has delivered nothing yet. */
const withConsumer = async <Answer>(
  { native, natsUrl: url }: Stage,
  work: () => Promise<Answer>,
): Promise<Answer> => {
  const config = { durable_name: CONSUMER, name: CONSUMER, deliver_policy: 'all', ack_policy: 'explicit' }
  const body = { stream_name: stream, config }
  await native.ask('askApi', { url, path: `CONSUMER.CREATE.${stream}.${CONSUMER}`, body })
  try {
    return await work()
  } finally {
    await native.ask('askApi', { url, path: `CONSUMER.DELETE.${stream}.${CONSUMER}` })
  }
}

const figureOf = (stage: Stage, pace: Pace, clients: number): Figure => {
  const { native, http, natsUrl } = stage
  const measured = { warmUpMs: 0, measureMs: pace.measureMs }
  const warming = { warmUpMs: 0, measureMs: pace.warmUpMs }
  const job = { stream, consumer: CONSUMER, clients, batch: BATCH }
  const natively = async (span: Span, confirmed: boolean) =>
    perSecond(await native.ask('pullAndAckNatively', { ...job, url: natsUrl, confirmed, span }))
  const overHttp = async (url: string, span: Span, watchedPid?: number) =>
    perSecond(await http.ask('pullAndAck', { ...job, url, span: { ...span, watchedPid } }))
  const overWebdis = async (span: Span) => {
    const { url, pid } = await fillWebdis(stage, pace.storedMessages)
    const group = { url, key: stream, group: CONSUMER }
    await http.ask('makeWebdisGroup', group)
    const job = { ...group, clients, batch: BATCH, span: { ...span, watchedPid: pid } }
    return perSecond(await http.ask('pullAndAckWebdis', job))
  }
  const contender = (name: string, work: (span: Span) => Promise<Measurement>): Contender => ({
    name,
    warmUp: () => withConsumer(stage, () => work(warming)),
    measure: () => withConsumer(stage, () => work(measured)),
  })

  return {
    title: `pull ${BATCH} + ack ${BATCH}, ${PAYLOAD_BYTES} B, ${clients} ${clients === 1 ? 'client' : 'clients'}`,
    unit: 'messages/s',
    contenders: [
      // The bridge answers `ok` when the server has answered, and so does this one.
      contender('native', (span) => natively(span, true)),
      contender('native, acks not confirmed', (span) => natively(span, false)),
      ...stage.hosts.map(({ name, url, pid }) => ({
        ...contender(name, (span) => overHttp(url, span, pid)),
        floors: [FLOOR],
      })),
      {
        name: 'webdis XREADGROUP + XACK',
        warmUp: () => overWebdis(warming),
        measure: () => overWebdis(measured),
      },
    ],
    ceiling: async () => await overHttp(await replayFirstHost(stage), measured),
  }
}

/** A server that has one batch to give, as often as it is asked, and takes its acknowledgements. */
const replayFirstHost = (stage: Stage): Promise<string> =>
  withConsumer(stage, async () => {
    const url = stage.hosts[0]?.url ?? ''
    const pulled = await stage.http.ask('record', { url, request: pullRequest(stream, CONSUMER, BATCH) })
    const tokens = findTokens(Buffer.from(pulled.answer).toString('latin1'))
    const acked = await stage.http.ask('record', { url, request: ackRequest(tokens) })
    return await stage.replay.ask('replay', { recordings: [pulled, acked] })
  })

/** Cycles of one client and of eight; native: as many loops on one connection. */
export const pullFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> => {
  await fillStream(stage, pace.storedMessages)
  return CLIENTS.map((clients) => figureOf(stage, pace, clients))
}
