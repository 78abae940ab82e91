/** The same jobs as a client of webdis does them: Redis streams over HTTP, with the same client. */
import { connect } from 'node:net'
import { ask, openHttp, writeRequest } from './http.ts'
import { makePayload } from './payload.ts'
import { measureRate, type Rate, type Span, times, watchCpu } from './rate.ts'

const PAGE = 1_000
const MAX_STREAM_MS = 10_000

/**
 * Debian's webdis writes null for what Redis answers of streams, since that nests too deep for it: these scripts flatten
 * it to ids and payloads in turn, inside Redis.
 */
const RANGE =
  'local f={} for _,e in ipairs(redis.call("XRANGE",KEYS[1],ARGV[1],"+","COUNT",ARGV[2])) do ' +
  'f[#f+1]=e[1] f[#f+1]=e[2][2] end return f'
const READ_GROUP =
  'local f={} local r=redis.call("XREADGROUP","GROUP",ARGV[1],"bench","COUNT",ARGV[2],"STREAMS",KEYS[1],">") ' +
  'if r then for _,e in ipairs(r[1][2]) do f[#f+1]=e[1] f[#f+1]=e[2][2] end end return f'
const FILL =
  'redis.call("DEL",KEYS[1]) for i=1,tonumber(ARGV[1]) do redis.call("XADD",KEYS[1],"0-"..i,"data",ARGV[2]) end'

export type WebdisPublishJob = { url: string; key: string; clients: number; bytes: number; span: Span }

const addRequest = ({ key, bytes }: Pick<WebdisPublishJob, 'key' | 'bytes'>, client: number): Buffer =>
  writeRequest(`PUT /XADD/${key}.${client}/*/data`, { body: makePayload(bytes) })

/** Adds over one connection a client, each with one request under way and a stream of its own. */
export const publish = async (job: WebdisPublishJob): Promise<Rate> => {
  const connections = await times(job.clients, () => openHttp(job.url))
  const steps = connections.map((connection, client) => {
    const request = addRequest(job, client)
    return async () => {
      const answer = await ask(connection, request)
      if (!answer.startsWith('{"XADD":"')) throw new Error(`not added: ${answer}`)
      return 1
    }
  })
  try {
    return await measureRate(steps, job.span)
  } finally {
    for (const connection of connections) connection.close()
  }
}

const bulk = (parts: readonly string[]): string =>
  `*${parts.length}\r\n${parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join('')}`

export type FillJob = { port: number; key: string; messages: number; bytes: number }

/** Fills a stream by a script, past webdis. The ids are 0-1, 0-2 and so on. */
export const fill = ({ port, key, messages, bytes }: FillJob): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('data', (answer) => {
      socket.destroy()
      // The script answers nothing.
      if (answer.toString('latin1') === '$-1\r\n') resolve()
      else reject(new Error(`Redis: ${answer.toString('latin1')}`))
    })
    socket.once('error', reject)
    socket.write(bulk(['EVAL', FILL, '1', key, String(messages), makePayload(bytes)]))
  })

/** Keeps a script, and answers the path that calls it for a stream. */
const loadScript = async (url: string, script: string, key: string): Promise<string> => {
  const connection = await openHttp(url)
  const answer = await ask(connection, writeRequest('PUT /SCRIPT/LOAD', { body: script }))
  connection.close()
  const [sha] = /[0-9a-f]{40}/.exec(answer) ?? []
  if (sha === undefined) throw new Error(`no script: ${answer}`)
  return `/EVALSHA/${sha}/1/${key}`
}

/** The number of the last id on a page; undefined where the page is empty. */
const lastOf = (page: string): number | undefined => {
  const id = page.lastIndexOf('"0-')
  if (id === -1 && page !== '{"EVALSHA":[]}') throw new Error(`not a page: ${page.slice(0, 200)}`)
  return id === -1 ? undefined : Number(/\d+/.exec(page.slice(id + 3, id + 20))?.[0])
}

export type WebdisPagesJob = { url: string; key: string; span: Span }

/** Pages of 1,000 one after the other, and at the end begins again. */
export const readPages = async (job: WebdisPagesJob): Promise<Rate> => {
  const script = await loadScript(job.url, RANGE, job.key)
  const connection = await openHttp(job.url)
  let last = 0
  const step = async (): Promise<number> => {
    const page = await ask(connection, writeRequest(`GET ${script}/(0-${last}/${PAGE}`))
    const found = lastOf(page)
    if (found === undefined) {
      if (last === 0) throw new Error('the stream is empty')
      last = 0
      return await step()
    }
    const messages = found - last
    if (messages > PAGE) throw new Error(`a page went from ${last} to ${found}`)
    last = found
    return messages
  }
  try {
    return await measureRate([step], job.span)
  } finally {
    connection.close()
  }
}

export type WebdisStreamJob = { url: string; key: string; messages: number; watchedPid?: number }

/** The first `messages`, page after page. Of what takes too long, what came in time counts. */
export const readStream = async (job: WebdisStreamJob): Promise<Rate> => {
  const script = await loadScript(job.url, RANGE, job.key)
  const connection = await openHttp(job.url)
  const usedCpu = watchCpu(job.watchedPid)
  const before = performance.now()
  let messages = 0
  try {
    while (messages < job.messages && performance.now() - before < MAX_STREAM_MS) {
      const page = await ask(connection, writeRequest(`GET ${script}/(0-${messages}/${PAGE}`))
      const last = lastOf(page)
      if (last === undefined) throw new Error(`the stream ended after ${messages} messages`)
      messages = last
    }
    return { messages, ms: performance.now() - before, ...usedCpu() }
  } finally {
    connection.close()
  }
}

export type WebdisGroupJob = { url: string; key: string; group: string }

/** Makes a group that has read nothing yet, also where there was one of that name. */
export const makeGroup = async ({ url, key, group }: WebdisGroupJob): Promise<void> => {
  const connection = await openHttp(url)
  await ask(connection, writeRequest(`GET /XGROUP/DESTROY/${key}/${group}`))
  const answer = await ask(connection, writeRequest(`GET /XGROUP/CREATE/${key}/${group}/0`))
  connection.close()
  if (!answer.includes('OK')) throw new Error(`no group: ${answer}`)
}

export type WebdisPullJob = WebdisGroupJob & { clients: number; batch: number; span: Span }

/** Pulls a batch and acknowledges it in one request, over one connection a client, until nothing is left. */
export const pullAndAck = async (job: WebdisPullJob): Promise<Rate> => {
  const script = await loadScript(job.url, READ_GROUP, job.key)
  const connections = await times(job.clients, () => openHttp(job.url))
  const request = writeRequest(`GET ${script}/${job.group}/${job.batch}`)
  const steps = connections.map((connection) => async () => {
    const ids = (await ask(connection, request)).match(/"0-\d+"/g) ?? []
    if (ids.length === 0) return 0
    const path = ids.map((id) => id.slice(1, -1)).join('/')
    const acked = await ask(
      connection,
      writeRequest('POST /', { body: `XACK/${job.key}/${job.group}/${path}` }),
    )
    if (acked !== `{"XACK":${ids.length}}`) throw new Error(`of ${ids.length} acks: ${acked}`)
    return ids.length
  })
  try {
    return await measureRate(steps, job.span)
  } finally {
    for (const connection of connections) connection.close()
  }
}
