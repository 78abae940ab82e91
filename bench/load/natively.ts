/** The same jobs as a native client does them: nats.ws, raw requests, on one connection. */
import { connect, createInbox, type Msg, type NatsConnection } from 'nats.ws'
import { makePayload } from './payload.ts'
import { measureRate, type Rate, type Span, times, watchCpu } from './rate.ts'

const UTF8 = new TextEncoder()
const REQUEST_TIMEOUT_MS = 10_000
const PAGE = 1_000

const encode = (value: object): Uint8Array => UTF8.encode(JSON.stringify(value))

let connection: NatsConnection | undefined

/** Kept over all jobs of this process, as an application keeps it. */
export const client = async (url: string): Promise<NatsConnection> => {
  connection ??= await connect({ servers: url, name: 'bench' })
  return connection
}

export type NativePublishJob = { url: string; subject: string; window: number; bytes: number; span: Span }

/** Publishes with `window` messages waiting for their PubAck. */
export const publishNatively = async (job: NativePublishJob): Promise<Rate> => {
  const nats = await client(job.url)
  const payload = UTF8.encode(makePayload(job.bytes))
  const steps = Array.from({ length: job.window }, (_, index) => async () => {
    const reply = await nats.request(`${job.subject}.${index}`, payload, { timeout: REQUEST_TIMEOUT_MS })
    if (!reply.json<{ seq?: number }>().seq) throw new Error(`no PubAck: ${reply.string()}`)
    return 1
  })
  return await measureRate(steps, job.span)
}

/** Sends a request of many replies and hands each to `take` until that answers true. */
const exchange = (
  nats: NatsConnection,
  request: { subject: string; body: object },
  take: (reply: Msg) => boolean,
): Promise<void> =>
  new Promise((resolve, reject) => {
    const end = (err?: unknown) => {
      clearTimeout(late)
      subscription.unsubscribe()
      if (err) reject(err)
      else resolve()
    }
    const late = setTimeout(() => end(new Error('no reply in time')), REQUEST_TIMEOUT_MS)
    const subscription = nats.subscribe(createInbox(), {
      callback: (err, reply) => {
        try {
          if (err) end(err)
          else if (take(reply)) end()
        } catch (failure) {
          end(failure)
        }
      },
    })
    nats.publish(request.subject, encode(request.body), { reply: subscription.getSubject() })
  })

/** One batched Direct Get. Only the reply that ends it has no payload. */
const directGet = async (nats: NatsConnection, stream: string, seq: number): Promise<number> => {
  let messages = 0
  const body = { seq, next_by_subj: '>', batch: PAGE }
  await exchange(nats, { subject: `$JS.API.DIRECT.GET.${stream}`, body }, (reply) => {
    if (reply.data.length > 0) {
      messages += 1
      return false
    }
    const code = reply.headers?.code
    if (code !== 204 && code !== 404) throw new Error(`Direct Get: ${code} ${reply.headers?.description}`)
    return true
  })
  return messages
}

export type DirectGetJob = { url: string; stream: string; span: Span }

/** Reads batch after batch of 1,000 by Direct Get, and at the end begins again. */
export const readBatches = async (job: DirectGetJob): Promise<Rate> => {
  const nats = await client(job.url)
  let seq = 1
  const step = async () => {
    const messages = await directGet(nats, job.stream, seq)
    seq = messages < PAGE ? 1 : seq + messages
    return messages === 0 ? await directGet(nats, job.stream, seq) : messages
  }
  return await measureRate([step], job.span)
}

export type CatchUpJob = { url: string; stream: string; messages: number }

/** Reads the first `messages` of the stream, batch after batch of 1,000. */
export const catchUp = async (job: CatchUpJob): Promise<Rate> => {
  const nats = await client(job.url)
  const usedCpu = watchCpu()
  const before = performance.now()
  let messages = 0
  while (messages < job.messages) {
    const batch = await directGet(nats, job.stream, messages + 1)
    if (batch === 0) throw new Error(`the stream ended after ${messages} messages`)
    messages += batch
  }
  return { messages, ms: performance.now() - before, ...usedCpu() }
}

export type NativePullJob = {
  url: string
  stream: string
  consumer: string
  clients: number
  batch: number
  /** Whether the server's answer to each ack is waited for, as the bridge does. */
  confirmed: boolean
  span: Span
}

const pull = async (nats: NatsConnection, job: NativePullJob): Promise<Msg[]> => {
  const messages: Msg[] = []
  const subject = `$JS.API.CONSUMER.MSG.NEXT.${job.stream}.${job.consumer}`
  await exchange(nats, { subject, body: { batch: job.batch, no_wait: true } }, (reply) => {
    if (!reply.reply) return true
    messages.push(reply)
    return messages.length === job.batch
  })
  return messages
}

/** Pulls a batch and acknowledges each message of it, in `clients` loops on the one connection. */
export const pullAndAckNatively = async (job: NativePullJob): Promise<Rate> => {
  const nats = await client(job.url)
  const ack = UTF8.encode('+ACK')
  const settle = async ({ reply = '' }: Msg) => {
    if (job.confirmed) await nats.request(reply, ack, { timeout: REQUEST_TIMEOUT_MS })
    else nats.publish(reply, ack)
  }
  const step = async () => {
    const messages = await pull(nats, job)
    await Promise.all(messages.map(settle))
    return messages.length
  }
  const rate = await measureRate(
    Array.from({ length: job.clients }, () => step),
    job.span,
  )
  await nats.flush()
  return rate
}

export type StoreJob = { url: string; subject: string; messages: number; bytes: number }

const STORE_CHUNK = 1_000
const STORE_WINDOW = 3

/** Fills a stream. The last message of each chunk is acked, and with it those before: a stream stores in order. */
export const store = async (job: StoreJob): Promise<void> => {
  const nats = await client(job.url)
  const payload = UTF8.encode(makePayload(job.bytes))
  let left = job.messages
  await times(STORE_WINDOW, async () => {
    while (left > 0) {
      const chunk = Math.min(STORE_CHUNK, left)
      left -= chunk
      for (let index = 1; index < chunk; index++) nats.publish(job.subject, payload)
      await nats.request(job.subject, payload, { timeout: REQUEST_TIMEOUT_MS })
    }
  })
}

/** What is read of the API's answers. */
type ApiAnswer = { error?: { description: string }; state?: { messages: number; consumer_count: number } }

/** Asks the JetStream API. Throws with what it complains of. */
export const askApi = async (job: { url: string; path: string; body?: object }): Promise<ApiAnswer> => {
  const nats = await client(job.url)
  const body = job.body && encode(job.body)
  const reply = (
    await nats.request(`$JS.API.${job.path}`, body, { timeout: REQUEST_TIMEOUT_MS })
  ).json<ApiAnswer>()
  if (reply.error) throw new Error(`${job.path}: ${reply.error.description}`)
  return reply
}
