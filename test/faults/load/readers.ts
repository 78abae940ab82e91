/** The clients that read by cursor: page by page, or by server-sent events, and go on from where they are. */
import { setTimeout as delay } from 'node:timers/promises'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { type Loop, RETRY_MS, type Site } from './actor.ts'
import { type Outcome, outcomeOf, reasonOf, succeeded } from './history.ts'

/** What a reader was given, in order. */
export type Seen =
  | { readonly kind: 'message'; readonly seq: number; readonly subject: string; readonly payload: string }
  | { readonly kind: 'gap'; readonly seq: number; readonly fromSeq: number }

export interface Reader {
  readonly name: string
  /** A subject filter, or none. */
  readonly filter: string | undefined
  readonly seen: Seen[]
  step(): Promise<void>
  /** Gives up what it waits for. */
  stop(): void
}

interface WireMessage {
  readonly seq: number
  readonly subject: string
  readonly data?: string
}

interface WireGap {
  readonly from_seq: number
  readonly to_seq: number
}

export interface ReaderWish {
  readonly name: string
  readonly filter?: string
}

const WAIT_MS = 1_000
const LIMIT = 200

const messageSeen = ({ seq, subject, data = '' }: WireMessage): Seen => ({
  kind: 'message',
  seq,
  subject,
  payload: data,
})
const gapSeen = ({ from_seq, to_seq }: WireGap): Seen => ({ kind: 'gap', seq: to_seq, fromSeq: from_seq })

/** The last sequence that a reader knows of. */
export const positionOf = ({ seen }: Reader): number => seen.at(-1)?.seq ?? 0

export class PageReader implements Reader {
  readonly name: string
  readonly filter: string | undefined
  readonly seen: Seen[] = []
  readonly #site: Site
  #cursor: string | undefined

  constructor(site: Site, { name, filter }: ReaderWish) {
    this.#site = site
    this.name = name
    this.filter = filter
  }

  async step(): Promise<void> {
    const { history, stream, url, deadlines } = this.#site
    const query = new URLSearchParams({ limit: String(LIMIT), wait_ms: String(WAIT_MS), on_gap: 'skip' })
    if (this.filter !== undefined) query.set('subject', this.filter)
    if (this.#cursor === undefined) query.set('start', 'beginning')
    else query.set('cursor', this.#cursor)
    const { outcome, body } = await history.ask({
      actor: this.name,
      url: `${url()}/v1/streams/${stream}/messages?${query}`,
      deadlineMs: WAIT_MS + deadlines.requestMs,
    })
    if (!succeeded(outcome)) {
      await delay(RETRY_MS)
      return
    }
    const { messages, gap, cursor } = body as unknown as {
      messages: WireMessage[]
      gap?: WireGap
      cursor: string
    }
    if (gap) this.seen.push(gapSeen(gap))
    this.seen.push(...messages.map(messageSeen))
    this.#cursor = cursor
  }

  stop(): void {}
}

/** Reads server-sent events as a browser does: it comes back by itself, with the last id it has had. */
export class EventsReader implements Reader {
  readonly name: string
  readonly filter: string | undefined
  readonly seen: Seen[] = []
  /** Codes of the `error` events that it was told. */
  readonly errors: string[] = []
  /** How often its connection was lost. */
  reconnects = 0
  readonly #site: Site
  #lastEventId: string | undefined
  #gone = new AbortController()

  constructor(site: Site, { name, filter }: ReaderWish) {
    this.#site = site
    this.name = name
    this.filter = filter
  }

  /** Cuts it off; it comes back. */
  cut(): void {
    this.#gone.abort()
  }

  stop(): void {
    this.#gone.abort()
  }

  /** One connection, until it ends. */
  async step(): Promise<void> {
    const { history, url, stream, deadlines } = this.#site
    this.#gone = new AbortController()
    const query = new URLSearchParams({ start: 'beginning' })
    if (this.filter !== undefined) query.set('subject', this.filter)
    const headers: Record<string, string> = { Accept: 'text/event-stream' }
    if (this.#lastEventId !== undefined) headers['Last-Event-ID'] = this.#lastEventId
    const beganAt = performance.now()
    const note = (outcome: Outcome, endedAt = performance.now()) =>
      history.exchanges.push({
        actor: this.name,
        request: `GET /v1/streams/${stream}/messages (events)`,
        beganAt,
        endedAt,
        deadlineMs: deadlines.requestMs,
        outcome,
      })
    try {
      const response = await fetch(`${url()}/v1/streams/${stream}/messages?${query}`, {
        headers,
        signal: this.#gone.signal,
      })
      const begun = performance.now()
      note(await outcomeOf(response), begun)
      if (response.ok) await this.#read(response)
    } catch (err) {
      if (!this.#gone.signal.aborted && performance.now() - beganAt < deadlines.requestMs)
        note({ broken: reasonOf(err) })
    }
    this.reconnects += 1
    if (!this.#gone.signal.aborted) await delay(RETRY_MS)
  }

  async #read({ body }: Response): Promise<void> {
    const parser = createParser({ onEvent: (event) => this.#take(event) })
    const decoder = new TextDecoder()
    for await (const piece of body ?? []) parser.feed(decoder.decode(piece, { stream: true }))
  }

  #take({ id, event, data }: EventSourceMessage): void {
    if (id !== undefined) this.#lastEventId = id
    if (event === undefined || event === 'message')
      this.seen.push(messageSeen(JSON.parse(data) as WireMessage))
    else if (event === 'gap') this.seen.push(gapSeen(JSON.parse(data) as WireGap))
    else if (event === 'error') this.errors.push((JSON.parse(data) as { code: string }).code)
  }
}

/** Ends readers: what they wait for is given up. */
export async function endReaders(readers: readonly (readonly [Reader, Loop])[]): Promise<void> {
  await Promise.all(
    readers.map(async ([reader, loop]) => {
      const ended = loop.end()
      reader.stop()
      await ended
    }),
  )
}
