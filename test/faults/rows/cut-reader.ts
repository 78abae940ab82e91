/** A reader of server-sent events that is cut at a byte of its answer, and goes on by `Last-Event-ID`. */
import { connect, type Socket } from 'node:net'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import type { Message } from '../../contract/client.ts'
import { payloadOf } from '../../contract/expectations.ts'
import { AnswerParts } from './answer-parts.ts'
import type { Entry } from './log-check.ts'

/** Where an answer is cut. */
export interface Cut {
  /**
   * What `offset` counts the bytes of: `head`; `frame`: what is around the chunks; `event`: a message's event; `block`:
   * whatever the reader is told, also `retry` and heartbeats.
   */
  readonly in: 'head' | 'frame' | 'event' | 'block'
  /** Events or blocks that are let pass whole before. */
  readonly after: number
  /** Bytes that are let pass then; where there are less, it is cut behind them. */
  readonly offset: number
  /** All is counted from the live end on. */
  readonly live: boolean
  readonly how: 'reset' | 'close'
}

/** Where it came to be cut. */
export interface Hit {
  /** Bytes of the last event or block that had come of it. */
  readonly offset: number
  readonly isInCharacter: boolean
}

const GIVE_UP_MS = 15_000
const LINE_FEED = 0x0a

/** What was read over one connection. */
class Reading {
  readonly seen: Entry[] = []
  lastEventId: string | undefined
  /** The longest event that came whole, bytes. */
  longest = 0
  shortest = Number.POSITIVE_INFINITY
  readonly #cut: Cut
  readonly #caughtUp: () => void
  readonly #answer = new AnswerParts()
  readonly #parser = createParser({
    onId: (id) => {
      this.lastEventId = id
    },
    onEvent: (event) => this.#dispatch(event),
  })
  #line: number[] = []
  #isCounting: boolean
  #passed = { head: 0, frame: 0, event: 0, block: 0 }
  #offset = 0
  #last = 0

  constructor(cut: Cut, caughtUp: () => void) {
    this.#cut = cut
    this.#caughtUp = caughtUp
    this.#isCounting = !cut.live
  }

  get hit(): Hit {
    // Of UTF-8, what begins or goes on a character of more than one byte, and does not end it.
    const isInCharacter = this.#line.length > 0 && Buffer.from(this.#line).toString().endsWith('\ufffd')
    return { offset: this.#offset, isInCharacter }
  }

  isCut(): boolean {
    const { in: where, after, offset } = this.#cut
    if (!this.#isCounting) return false
    if (where === 'head' || where === 'frame') {
      if (where === 'head' && this.#answer.isHeadOver) return true
      return this.#passed[where] >= offset
    }
    if (this.#passed[where] > after) return true
    return this.#passed[where] === after && this.#offset >= offset && this.#answer.isHeadOver
  }

  /** Takes the next byte. Throws where the answer is none, or is over. */
  take(byte: Buffer): void {
    const isHead = !this.#answer.isHeadOver
    const [piece] = this.#answer.take(byte)
    if (this.#answer.isHeadOver && this.#answer.status !== 200)
      throw new Error(`The reader was answered ${this.#answer.status}`)
    if (this.#answer.hasEnded) throw new Error('The bridge ended the stream')
    if (piece) this.#read(piece[0] ?? 0)
    else this.#passed[isHead ? 'head' : 'frame'] += 1
  }

  #read(byte: number): void {
    this.#offset += 1
    this.#line.push(byte)
    if (byte === LINE_FEED) {
      const events = this.#passed.event
      this.#parser.feed(Buffer.from(this.#line).toString())
      this.#line = []
      if (this.#last === LINE_FEED) this.#endBlock(this.#passed.event > events)
    }
    this.#last = byte
  }

  #endBlock(isEvent: boolean): void {
    if (isEvent) {
      this.longest = Math.max(this.longest, this.#offset)
      this.shortest = Math.min(this.shortest, this.#offset)
    }
    this.#passed.block += 1
    this.#offset = 0
  }

  #dispatch({ event, id, data }: EventSourceMessage): void {
    const message = JSON.parse(data) as Message
    if (message.cursor !== id) throw new Error(`The id of an event is not its cursor: ${data}`)
    if (event === 'caught_up') {
      this.#passed = { head: 0, frame: 0, event: 0, block: -1 }
      this.#isCounting = true
      this.#caughtUp()
    } else if (event === 'message') {
      this.seen.push({ seq: message.seq, payload: payloadOf(message).toString('base64') })
      this.#passed.event += 1
    } else throw new Error(`The reader was told ${event}: ${data}`)
  }
}

/** Whoever reads with it reads until a cut, again and again. */
export class CutReader {
  readonly seen: Entry[] = []
  longest = 0
  shortest = Number.POSITIVE_INFINITY
  readonly #port: number
  readonly #path: string
  #lastEventId: string | undefined

  /** `path`: of a stream's messages, with its query. */
  constructor(url: string, path: string) {
    this.#port = Number(new URL(url).port)
    this.#path = path
  }

  get position(): number {
    return this.seen.at(-1)?.seq ?? 0
  }

  /** Connects and reads until the cut; `caughtUp` hears of the live end. Throws where that does not come. */
  async read(cut: Cut, caughtUp: () => void = () => undefined): Promise<Hit> {
    const reading = new Reading(cut, caughtUp)
    const socket = connect(this.#port, '127.0.0.1')
    const giveUp = () =>
      socket.destroy(new Error(`Nothing to cut at ${JSON.stringify(cut)} in ${GIVE_UP_MS} ms`))
    const timer = setTimeout(giveUp, GIVE_UP_MS)
    socket.write(this.#request())
    try {
      await readUntilCut(socket, reading)
    } finally {
      clearTimeout(timer)
      if (cut.how === 'reset') socket.resetAndDestroy()
      else socket.destroy()
      this.#keep(reading)
    }
    return reading.hit
  }

  #keep({ seen, lastEventId, longest, shortest }: Reading): void {
    for (const entry of seen) this.seen.push(entry)
    this.#lastEventId = lastEventId ?? this.#lastEventId
    this.longest = Math.max(this.longest, longest)
    this.shortest = Math.min(this.shortest, shortest)
  }

  #request(): string {
    const resume = this.#lastEventId === undefined ? '' : `Last-Event-ID: ${this.#lastEventId}\r\n`
    return `GET ${this.#path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n${resume}\r\n`
  }
}

async function readUntilCut(socket: Socket, reading: Reading): Promise<void> {
  if (reading.isCut()) return
  for await (const bytes of socket as AsyncIterable<Buffer>)
    for (let at = 0; at < bytes.length; at += 1) {
      reading.take(bytes.subarray(at, at + 1))
      if (reading.isCut()) return
    }
  throw new Error('The bridge closed the connection')
}
