/** Cursors from everywhere that the bridge gives them out, kept over what happens to their stream, and their use. */
import { createParser } from 'eventsource-parser'
import type { Client, ConsumerBody, Message, Page, Problem } from '../../contract/client.ts'

export interface KeptCursor {
  /** Where it is from. */
  readonly source: string
  /** The sequence behind which it stands. */
  readonly seq: number
  readonly cursor: string
  readonly filters: readonly string[]
}

/** A way to read on from a cursor. */
export type Form = 'page' | 'ndjson' | 'sse'
export const FORMS: readonly Form[] = ['page', 'ndjson', 'sse']

/** What came of reading on to the end: all that was there, or the problem that was told instead or behind it. */
export interface ReadOn {
  readonly messages: readonly Message[]
  /** Told by the way, where it was asked to skip. */
  readonly gaps: readonly { readonly from_seq: number; readonly to_seq: number }[]
  readonly problem?: Problem
}

interface From {
  readonly cursor?: string
  readonly filters: readonly string[]
  readonly onGap?: 'error' | 'skip'
  /** Of a page. */
  readonly limit?: number
}

const queryOf = ({ cursor, filters, onGap, limit }: From) => ({
  subject: filters,
  on_gap: onGap,
  limit,
  ...(cursor === undefined ? { start: 'beginning' } : { cursor }),
})

async function* eventsOf(response: Response) {
  const events: { event: string; id: string | undefined; data: string }[] = []
  const parser = createParser({
    onEvent: ({ event = 'message', id, data }) => void events.push({ event, id, data }),
  })
  if (!response.body) return
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    parser.feed(text)
    yield* events.splice(0)
  }
}

async function readPages(client: Client, path: string, from: From): Promise<ReadOn & { cursor?: string }> {
  const messages: Message[] = []
  const gaps: ReadOn['gaps'][number][] = []
  let { cursor } = from
  for (;;) {
    const query = queryOf({ ...from, ...(cursor === undefined ? {} : { cursor }) })
    const { status, body } = await client.send<Page & Problem>(`GET ${path}`, { query })
    if (status !== 200) return { messages, gaps, problem: body }
    messages.push(...body.messages)
    if (body.gap) gaps.push(body.gap)
    cursor = body.cursor
    if (body.up_to_date) return { messages, gaps, cursor }
  }
}

async function readLines(client: Client, path: string, from: From): Promise<ReadOn & { cursor?: string }> {
  const { response } = await client.open(`GET ${path}`, {
    query: queryOf(from),
    headers: { Accept: 'application/x-ndjson' },
  })
  if (!response.ok) return { messages: [], gaps: [], problem: (await response.json()) as Problem }
  const text = await response.text()
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const end = lines.pop()
  const gaps = lines.filter(({ gap }) => gap).map(({ gap }) => gap)
  const messages = lines.filter(({ seq }) => seq !== undefined)
  return end.error ? { messages, gaps, problem: end.error } : { messages, gaps, cursor: end.cursor }
}

/** Up to where history ends. */
async function readEvents(
  client: Client,
  path: string,
  { cursor, ...from }: From,
): Promise<ReadOn & { cursor?: string }> {
  const { response } = await client.open(`GET ${path}`, {
    query: queryOf(from),
    headers: { Accept: 'text/event-stream', ...(cursor === undefined ? {} : { 'Last-Event-ID': cursor }) },
  })
  if (!response.ok) return { messages: [], gaps: [], problem: (await response.json()) as Problem }
  const messages: Message[] = []
  const gaps: ReadOn['gaps'][number][] = []
  for await (const { event, id, data } of eventsOf(response)) {
    if (event === 'message') messages.push(JSON.parse(data))
    if (event === 'gap') gaps.push(JSON.parse(data))
    if (event === 'error') return { messages, gaps, problem: JSON.parse(data) }
    if (event === 'caught_up') return { messages, gaps, ...(id === undefined ? {} : { cursor: id }) }
  }
  throw new Error(`${path} ended without a word, behind ${messages.length} messages.`)
}

const READERS = { page: readPages, ndjson: readLines, sse: readEvents }

/** Reads from a cursor, or from the beginning, to the end of a stream. `cursor`: where that is. */
export const readOn = (
  client: Client,
  stream: string,
  form: Form,
  from: From,
): Promise<ReadOn & { cursor?: string }> => READERS[form](client, `/v1/streams/${stream}/messages`, from)

async function readSnapshot(client: Client, stream: string, filters: readonly string[], lastSeq: number) {
  const kept: KeptCursor[] = []
  let query: object = { start: 'last_per_subject' }
  for (;;) {
    const page = await client.page(stream, { subject: filters, limit: 1, ...query })
    kept.push(...page.messages.map(({ seq, cursor }) => ({ source: 'snapshot', seq, cursor, filters })))
    if (page.up_to_date)
      return [...kept, { source: 'end of a snapshot', seq: lastSeq, cursor: page.cursor, filters }]
    query = { cursor: page.cursor }
  }
}

/** Cursors of all reads of a stream that ends at `lastSeq`, without a filter and with this one, and of its consumers. */
export async function keepCursors(
  client: Client,
  stream: string,
  filter: string,
  lastSeq: number,
): Promise<KeptCursor[]> {
  const kept: KeptCursor[] = []
  for (const filters of [[], [filter]]) {
    for (const form of FORMS) {
      const { messages, cursor } = await readOn(client, stream, form, { filters })
      kept.push(
        ...messages.map((message) => ({ source: form, seq: message.seq, cursor: message.cursor, filters })),
      )
      if (cursor !== undefined) kept.push({ source: `end of ${form}`, seq: lastSeq, cursor, filters })
    }
    kept.push(...(await readSnapshot(client, stream, filters, lastSeq)))
  }
  const { cursor } = await client.page(stream, { start: 'new' })
  kept.push({ source: 'start=new', seq: lastSeq, cursor, filters: [] })
  const { consumers } = await client.ok<{ consumers: readonly ConsumerBody[] }>(
    `GET /v1/streams/${stream}/consumers`,
  )
  return [
    ...kept,
    ...consumers.map(({ cursor, ack_floor, config }) => ({
      source: 'consumer',
      seq: ack_floor.stream_seq,
      cursor,
      filters: (config.filter_subjects ?? []) as readonly string[],
    })),
  ]
}
