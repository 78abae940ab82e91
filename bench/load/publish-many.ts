/** The jobs of an HTTP client that publishes many messages by one request: lines as they are taken, and batches. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  ask,
  type HttpConnection,
  LAST_CHUNK,
  openHttp,
  writeChunk,
  writeHead,
  writeRequest,
} from './http.ts'
import { makeText } from './payload.ts'
import { createCounter, measureRate, type Rate, type Span } from './rate.ts'

const REQUEST = 'POST /v1/messages'
const LINES_TYPE = 'application/x-ndjson'
const JSON_TYPE = 'application/json'
/** Lines that are written at once, again and again: to make them costs more than to send them. */
const LINES_AT_ONCE = 256

export type PublishManyJob = { url: string; subject: string; bytes: number; span: Span }

/** Each has a subject of its own, as the messages that a native client has under way. */
const messagesOf = ({ subject, bytes }: PublishManyJob, count: number): string[] =>
  Array.from({ length: count }, (_, index) =>
    JSON.stringify({ subject: `${subject}.${index}`, data: makeText(bytes) }),
  )

/** What is read of a result. */
type Said = { index?: number; seq?: number }

/** Throws where a result is not the next one of its request, or its sequence not the next one of the stream. */
const createCheck = () => {
  let last: number | undefined
  return ({ index, seq }: Said, expected: number): void => {
    if (index !== expected || seq === undefined || seq !== (last ?? seq - 1) + 1)
      throw new Error(`after seq ${last}, result ${expected} was ${JSON.stringify({ index, seq })}`)
    last = seq
  }
}

/** Takes results apart, however they are cut, and answers how many lines each part ended. */
const createResultReader = () => {
  const check = createCheck()
  let rest = ''
  let results = 0
  return {
    take(part: Buffer): number {
      const lines = (rest + part.toString('latin1')).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) check(readResult(line), results++)
      return lines.length
    },
    results: () => results,
    rest: () => rest,
  }
}

const readResult = (line: string): Said => {
  const said = JSON.parse(line) as Said
  if (said.seq === undefined) throw new Error(`not stored: ${line.slice(0, 500)}`)
  return said
}

/** Writes lines as the connection takes them until nothing more counts, and ends the body. Answers how many. */
const sendLines = async (
  connection: HttpConnection,
  job: PublishManyJob,
  isOver: () => boolean,
): Promise<number> => {
  const chunk = writeChunk(`${messagesOf(job, LINES_AT_ONCE).join('\n')}\n`)
  let lines = 0
  for (; !isOver(); lines += LINES_AT_ONCE) {
    await connection.write(chunk)
    // Writes that are done at once would never let it hear of the results.
    await nextTurn()
  }
  await connection.write(LAST_CHUNK)
  return lines
}

/** Publishes by one request and reads its results meanwhile. Throws where one is missing or out of order. */
export const publishLines = async (job: PublishManyJob): Promise<Rate> => {
  const connection = await openHttp(job.url)
  const counter = createCounter(job.span)
  const reader = createResultReader()
  try {
    const answered = connection
      .send(writeHead(REQUEST, LINES_TYPE), (part) => counter.count(reader.take(part)))
      .then((status) => {
        if (status !== 200) throw new Error(`${status}: ${reader.rest()}`)
      })
    const [sent] = await Promise.all([sendLines(connection, job, counter.isOver), answered])
    if (reader.results() !== sent) throw new Error(`${reader.results()} results of ${sent} lines`)
    return counter.rate()
  } finally {
    connection.close()
  }
}

export type PublishBatchesJob = PublishManyJob & { batch: number }

/** Publishes JSON batches over one connection, one request at a time. */
export const publishBatches = async (job: PublishBatchesJob): Promise<Rate> => {
  const connection = await openHttp(job.url)
  const body = `{"messages":[${messagesOf(job, job.batch).join(',')}]}`
  const request = writeRequest(REQUEST, { type: JSON_TYPE, body })
  const check = createCheck()
  const step = async () => {
    const { results } = JSON.parse(await ask(connection, request)) as { results: Said[] }
    if (results.length !== job.batch) throw new Error(`${results.length} results of ${job.batch} messages`)
    for (const [index, result] of results.entries()) check(result, index)
    return results.length
  }
  try {
    return await measureRate([step], job.span)
  } finally {
    connection.close()
  }
}
