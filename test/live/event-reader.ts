/** A reader of server-sent events that reads as fast as it is told, is cut in mid-event, and resumes by what it has whole. */
import { type IncomingMessage, request } from 'node:http'
import { StringDecoder } from 'node:string_decoder'
import { setTimeout as delay } from 'node:timers/promises'
import type { Message, Problem } from '../contract/client.ts'

/** What a reader asks for. */
export interface Wish {
  readonly filters: readonly string[]
  readonly start: string
  readonly onGap: 'skip' | 'error'
  readonly payload: 'text' | 'base64' | 'json'
}

export type Pace = 'fast' | 'slow' | 'stopped'

/** What it was told, in the order in which it was. */
export type Seen =
  | { readonly kind: 'message'; readonly seq: number; readonly message: Message }
  | { readonly kind: 'gap'; readonly seq: number; readonly fromSeq: number }

const SLOW_BYTES_PER_MS = 500
const GIVE_UP_MS = 20_000

/** Splits bytes into events; an event counts once its blank line is there. */
class EventParser {
  readonly #decoder = new StringDecoder('utf8')
  readonly #take: (fields: ReadonlyMap<string, string>) => void
  #text = ''

  constructor(take: (fields: ReadonlyMap<string, string>) => void) {
    this.#take = take
  }

  feed(bytes: Buffer): void {
    const blocks = (this.#text + this.#decoder.write(bytes)).split('\n\n')
    this.#text = blocks.pop() ?? ''
    for (const block of blocks) {
      const lines = block.split('\n').filter((line) => !line.startsWith(':'))
      this.#take(
        new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)])),
      )
    }
  }
}

/** Whoever opens it closes it. */
export class EventReader {
  readonly wish: Wish
  readonly seen: Seen[] = []
  /** What no reader should ever meet. */
  readonly complaints: string[] = []
  /** Whether live has begun on this connection. */
  caughtUp = false
  readonly #url: string
  #pace: Pace = 'fast'
  #paceChanged = Promise.withResolvers<void>()
  #eventSeen = Promise.withResolvers<void>()
  #lastEventId: string | undefined
  #cursor: string | undefined
  #answer: IncomingMessage | undefined
  #opening: Promise<void> | undefined
  #bytesLeft = Number.POSITIVE_INFINITY
  #closed = false

  constructor(url: string, wish: Wish) {
    this.#url = url
    this.wish = wish
  }

  /** The last sequence that an event told of. */
  get position(): number {
    return this.seen.at(-1)?.seq ?? 0
  }

  /** Whether a resume would begin where the reader began. */
  get isFresh(): boolean {
    return this.#lastEventId === undefined && this.#cursor === undefined
  }

  /** Opens or resumes; resolves when the answer has begun. */
  async open(): Promise<void> {
    if (this.#answer) return
    this.#opening ??= this.#begin().finally(() => {
      this.#opening = undefined
    })
    await this.#opening
  }

  async #begin(): Promise<void> {
    const answer = await this.#connect()
    this.#answer = answer
    this.caughtUp = false
    this.#bytesLeft = Number.POSITIVE_INFINITY
    if (this.#closed) this.#drop(answer)
    else void this.#read(answer)
  }

  set pace(pace: Pace) {
    this.#pace = pace
    this.#paceChanged.resolve()
    this.#paceChanged = Promise.withResolvers()
  }

  get pace(): Pace {
    return this.#pace
  }

  /** Loses the connection so many bytes further on, or where it stands by then. */
  async cut(afterBytes: number, withinMs: number): Promise<void> {
    await this.#opening
    const answer = this.#answer
    if (!answer) return
    this.#bytesLeft = afterBytes
    const giveUpAt = performance.now() + withinMs
    while (this.#answer === answer && this.#bytesLeft > 0 && performance.now() < giveUpAt) await delay(2)
    this.#drop(answer)
  }

  close(): void {
    this.#closed = true
    if (this.#answer) this.#drop(this.#answer)
  }

  /** Waits until an event told of this sequence or a later one. */
  async reach(seq: number): Promise<void> {
    const giveUpAt = performance.now() + GIVE_UP_MS
    while (this.position < seq && this.complaints.length === 0) {
      if (performance.now() > giveUpAt) {
        this.complaints.push(`stands at ${this.position} and never came to ${seq}`)
        return
      }
      await Promise.race([this.#eventSeen.promise, delay(200)])
    }
  }

  #drop(answer: IncomingMessage): void {
    if (this.#answer === answer) this.#answer = undefined
    answer.socket.resetAndDestroy()
  }

  async #connect(): Promise<IncomingMessage> {
    const giveUpAt = performance.now() + GIVE_UP_MS
    for (;;) {
      const answer = await this.#ask()
      if (answer.statusCode === 200) return answer
      const problem = JSON.parse(await textOf(answer)) as Problem
      if (problem.code === 'cursor_expired') this.#expired(problem)
      else if (!problem.retryable || performance.now() > giveUpAt) throw new Error(JSON.stringify(problem))
      else await delay(50)
    }
  }

  #ask(): Promise<IncomingMessage> {
    const { filters, start, onGap, payload } = this.wish
    const query = new URLSearchParams([
      ...filters.map((filter) => ['subject', filter]),
      ['on_gap', onGap],
      ...(payload === 'text' ? [] : [['payload', payload]]),
      this.#cursor === undefined ? ['start', start] : ['cursor', this.#cursor],
    ])
    const resume = this.#lastEventId === undefined ? {} : { 'Last-Event-ID': this.#lastEventId }
    return new Promise((resolve, reject) => {
      request(`${this.#url}?${query}`, {
        agent: false,
        headers: { Accept: 'text/event-stream', ...resume },
      })
        .on('response', resolve)
        .on('error', reject)
        .end()
    })
  }

  async #read(answer: IncomingMessage): Promise<void> {
    const parser = new EventParser((fields) => this.#take(fields))
    try {
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        if (this.#answer !== answer) return
        parser.feed(chunk.subarray(0, this.#bytesLeft))
        this.#bytesLeft -= chunk.length
        if (this.#bytesLeft <= 0) return this.#drop(answer)
        await this.#rest(chunk.length, answer)
      }
      this.#ended(answer, 'was ended by the bridge')
    } catch (failure) {
      this.#ended(answer, `broke: ${failure}`)
    }
  }

  #ended(answer: IncomingMessage, how: string): void {
    if (this.#answer === answer && !this.#closed) this.complaints.push(how)
  }

  /** As long as its pace wants, or until it is told another. */
  async #rest(bytes: number, answer: IncomingMessage): Promise<void> {
    if (this.#pace === 'slow')
      await Promise.race([delay(bytes / SLOW_BYTES_PER_MS), this.#paceChanged.promise])
    while (this.#pace === 'stopped' && this.#answer === answer)
      await Promise.race([this.#paceChanged.promise, delay(50)])
  }

  #take(fields: ReadonlyMap<string, string>): void {
    const [event, id, data] = [fields.get('event'), fields.get('id'), fields.get('data')]
    if (id !== undefined) {
      this.#lastEventId = id
      this.#cursor = undefined
    }
    if (event !== undefined) this.#takeEvent(event, id, JSON.parse(data ?? ''))
    this.#eventSeen.resolve()
    this.#eventSeen = Promise.withResolvers()
  }

  #takeEvent(
    event: string,
    id: string | undefined,
    data: Message & Problem & { from_seq: number; to_seq: number },
  ) {
    switch (event) {
      case 'message':
        this.seen.push({ kind: 'message', seq: data.seq, message: data })
        break
      case 'gap':
        if (this.wish.onGap === 'error') this.complaints.push(`heard of a gap it did not ask for`)
        this.seen.push({ kind: 'gap', seq: data.to_seq, fromSeq: data.from_seq })
        break
      case 'caught_up':
        if (this.caughtUp) this.complaints.push('was caught up twice')
        this.caughtUp = true
        break
      default:
        return this.#fail(data)
    }
    if (data.cursor !== id) this.complaints.push(`has an event whose id is not its cursor`)
  }

  #fail(problem: Problem): void {
    if (problem.code !== 'cursor_expired' || this.wish.onGap === 'skip')
      this.complaints.push(`failed: ${JSON.stringify(problem)}`)
    else {
      this.#expired(problem)
      if (this.#answer) this.#drop(this.#answer)
      this.open().catch((failure) => this.complaints.push(`could not go on behind a gap: ${failure}`))
    }
  }

  /** A reader that asked to be refused at a gap goes on behind it, and knows what it missed. */
  #expired({ earliest_seq = 0, missed = 0, earliest_cursor }: Problem): void {
    if (this.wish.onGap === 'skip') this.complaints.push('was refused at a gap that it asked to skip')
    this.seen.push({ kind: 'gap', seq: earliest_seq - 1, fromSeq: earliest_seq - missed })
    this.#lastEventId = undefined
    this.#cursor = earliest_cursor
  }
}

const textOf = async (answer: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}
