/** A client of server-sent events that is cut, stalls and resumes, and whether it is told all there is. */
import type { Gap } from '../../src/reading.ts'
import { cannotBeTold, isLost, open } from './position.ts'
import { complaintsAbout, matches, type Told } from './run-oracle.ts'
import type { SimulatedStream } from './simulated-stream.ts'
import { type Problem, STREAM, type World } from './world.ts'

export interface EventWish {
  readonly filters: readonly string[]
  readonly start: 'beginning' | 'new'
  readonly onGap: 'error' | 'skip'
}

type Body = ReadableStreamDefaultReader<Uint8Array>

const decoder = new TextDecoder()

export class EventClient {
  readonly wish: EventWish
  readonly #world: World
  #lastId: string | undefined
  /** When it heard that. */
  #lastOp = 0
  /** Whether that says at which message it stands; right behind a gap there is none. */
  #isTimed = true
  #stream: SimulatedStream | undefined
  readonly #messages: Told[] = []
  readonly #gaps: Gap[] = []
  /** It began right after this sequence, at this operation. */
  #after = 0
  #begunOp = 0
  /** When it asked for that. */
  #askedOp = 0
  #at = 0
  #body: Body | undefined
  #isStalled = false
  #hasRead = false
  #resume: () => void = () => undefined
  #text = ''
  /** What ended it for good. */
  ended: Problem | undefined
  #isOpening = false

  constructor(world: World, wish: EventWish) {
    this.#world = world
    this.wish = wish
  }

  get isOpen(): boolean {
    return this.#body !== undefined
  }

  /** Opens, or resumes after the last event it has. */
  async open(): Promise<void> {
    if (this.isOpen || this.ended || this.#isOpening) return
    this.#isOpening = true
    const { filters, start, onGap } = this.wish
    const query = new URLSearchParams(filters.map((filter) => ['subject', filter]))
    query.set('on_gap', onGap)
    if (this.#lastId === undefined) query.set('start', start)
    const invokedSeq = this.#world.stream?.lastSeq ?? 0
    const invokedOp = this.#world.ops
    if (this.#lastId === undefined) this.#askedOp = invokedOp
    const response = await this.#world.bridge.fetch(
      this.#world.request(`/v1/streams/${STREAM}/messages?${query}`, {
        headers: { Accept: 'text/event-stream', ...(this.#lastId ? { 'Last-Event-ID': this.#lastId } : {}) },
      }),
    )
    this.#isOpening = false
    if (response.status !== 200)
      return this.#refused(response.status, JSON.parse(await response.text()) as Problem)
    this.#checkResumed(invokedOp)
    if (this.#lastId === undefined) {
      this.#begunOp = this.#world.ops
      this.#after = start === 'new' ? Math.max(invokedSeq, this.#world.stream?.lastSeq ?? 0) : 0
    }
    this.#text = ''
    this.#hasRead = false
    this.#body = response.body?.getReader() as Body
    this.#world.begin('Events', () => Promise.resolve())
    void this.#readAll(this.#body)
  }

  stall(): void {
    this.#isStalled = true
  }

  unstall(): void {
    this.#isStalled = false
    this.#resume()
  }

  /** What was written and not read is lost. */
  cut(): void {
    const body = this.#body
    this.#body = undefined
    this.unstall()
    body?.cancel().catch(() => undefined)
  }

  /** Whether it has heard of everything that matches and is there. */
  get isAtEnd(): boolean {
    const stream = this.#world.stream
    if (this.ended || (stream?.hasLostTail && !this.#isTimed)) return true
    const last = [...(stream?.present.values() ?? [])].findLast(({ subject }) =>
      matches(this.wish.filters, subject),
    )
    if (!stream || !last || last.seq <= this.#after) return true
    return this.#stream === stream && this.#messages.some(({ time }) => time === last.time)
  }

  complaints(): string[] {
    const stream = this.#stream
    const next = this.ended ? this.#world.jetstream.history : []
    const told = { next, messages: this.#messages, gaps: this.#gaps, filters: this.wish.filters }
    const place = { after: this.#after, upTo: this.#at }
    // Whoever was told that the stream is another one knows that its sequences are.
    const isTold = !this.ended && !(stream && (cannotBeTold(stream) || !this.#isTimed))
    const askedOp = isTold ? Number.POSITIVE_INFINITY : this.#askedOp
    const ops = { begunOp: this.#begunOp, askedOp, endedOp: this.#world.ops }
    const run = stream ? complaintsAbout({ stream, ...told, ...place, ...ops }) : []
    // One that begins with what is new may be told of what came while it began.
    const isEarly = (text: string) => this.wish.start === 'new' && text.includes(`after ${this.#after},`)
    return run
      .filter((text) => !isEarly(text))
      .map((text) => `A reader of events (${JSON.stringify(this.wish)}) ${text}`)
  }

  async #readAll(body: Body): Promise<void> {
    try {
      for (;;) {
        // The first piece is taken by any host at once.
        if (this.#isStalled && this.#hasRead) await new Promise<void>((resolve) => (this.#resume = resolve))
        const { done, value } = await body.read()
        this.#hasRead = true
        if (body !== this.#body) return
        if (done) break
        this.#hear(decoder.decode(value))
      }
    } catch (failure) {
      this.#world.complain(`A reader of events was broken off: ${String(failure)}`)
    }
    this.#body = undefined
  }

  #hear(text: string): void {
    this.#text += text
    const events = this.#text.split('\n\n')
    this.#text = events.pop() ?? ''
    for (const event of events) this.#take(event)
  }

  #take(event: string): void {
    const fields = new Map(
      event.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
    )
    const id = fields.get('id')
    const data = fields.get('data')
    if (fields.get('event') === 'error') this.#failed(JSON.parse(data ?? '{}') as Problem)
    if (id === undefined) return
    this.#lastId = id
    this.#lastOp = this.#world.ops
    const { seq, created, time, mark } = open(this.#world, this.wish.filters, id)
    this.#isTimed = time !== undefined || mark !== undefined
    this.#checkStream(created)
    if (seq < this.#at) this.#world.complain(`A reader of events went back from ${this.#at} to ${seq}`)
    this.#at = Math.max(this.#at, seq)
    if (fields.get('event') === 'message') this.#messages.push(JSON.parse(data ?? '{}') as Told)
    if (fields.get('event') !== 'gap') return
    const { from_seq, to_seq } = JSON.parse(data ?? '{}') as { from_seq: number; to_seq: number }
    this.#gaps.push({ fromSeq: from_seq, toSeq: to_seq })
  }

  #checkStream(created: string | undefined): void {
    const stream = this.#world.incarnation(created)
    if (this.#stream && this.#stream !== stream)
      this.#world.complain('A reader of events went on in another stream')
    this.#stream = stream
  }

  /** A position of a stream that is gone, or of a lost tail, has to be refused. */
  #checkResumed(invokedOp: number): void {
    if (this.#lastId === undefined || !this.#stream) return
    const position = open(this.#world, this.wish.filters, this.#lastId)
    if (this.#stream.deletedOp <= invokedOp)
      this.#world.complain('A reader of events resumed in a stream that is gone')
    if (isLost(this.#stream, position, { since: this.#lastOp, until: invokedOp }))
      this.#world.complain(`A reader of events resumed at ${position.seq}, which was lost`)
  }

  #refused(status: number, problem: Problem): void {
    this.#world.checkProblem('A reader of events', status, problem)
    if (!PASSING.has(problem.code)) this.#end(problem)
  }

  #failed(problem: Problem): void {
    this.#world.checkProblem('A reader of events', Number(problem.status), problem)
    this.#end(problem)
  }

  #end(problem: Problem): void {
    this.ended = problem
    const isTrue = {
      cursor_expired: this.wish.onGap === 'error',
      stream_recreated: this.#isAnother(),
      stream_not_found: this.#world.jetstream.history.some(({ deletedOp }) => Number.isFinite(deletedOp)),
    }[String(problem.code)]
    if (isTrue !== true)
      this.#world.complain(
        `A reader of events (${JSON.stringify(this.wish)}) was ended: ${JSON.stringify(problem)}`,
      )
  }

  #isAnother(): boolean {
    return this.#stream !== this.#world.stream || (this.#stream?.hasLostTail ?? true)
  }
}

const PASSING: ReadonlySet<string> = new Set(['jetstream_unavailable', 'jetstream_timeout'])
