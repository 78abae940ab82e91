/** A client of server-sent events that keeps all it got, to its last byte. */
import { createParser } from 'eventsource-parser'

export interface Read {
  readonly seq: number
  readonly data: string
}

/** Server-sent events as they come; whoever opens them closes them. */
export function openEvents(url: string, lastEventId?: string) {
  const abort = new AbortController()
  const events: string[] = []
  const messages: Read[] = []
  let [text, id] = ['', '']
  const parser = createParser({
    onId: (one) => {
      id = one
    },
    onEvent: ({ event = 'message', data }) => {
      events.push(event)
      if (event === 'message') messages.push(JSON.parse(data) as Read)
    },
  })
  const read = async () => {
    const decoder = new TextDecoder()
    const headers = {
      Accept: 'text/event-stream',
      ...(lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId }),
    }
    const answer = await fetch(url, { headers, signal: abort.signal })
    for await (const chunk of answer.body ?? []) {
      const piece = decoder.decode(chunk, { stream: true })
      text += piece
      parser.feed(piece)
    }
  }
  const ended = read()
  // Whoever waits for its end hears of a failure.
  ended.catch(() => undefined)
  return { events, messages, ended, text: () => text, lastEventId: () => id, close: () => abort.abort() }
}
