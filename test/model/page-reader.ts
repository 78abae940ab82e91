/** A client that reads page after page by its cursor, and whether what it is told is all there is. */
import type { Gap, Position } from '../../src/reading.ts'
import { isLost, open, wasThere } from './position.ts'
import { complaintsAbout, matches, type Told } from './run-oracle.ts'
import type { SimulatedStream, Stored } from './simulated-stream.ts'
import { type Answer, type Problem, STREAM, type World } from './world.ts'

export interface PageWish {
  readonly filters: readonly string[]
  readonly start: string
  readonly onGap: 'error' | 'skip'
}

export interface PageRequest {
  readonly limit: number
  readonly waitMs: number
  readonly form: 'page' | 'lines'
}

interface PageBody {
  readonly messages: readonly Told[]
  readonly cursor: string
  readonly up_to_date: boolean
  readonly gap?: { readonly from_seq: number; readonly to_seq: number }
}

const SINCE = 'since:'

export class PageReader {
  readonly wish: PageWish
  readonly #world: World
  /** Right after what was read last; undefined: nothing yet. */
  #cursor: string | undefined
  /** When it came to that. */
  #cursorOp: number
  #isOfPublish: boolean
  /** What it begins with. */
  #since: Stored | undefined
  #isBusy = false
  /** Whether there is no more to read where it is. */
  isOver = false

  /** `cursor`: another's, such as a publish answered. */
  constructor(world: World, wish: PageWish, cursor?: string) {
    this.#world = world
    this.wish = wish
    this.#cursor = cursor
    this.#cursorOp = world.ops
    this.#isOfPublish = cursor !== undefined
  }

  /** Reads on; one read at a time. Answers whether there is more to read at once. */
  async read({ limit, waitMs, form }: PageRequest, signal?: AbortSignal): Promise<boolean> {
    if (this.#isBusy || this.isOver) return false
    this.#isBusy = true
    try {
      const query = this.#query(limit, waitMs)
      const accept = form === 'lines' ? 'application/x-ndjson' : 'application/json'
      const answer = await this.#world.ask(
        `/v1/streams/${STREAM}/messages?${query}`,
        { headers: { Accept: accept }, ...(signal ? { signal } : {}) },
        waitMs,
      )
      if (signal?.aborted) return false
      if (answer.status !== 200) return this.#refused(answer, JSON.parse(answer.text) as Problem)
      return form === 'lines'
        ? this.#heardLines(answer)
        : this.#heard(answer, JSON.parse(answer.text) as PageBody, limit)
    } finally {
      this.#isBusy = false
    }
  }

  /** `since:` counts messages that are there: it is the time of that one. */
  #start(): string {
    const { start } = this.wish
    if (!start.startsWith(SINCE)) return start
    const present = [...(this.#world.stream?.present.values() ?? [])]
    this.#since = present[Number(start.slice(SINCE.length)) % Math.max(1, present.length)]
    return this.#since ? `time:${this.#since.time}` : 'beginning'
  }

  #query(limit: number, waitMs: number): URLSearchParams {
    const { filters, onGap } = this.wish
    const query = new URLSearchParams(filters.map((filter) => ['subject', filter]))
    query.set('limit', String(limit))
    query.set('on_gap', onGap)
    if (waitMs > 0) query.set('wait_ms', String(waitMs))
    query.set(
      ...((this.#cursor === undefined ? ['start', this.#start()] : ['cursor', this.#cursor]) as [
        string,
        string,
      ]),
    )
    return query
  }

  #heardLines(answer: Answer): boolean {
    const lines = answer.text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Told & Partial<PageBody> & { readonly error?: Problem })
    const end = lines.at(-1)
    const messages = lines.filter(({ subject }) => subject !== undefined)
    const gaps = lines.flatMap(({ gap }) => (gap ? [gap] : []))
    if (end?.error) {
      this.#world.checkProblem('A line', ERROR_STATUS(end.error), end.error)
      const cursor = messages.at(-1)?.cursor
      if (cursor === undefined) return false
      // What a gap line said behind the last message is heard again.
      return this.#heard(answer, { messages, cursor, up_to_date: false }, Number.POSITIVE_INFINITY, gaps)
    }
    if (!end || end.cursor === undefined || end.up_to_date === undefined) {
      this.#complain(`lines without an end: ${answer.text}`)
      return false
    }
    const { cursor, up_to_date } = end
    return this.#heard(answer, { messages, cursor, up_to_date }, Number.POSITIVE_INFINITY, gaps)
  }

  #heard(answer: Answer, body: PageBody, limit: number, gaps = body.gap ? [body.gap] : []): boolean {
    const { messages, up_to_date } = body
    const before = this.#cursor === undefined ? undefined : open(this.#world, this.wish.filters, this.#cursor)
    const position = open(this.#world, this.wish.filters, body.cursor)
    this.#cursor = body.cursor
    this.#isOfPublish = false
    const since = this.#cursorOp
    this.#cursorOp = answer.returnedOp
    const stream = this.#world.incarnation(position.created)
    if (!stream) {
      this.#complain(`a cursor of no stream: ${answer.text}`)
      return false
    }
    if (messages.length > limit) this.#complain(`${messages.length} messages where ${limit} were asked for`)
    if (before) this.#checkWhole(before, position, { stream, since, until: answer.invokedOp })
    const after = before?.seq ?? this.#afterStart(messages, position, stream)
    const run = {
      next: [],
      stream,
      filters: this.wish.filters,
      after,
      upTo: position.seq,
      messages,
      gaps: gaps.map(toGap),
    }
    const begunOp = before ? 0 : answer.returnedOp
    const ops = { begunOp, askedOp: answer.invokedOp, endedOp: answer.returnedOp }
    // What is of the next stream is told of as such by the next answer.
    const isGone = stream.deletedOp <= answer.returnedOp
    const complaints = isGone ? [] : complaintsAbout({ ...run, ...ops })
    for (const complaint of complaints) this.#complain(`${complaint}: ${answer.text}`)
    if (up_to_date) this.#checkEnd(stream, position, answer)
    return !up_to_date || messages.length > 0
  }

  /** Where a start is not the beginning, nothing is owed before what came first. */
  #afterStart(messages: readonly Told[], { seq }: Position, stream: SimulatedStream): number {
    const { start } = this.wish
    if (start === 'beginning') return 0
    if (this.#since && stream.log.includes(this.#since)) return this.#since.seq - 1
    if (start.startsWith('seq:')) return Number(start.slice('seq:'.length)) - 1
    return (messages[0]?.seq ?? seq + 1) - 1
  }

  /** A position of a stream that is gone, or of a lost tail, has to be refused. */
  #checkWhole(
    before: Position,
    position: Position,
    { stream, ...held }: { stream: SimulatedStream; since: number; until: number },
  ): void {
    if (before.created !== undefined && before.created !== position.created)
      this.#complain(`read on in another stream: ${before.created}, ${position.created}`)
    if (before.created !== undefined && stream.deletedOp <= held.until)
      this.#complain('read on in a stream that is gone')
    if (isLost(stream, before, held)) this.#complain(`read on at ${before.seq}, which was lost`)
  }

  /** What was there before the request, and is there now, was to be told before that. */
  #checkEnd(stream: SimulatedStream, { seq }: Position, { invokedOp }: Answer): void {
    const untold = [...stream.present.values()].filter(
      (stored) =>
        stored.seq > seq && stored.storedOp <= invokedOp && matches(this.wish.filters, stored.subject),
    )
    if (untold.length > 0 && stream.deletedOp === Number.POSITIVE_INFINITY)
      this.#complain(`was told that ${seq} is the end, before ${untold.map((one) => one.seq).join(', ')}`)
  }

  #refused(answer: Answer, problem: Problem): boolean {
    const { code } = problem
    const before = this.#cursor === undefined ? undefined : open(this.#world, this.wish.filters, this.#cursor)
    // Without a cursor that is told where it happens during a wait.
    if (code === 'cursor_expired') return this.#expired(before, problem)
    if (code === 'stream_recreated') return this.#recreated(before, answer)
    if (code === 'stream_not_found') {
      if (this.#world.stream && wasThere(this.#world.stream, answer, this.#world.stream))
        this.#complain('was told that there is no stream')
      return false
    }
    if (code === 'invalid_request' && this.wish.start.startsWith('seq:')) this.isOver = true
    else if (!['jetstream_unavailable', 'jetstream_timeout'].includes(code))
      this.#complain(`was refused: ${answer.text}`)
    return false
  }

  /** Goes on behind the gap, which is told in another way. */
  #expired(before: Position | undefined, problem: Problem): boolean {
    const { earliest_seq, missed, earliest_cursor } = problem as unknown as {
      earliest_seq: number
      missed: number
      earliest_cursor: string
    }
    const stream = before ? this.#world.incarnation(before.created) : this.#world.stream
    const isCounted = before === undefined || missed === earliest_seq - 1 - before.seq
    const isTrue = stream === undefined || (isCounted && earliest_seq <= stream.highestFirstSeq)
    if (this.wish.onGap === 'skip' || !isTrue)
      this.#complain(`was told of a gap that is none, at ${before?.seq}: ${JSON.stringify(problem)}`)
    this.#cursor = earliest_cursor
    this.#cursorOp = this.#world.ops
    return true
  }

  /** Without a cursor it is told so where that happens while it waits. */
  #recreated(before: Position | undefined, answer: Answer): boolean {
    const stream = before ? this.#world.incarnation(before.created) : this.#world.stream
    this.isOver = true
    const hasLostTail = stream?.hasLostTail ?? true
    // A publish's cursor may name a stream that was made again within the last seconds.
    if (stream && !hasLostTail && !this.#isOfPublish && wasThere(stream, answer, this.#world.stream))
      this.#complain(`was told at ${before?.seq} that the stream is another one`)
    return false
  }

  #complain(text: string): void {
    this.#world.complain(`A reader of pages (${JSON.stringify(this.wish)}) ${text}`)
  }
}

const toGap = ({ from_seq, to_seq }: { from_seq: number; to_seq: number }): Gap => ({
  fromSeq: from_seq,
  toSeq: to_seq,
})

const ERROR_STATUS = ({ status }: Problem) => Number(status)
