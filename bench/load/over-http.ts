/** The jobs of an HTTP client: publish, read pages, read lines, pull and acknowledge. */
import { ask, type HttpConnection, openHttp, writeRequest } from './http.ts'
import { makePayload } from './payload.ts'
import { measureRate, type Rate, type Span, times, watchCpu } from './rate.ts'

const JSON_TYPE = 'application/json'
const LINES_TYPE = 'application/x-ndjson'
const NEWLINE = 10
const MAX_LINES_MS = 10_000
const PAGE = 1_000
/** A cursor and the numbers around it stand well within the last bytes of a page. */
const TAIL_BYTES = 2_048

export type PublishJob = { url: string; subject: string; clients: number; bytes: number; span: Span }

/** The publish of one client: each has a subject of its own. */
export const publishRequest = (job: Pick<PublishJob, 'subject' | 'bytes'>, client: number): Buffer =>
  writeRequest(`POST /v1/subjects/${job.subject}.${client}/messages`, { body: makePayload(job.bytes) })

/** Publishes over one connection a client, each with one request under way. */
export const publish = async (job: PublishJob): Promise<Rate> => {
  const connections = await times(job.clients, () => openHttp(job.url))
  const steps = connections.map((connection, client) => {
    const request = publishRequest(job, client)
    return async () => {
      await ask(connection, request, [201])
      return 1
    }
  })
  try {
    return await measureRate(steps, job.span)
  } finally {
    for (const connection of connections) connection.close()
  }
}

/** `replayed`: the server has but one page to give. */
export type PagesJob = { url: string; stream: string; span: Span; replayed?: boolean }

export const pageRequest = (stream: string, from: string): Buffer =>
  writeRequest(`GET /v1/streams/${stream}/messages?limit=${PAGE}&${from}`, { accept: JSON_TYPE })

/** The last bytes of what comes in parts, without keeping the rest. */
const createTail = () => {
  let parts: Buffer[] = []
  let size = 0
  return {
    add: (part: Buffer) => {
      parts.push(part)
      size += part.length
      if (size < 64 * TAIL_BYTES) return
      parts = [Buffer.concat(parts).subarray(-TAIL_BYTES)]
      size = TAIL_BYTES
    },
    text: () => Buffer.concat(parts).subarray(-TAIL_BYTES).toString('latin1'),
  }
}

/** What stands at the end of a page; an empty one has no `seq`. Throws where it is no page. */
const readPageEnd = (tail: string): { seq: number | undefined; cursor: string; upToDate: boolean } => {
  const [, cursor = '', upToDate] = /\],"cursor":"([^"]+)","up_to_date":(true|false)\}$/.exec(tail) ?? []
  if (upToDate === undefined) throw new Error(`not a page: …${tail.slice(-200)}`)
  const [, seq] = /"seq":(\d+)(?!.*"seq":)/.exec(tail) ?? []
  return { seq: seq === undefined ? undefined : Number(seq), cursor, upToDate: upToDate === 'true' }
}

const askForPage = async (connection: HttpConnection, request: Buffer) => {
  const tail = createTail()
  const status = await connection.send(request, tail.add)
  if (status !== 200) throw new Error(`${status}: ${tail.text().slice(0, 500)}`)
  return readPageEnd(tail.text())
}

/** Follows the cursor from page to page, and at the end begins again. The sequences tell that nothing is left out. */
export const readPages = async (job: PagesJob): Promise<Rate> => {
  const connection = await openHttp(job.url)
  const beginning = { from: 'start=beginning', seq: 0 }
  let position = beginning
  const step = async (): Promise<number> => {
    const { seq, cursor, upToDate } = await askForPage(connection, pageRequest(job.stream, position.from))
    if (seq === undefined) {
      if (position.seq === 0) throw new Error('the stream is empty')
      position = beginning
      return await step()
    }
    if (!job.replayed && seq !== position.seq + PAGE)
      throw new Error(`a page went from ${position.seq} to ${seq}`)
    position = upToDate ? beginning : { from: `cursor=${cursor}`, seq }
    return PAGE
  }
  try {
    return await measureRate([step], job.span)
  } finally {
    connection.close()
  }
}

/** `fromSeq`: from there to the end are `messages`. `repeat`: default once. `watchedPid`: as of a span. */
export type LinesJob = {
  url: string
  stream: string
  fromSeq: number
  messages: number
  repeat?: number
  watchedPid?: number | undefined
}

export const linesRequest = (stream: string, fromSeq: number): Buffer =>
  writeRequest(`GET /v1/streams/${stream}/messages?start=seq:${fromSeq}`, { accept: LINES_TYPE })

const countLines = (part: Buffer): number => {
  let lines = 0
  for (let at = part.indexOf(NEWLINE); at !== -1; at = part.indexOf(NEWLINE, at + 1)) lines += 1
  return lines
}

/** One answer, read to its end or until `MAX_LINES_MS` are over. Answers how many messages came. */
const readAnswer = async (job: LinesJob): Promise<number> => {
  const connection = await openHttp(job.url)
  let lines = 0
  let outOfTime = false
  const late = setTimeout(() => {
    outOfTime = true
    connection.close()
  }, MAX_LINES_MS)
  try {
    const status = await connection.send(linesRequest(job.stream, job.fromSeq), (part) => {
      lines += countLines(part)
    })
    // The last line is no message.
    if (status !== 200 || lines !== job.messages + 1) throw new Error(`${status} with ${lines} lines`)
    return job.messages
  } catch (err) {
    if (!outOfTime) throw err
    return lines
  } finally {
    clearTimeout(late)
    connection.close()
  }
}

/** Reads to the end of the stream in one answer. Of one that takes too long, what came in time counts. */
export const readLines = async (job: LinesJob): Promise<Rate> => {
  const usedCpu = watchCpu(job.watchedPid)
  const before = performance.now()
  let messages = 0
  for (let time = 0; time < (job.repeat ?? 1); time++) messages += await readAnswer(job)
  return { messages, ms: performance.now() - before, ...usedCpu() }
}

export type PullJob = {
  url: string
  stream: string
  consumer: string
  clients: number
  batch: number
  span: Span
}

export const pullRequest = (stream: string, consumer: string, batch: number): Buffer =>
  writeRequest(`POST /v1/streams/${stream}/consumers/${consumer}/pull`, {
    type: JSON_TYPE,
    body: JSON.stringify({ batch, wait_ms: 0 }),
  })

export const ackRequest = (tokens: readonly string[]): Buffer =>
  writeRequest('POST /v1/acks', {
    type: JSON_TYPE,
    body: `{"acks":[${tokens.map((token) => `{"token":"${token}","action":"ack"}`).join(',')}]}`,
  })

/** Cut out by hand: what a client does with the messages is no matter here. */
export const findTokens = (pulled: string): string[] =>
  pulled
    .split('"ack_token":"')
    .slice(1)
    .map((rest) => rest.slice(0, rest.indexOf('"')))

/** Pulls a batch and acknowledges it in one request, over one connection a client, until nothing is left. */
export const pullAndAck = async (job: PullJob): Promise<Rate> => {
  const connections = await times(job.clients, () => openHttp(job.url))
  const request = pullRequest(job.stream, job.consumer, job.batch)
  const steps = connections.map((connection) => async () => {
    const tokens = findTokens(await ask(connection, request))
    if (tokens.length === 0) return 0
    const answered = await ask(connection, ackRequest(tokens))
    const settled = answered.split('"status":"ok"').length - 1
    if (settled !== tokens.length) throw new Error(`of ${tokens.length} acks ${settled} were ok: ${answered}`)
    return tokens.length
  })
  try {
    return await measureRate(steps, job.span)
  } finally {
    for (const connection of connections) connection.close()
  }
}
