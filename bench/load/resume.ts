/** The jobs of resuming: how long it takes from a cursor in the middle of a stream to the message after it. */
import { connect } from 'node:net'
import { ask, openHttp, writeRequest } from './http.ts'
import { client } from './natively.ts'
import { measureRate, type Rate, type Span } from './rate.ts'

const REQUEST_TIMEOUT_MS = 10_000

export type CursorsJob = { url: string; stream: string; messages: number; count: number }

/** Where a reader has been, and so the sequence that is next. */
export type Place = { cursor: string; nextSeq: number }

/** Cursors of messages anywhere in a stream, but at its very end. */
export const collectCursors = async (job: CursorsJob): Promise<Place[]> => {
  const connection = await openHttp(job.url)
  const places: Place[] = []
  try {
    while (places.length < job.count) {
      const seq = 1 + Math.floor(Math.random() * (job.messages - 1))
      const path = `/v1/streams/${job.stream}/messages/${seq}`
      const answer = await ask(connection, writeRequest(`GET ${path}`, { accept: 'application/json' }))
      const { cursor } = JSON.parse(answer) as { cursor: string }
      places.push({ cursor, nextSeq: seq + 1 })
    }
    return places
  } finally {
    connection.close()
  }
}

export type ResumeJob = { url: string; stream: string; places: readonly Place[]; span: Span }

/** From the connect to the first event, as a browser comes back. Throws where that is not the next message. */
const resumeOnce = ({ url, stream }: ResumeJob, { cursor, nextSeq }: Place): Promise<number> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    let text = ''
    const take = (part: string) => {
      text += part
      const [, seq] = /"seq":(\d+)\D/.exec(text) ?? []
      if (seq === undefined) return
      socket.destroy()
      if (Number(seq) === nextSeq) resolve(1)
      else reject(new Error(`after ${nextSeq - 1} came ${seq}`))
    }
    socket.setEncoding('latin1')
    socket.on('data', take)
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`no message came: ${text.slice(0, 300)}`)))
    const path = `/v1/streams/${stream}/messages?cursor=${cursor}`
    socket.write(writeRequest(`GET ${path}`, { accept: 'text/event-stream' }))
  })

/** Resumes at one place after the other. What counts are the latencies. */
export const resume = async (job: ResumeJob): Promise<Rate> => {
  let index = 0
  const step = () => {
    const place = job.places[index++ % job.places.length]
    if (!place) throw new Error('no cursors')
    return resumeOnce(job, place)
  }
  return await measureRate([step], job.span)
}

export type NativeResumeJob = { url: string; stream: string; messages: number; span: Span }

/** The same by one Direct Get at a sequence. */
export const resumeNatively = async (job: NativeResumeJob): Promise<Rate> => {
  const nats = await client(job.url)
  const step = async () => {
    const seq = 1 + Math.floor(Math.random() * job.messages)
    const body = JSON.stringify({ seq })
    const reply = await nats.request(`$JS.API.DIRECT.GET.${job.stream}`, body, {
      timeout: REQUEST_TIMEOUT_MS,
    })
    const found = reply.headers?.get('Nats-Sequence')
    if (found !== String(seq)) throw new Error(`asked for ${seq} and got ${found}`)
    return 1
  }
  return await measureRate([step], job.span)
}
