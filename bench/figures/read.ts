/** The figures of reading history: JSON pages along the cursor, and one NDJSON answer. */
import { type Figure, perSecond } from '../figure.ts'
import { linesRequest, pageRequest } from '../load/over-http.ts'
import type { Span } from '../load/rate.ts'
import type { Pace } from '../options.ts'
import type { Stage } from '../stage.ts'
import { fillStream, fillWebdis, PAYLOAD_BYTES, STORED as stream } from './stored.ts'

const PAGES_FLOOR = { of: 'ratio', least: 0.25 }
const LINES_FLOOR = { of: 'ratio', least: 0.5 }
/** Messages of the NDJSON answer that the load client is tried with, and how often. */
const REPLAYED = 10_000
const REPLAYS = 20

const urlOfFirst = ({ hosts }: Stage): string => hosts[0]?.url ?? ''

/** Pages of 1,000, one after the other; native: Direct Get in batches of 1,000. */
export const pagesFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> => {
  await fillStream(stage, pace.storedMessages)
  const { native, http, natsUrl } = stage
  const measured = { warmUpMs: 0, measureMs: pace.measureMs }
  const warming = { warmUpMs: 0, measureMs: pace.warmUpMs }
  const natively = async (span: Span) =>
    perSecond(await native.ask('readBatches', { url: natsUrl, stream, span }))
  const overHttp = async (url: string, span: Span, replayed = false) =>
    perSecond(await http.ask('readPages', { url, stream, span, replayed }))
  const overWebdis = async (span: Span) => {
    const { url, pid } = await fillWebdis(stage, pace.storedMessages)
    const job = { url, key: stream, span: { ...span, watchedPid: pid } }
    return perSecond(await http.ask('readWebdisPages', job))
  }

  const contenders = [
    { name: 'native', warmUp: () => natively(warming), measure: () => natively(measured) },
    ...stage.hosts.map(({ name, url, pid }) => ({
      name,
      warmUp: () => overHttp(url, warming),
      measure: () => overHttp(url, { ...measured, watchedPid: pid }),
      floors: [PAGES_FLOOR],
    })),
    { name: 'webdis XRANGE', warmUp: () => overWebdis(warming), measure: () => overWebdis(measured) },
  ]
  const ceiling = async () => {
    const request = pageRequest(stream, 'start=beginning')
    const recorded = await http.ask('record', { url: urlOfFirst(stage), request })
    return await overHttp(await stage.replay.ask('replay', { recordings: [recorded] }), measured, true)
  }
  return [{ title: `JSON pages of 1,000 × ${PAYLOAD_BYTES} B`, unit: 'messages/s', contenders, ceiling }]
}

/** The whole stream in one answer; native: Direct Get in batches of 1,000. */
export const linesFigures = async (stage: Stage, pace: Pace): Promise<Figure[]> => {
  const messages = pace.storedMessages
  const few = Math.ceil(messages / 10)
  await fillStream(stage, messages)
  const { native, http, natsUrl } = stage
  const natively = async (count: number) =>
    perSecond(await native.ask('catchUp', { url: natsUrl, stream, messages: count }))
  const lastOnes = (count: number) => ({ stream, fromSeq: messages - count + 1, messages: count })
  const overHttp = async (url: string, count: number, watchedPid?: number) =>
    perSecond(await http.ask('readLines', { url, ...lastOnes(count), watchedPid }))
  const overWebdis = async (count: number) => {
    const { url, pid: watchedPid } = await fillWebdis(stage, messages)
    return perSecond(await http.ask('readWebdisStream', { url, key: stream, messages: count, watchedPid }))
  }

  const contenders = [
    { name: 'native', warmUp: () => natively(few), measure: () => natively(messages) },
    ...stage.hosts.map(({ name, url, pid }) => ({
      name,
      warmUp: () => overHttp(url, few),
      measure: () => overHttp(url, messages, pid),
      floors: [LINES_FLOOR],
    })),
    { name: 'webdis XRANGE', warmUp: () => overWebdis(few), measure: () => overWebdis(messages) },
  ]
  const ceiling = async () => {
    const request = linesRequest(stream, lastOnes(REPLAYED).fromSeq)
    const recorded = await http.ask('record', { url: urlOfFirst(stage), request })
    const url = await stage.replay.ask('replay', { recordings: [recorded] })
    return perSecond(await http.ask('readLines', { url, ...lastOnes(REPLAYED), repeat: REPLAYS }))
  }
  const title = `NDJSON of ${messages.toLocaleString('en-US')} × ${PAYLOAD_BYTES} B`
  return [{ title, unit: 'messages/s', contenders, ceiling }]
}
