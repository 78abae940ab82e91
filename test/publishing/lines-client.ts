/** A client that publishes lines on a connection of its own: it writes as fast as they are taken, and reads meanwhile. */
import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import type { Problem } from '../contract/client.ts'

/** A line of the answer: of the message at `index`, or the last one of an answer that could not go on. */
export interface ResultLine {
  readonly index?: number
  readonly stream?: string
  readonly seq?: number
  readonly duplicate?: boolean
  readonly error?: Problem
}

/** Whoever opens it ends it, by `end` or `reset`. */
export interface LinesClient {
  /** All that have come so far. */
  readonly results: readonly ResultLine[]
  /** Settles once the kernel has taken it, or the connection is no more. */
  write(text: string | Uint8Array): Promise<void>
  /** The body is whole. */
  end(): void
  /** Leaves as a client that was killed. */
  reset(): void
  /** Settles when there are so many results; throws when the answer ends before. */
  resultsCome(count: number): Promise<void>
  /** Reads no further results, and again. */
  pause(): void
  resume(): void
  /** Whether the connection is no more, or the answer is whole. */
  isOver(): boolean
  /** Settles when the answer is over: with its status, or `broken` where it did not come to its end. */
  readonly answered: Promise<number | 'broken'>
  /** Of the connection: its own port, and the bytes that the kernel has taken of it. */
  port(): number
  bytesTaken(): number
}

/** Begins a publish of lines; `headers`: besides its type. */
export async function openLines(
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<LinesClient> {
  const sent = request(`${url}/v1/messages`, {
    method: 'POST',
    agent: false,
    headers: { 'Content-Type': 'application/x-ndjson', ...headers },
  })
  const results: ResultLine[] = []
  const waiting = new Set<() => void>()
  const tell = () => {
    for (const wake of [...waiting]) wake()
  }
  let response: IncomingMessage | undefined
  let outcome: number | 'broken' | undefined

  const receive = async (message: IncomingMessage) => {
    let rest = ''
    message.setEncoding('utf8')
    for await (const chunk of message as AsyncIterable<string>) {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) results.push(JSON.parse(line) as ResultLine)
      tell()
    }
    if (rest !== '') results.push({ error: JSON.parse(rest) as Problem })
    return message.complete ? (message.statusCode ?? 0) : 'broken'
  }
  const answered = new Promise<number | 'broken'>((resolve) => {
    sent.once('response', (message) => {
      response = message
      receive(message).then(resolve, () => resolve('broken'))
    })
    // Before an answer nothing else tells of it; after it, the answer does.
    sent.on('error', () => response || resolve('broken'))
    sent.once('close', () => response || resolve('broken'))
  }).then((how) => {
    outcome = how
    tell()
    return how
  })
  sent.flushHeaders()
  await Promise.race([connected(sent), answered])

  return {
    results,
    answered,
    async write(text) {
      if (outcome !== undefined || sent.destroyed) return
      const taken = new Promise<void>((resolve) => {
        sent.write(text, () => resolve())
      })
      await Promise.race([taken, answered])
    },
    end: () => void sent.end(),
    reset: () => void sent.socket?.resetAndDestroy(),
    async resultsCome(count) {
      while (results.length < count) {
        if (outcome !== undefined) throw new Error(`Answered with ${results.length} results: ${outcome}`)
        await new Promise<void>((resolve) => {
          const wake = () => {
            waiting.delete(wake)
            resolve()
          }
          waiting.add(wake)
        })
      }
    },
    pause: () => void response?.socket.pause(),
    resume: () => void response?.socket.resume(),
    isOver: () => outcome !== undefined,
    port: () => sent.socket?.localPort ?? 0,
    bytesTaken: () => (sent.socket?.bytesWritten ?? 0) - (sent.socket?.writableLength ?? 0),
  }
}

async function connected(sent: ClientRequest): Promise<void> {
  const socket = sent.socket ?? ((await once(sent, 'socket')) as [NonNullable<ClientRequest['socket']>])[0]
  if (socket.connecting) await once(socket, 'connect')
}
