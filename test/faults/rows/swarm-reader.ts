/** One of very many readers of server-sent events: over a bare socket, with no more work than has to be. */
import { connect, type Socket } from 'node:net'
import { AnswerParts } from './answer-parts.ts'
import type { Entry } from './log-check.ts'

interface SwarmMessage {
  readonly seq: number
  readonly data: string
}

export interface SwarmOptions {
  readonly port: number
  /** With its query; what it answers is server-sent events. */
  readonly path: string
  readonly heard?: (message: SwarmMessage) => void
}

/** Whoever opens it cuts it. It goes on by `Last-Event-ID` each time it is opened. */
export class SwarmReader {
  readonly seen: Entry[] = []
  readonly #options: SwarmOptions
  #lastEventId: string | undefined
  #socket: Socket | undefined
  #text = ''
  #begun: (() => void) | undefined
  #caughtUp: (() => void) | undefined

  constructor(options: SwarmOptions) {
    this.#options = options
  }

  get isOpen(): boolean {
    return this.#socket !== undefined && !this.#socket.destroyed
  }

  get position(): number {
    return this.seen.at(-1)?.seq ?? 0
  }

  /** Resolves at the first event, or at the live end. Throws where the answer is none, or breaks before. */
  open(until: 'begun' | 'live'): Promise<void> {
    const { port } = this.#options
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#begun = until === 'begun' ? resolve : undefined
    this.#caughtUp = until === 'live' ? resolve : undefined
    this.#text = ''
    const answer = new AnswerParts()
    const socket = connect(port, '127.0.0.1')
    this.#socket = socket
    socket.on('data', (bytes) => {
      const body = answer.take(bytes)
      if (answer.isHeadOver && answer.status !== 200) {
        reject(new Error(`The reader was answered ${answer.status}`))
        socket.destroy()
      } else if (body.length > 0) this.#read(Buffer.concat(body).toString('latin1'))
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('The bridge closed the connection')))
    socket.write(this.#request())
    return promise
  }

  cut(how: 'reset' | 'close'): void {
    if (how === 'reset') this.#socket?.resetAndDestroy()
    else this.#socket?.destroy()
  }

  /** Takes no more than a byte now and then, from now on. Answers what takes the next one. */
  slowDown(): () => void {
    this.#socket?.removeAllListeners('data')
    this.#socket?.pause()
    return () => void this.#socket?.read(1)
  }

  #request(): string {
    const resume = this.#lastEventId === undefined ? '' : `Last-Event-ID: ${this.#lastEventId}\r\n`
    return `GET ${this.#options.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n${resume}\r\n`
  }

  /** All that is written to these streams is ASCII. */
  #read(text: string): void {
    const blocks = (this.#text + text).split('\n\n')
    this.#text = blocks.pop() ?? ''
    for (const block of blocks) this.#take(block)
  }

  #take(block: string): void {
    let data: string | undefined
    let event: string | undefined
    for (const line of block.split('\n')) {
      if (line.startsWith('id: ')) this.#lastEventId = line.slice(4)
      else if (line.startsWith('event: ')) event = line.slice(7)
      else if (line.startsWith('data: ')) data = line.slice(6)
    }
    this.#begun?.()
    if (event === 'caught_up') this.#caughtUp?.()
    if (event !== 'message' || data === undefined) return
    const message = JSON.parse(data) as SwarmMessage
    this.seen.push({ seq: message.seq, payload: message.data })
    this.#options.heard?.(message)
  }
}
