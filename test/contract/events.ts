/** Reading server-sent events: in the background, so that a test asks for what it needs to have come. */
import { createParser } from 'eventsource-parser'
import type { Call, Client } from './client.ts'

export interface ServerEvent {
  readonly event: string
  readonly id: string | undefined
  readonly data: string
}

/** A running stream of events. Whoever opens it closes it. */
export interface EventStream {
  readonly headers: Headers
  /** Everything that has come so far. */
  readonly events: readonly ServerEvent[]
  /** The bytes as text, before parsing: for what a parser swallows. */
  text(): string
  /** What a reconnect would send. */
  lastEventId(): string
  comments(): number
  ended(): boolean
  /** Resolves once `look` sees something; throws after `withinMs`. */
  until<Seen>(what: string, look: () => Seen | undefined | false, withinMs?: number): Promise<Seen>
  /** The parsed data of the first `count` events of this name. */
  take<Data>(name: string, count: number, withinMs?: number): Promise<Data[]>
  close(): void
}

const GIVE_UP_MS = 20_000
/** What `text` keeps. */
const TEXT_CHARS = 65_536

/** Opens a stream of events. Throws where the answer is not one. */
export async function openEvents(bridge: Client, path: string, call: Call = {}): Promise<EventStream> {
  const abort = new AbortController()
  const { response, received } = await bridge.open(`GET ${path}`, {
    ...call,
    headers: { Accept: 'text/event-stream', ...call.headers },
    signal: abort.signal,
  })
  if (response.status !== 200 || !response.body) {
    throw new Error(`GET ${path} → ${response.status} ${await response.text()}`)
  }
  bridge.contract.check(received)

  const events: ServerEvent[] = []
  const watchers = new Set<() => void>()
  let text = ''
  let lastEventId = ''
  let comments = 0
  let ended = false
  let failure: unknown

  const parser = createParser({
    onId: (id) => {
      lastEventId = id
    },
    onComment: () => {
      comments += 1
    },
    onEvent: ({ event = 'message', id, data }) => {
      events.push({ event, id, data })
      bridge.contract.checkPart(received, {
        ...(id === undefined ? {} : { id }),
        event,
        data: JSON.parse(data),
      })
    },
  })

  const read = async (body: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
    try {
      for await (const chunk of body) {
        const piece = decoder.decode(chunk, { stream: true })
        if (text.length < TEXT_CHARS) text += piece
        parser.feed(piece)
        for (const watcher of watchers) watcher()
      }
    } catch (thrown) {
      if (!abort.signal.aborted) failure = thrown
    }
    ended = true
    for (const watcher of watchers) watcher()
  }
  void read(response.body)

  const stream: EventStream = {
    headers: response.headers,
    events,
    text: () => text,
    lastEventId: () => lastEventId,
    comments: () => comments,
    ended: () => ended,
    until: (what, look, withinMs = GIVE_UP_MS) =>
      new Promise((resolve, reject) => {
        const settle = (finish: () => void) => {
          clearTimeout(timer)
          watchers.delete(watch)
          finish()
        }
        const giveUp = (why: string) =>
          settle(() => reject(new Error(`${why}: ${what}. ${summary(events, text)}`, { cause: failure })))
        const watch = () => {
          const seen = look()
          if (seen !== undefined && seen !== false) settle(() => resolve(seen))
          else if (ended) giveUp(failure ? 'The stream broke' : 'The stream ended')
        }
        const timer = setTimeout(() => giveUp(`Not within ${withinMs} ms`), withinMs)
        watchers.add(watch)
        watch()
      }),
    take: (name, count, withinMs) =>
      stream.until(
        `${count} events "${name}"`,
        () => {
          const named = events.filter(({ event }) => event === name)
          return named.length >= count && named.slice(0, count).map(({ data }) => JSON.parse(data))
        },
        withinMs,
      ),
    close: () => abort.abort(),
  }
  return stream
}

function summary(events: readonly ServerEvent[], text: string): string {
  const names = Map.groupBy(events, ({ event }) => event)
  const counts = [...names].map(([name, of]) => `${of.length} ${name}`).join(', ')
  return `Received ${counts || 'no events'}; it begins ${JSON.stringify(text.slice(0, 300))}`
}
