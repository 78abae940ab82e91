/** Row 4: an older copy of the store is put back, so that the tail of every stream is gone and its sequences are used again. */
import { type Client, createClient, type Message, type Page, type Problem } from '../../contract/client.ts'
import { type EventStream, openEvents } from '../../contract/events.ts'
import { inParallel, range, until } from '../../contract/expectations.ts'
import { type Native, openNative } from '../../live/native.ts'
import { startHost, type TestHost } from '../../support/host.ts'
import type { Row, RowRun } from '../row.ts'
import { FORMS, type KeptCursor, keepCursors, readOn } from './kept-cursors.ts'
import { type CopiedStore, startMajorityStore, startSingleStore } from './store-copies.ts'

/** How long the tail is that comes instead of the lost one. `none`: the stream stays as short as it was put back. */
const LENGTHS = ['none', 'shorter', 'equal', 'longer'] as const
type Length = (typeof LENGTHS)[number]

const WAIT_MS = 60_000
/** For what a connected reader is told late. */
const GIVE_UP_MS = 20_000

/** One stream, before and after. */
interface Timeline {
  readonly stream: string
  readonly length: Length
  /** The last sequence that the copy has. */
  readonly cut: number
  readonly before: number
  readonly after: number
}

/** A host's client, and what was counted of it. */
interface Bridge {
  readonly name: string
  readonly client: Client
  readonly counts: { past: number; told: number; kept: number; wentOn: number; readers: number }
}

/** What a round is run on. */
interface Setup {
  readonly run: RowRun
  readonly store: CopiedStore
  readonly bridges: readonly Bridge[]
}

/** Those who read a stream over a host while it happens. */
interface Readers {
  readonly bridge: Bridge
  readonly timeline: Timeline
  readonly cursors: readonly KeptCursor[]
  readonly events: readonly EventStream[]
  readonly waiting: Promise<{ readonly status: number; readonly body: Page & Problem } | undefined>
  readonly end: string
}

const subjectOf = (stream: string, seq: number) => `${stream}.${seq % 3 === 0 ? 'b' : 'a'}`
const filterOf = ({ stream }: Timeline) => `${stream}.b`
const oldText = (seq: number) => `old ${seq}`
const newText = (seq: number) => `new ${seq}`

function drawTimeline(stream: string, length: Length, random: () => number): Timeline {
  const cut = 3 + Math.floor(random() * 10)
  const tail = 3 + Math.floor(random() * 10)
  const other = 1 + Math.floor(random() * (tail - 1))
  const reused = { none: 0, shorter: tail - other, equal: tail, longer: tail + other }[length]
  return { stream, length, cut, before: cut + tail, after: cut + reused }
}

async function fill(
  native: Native,
  { stream }: Timeline,
  seqs: readonly number[],
  textOf: (seq: number) => string,
) {
  for (const seq of seqs) {
    const message = { subject: subjectOf(stream, seq), payload: Buffer.from(textOf(seq)), headers: {} }
    const stored = await native.publish(message, message.payload.toString())
    if (stored !== seq) throw new Error(`${stream}: ${seq} was stored as ${stored}`)
  }
}

async function makeStream(native: Native, { stream }: Timeline, replicas: number): Promise<void> {
  await native.ask(`STREAM.CREATE.${stream}`, {
    name: stream,
    subjects: [`${stream}.>`],
    storage: 'file',
    allow_direct: true,
    num_replicas: replicas,
  })
  await native.ask(`CONSUMER.CREATE.${stream}.worker`, {
    stream_name: stream,
    config: { durable_name: 'worker', ack_policy: 'explicit' },
  })
}

/** The bridges take turns, so that each hands out cursors of publishes. */
async function publishTail(
  bridges: readonly Bridge[],
  { stream, cut, before }: Timeline,
): Promise<Map<Bridge, KeptCursor[]>> {
  const kept = new Map(bridges.map((bridge): [Bridge, KeptCursor[]] => [bridge, []]))
  for (const seq of range(cut + 1, before)) {
    const bridge = bridges[seq % bridges.length]
    if (!bridge) continue
    const { cursor } = await bridge.client.publish(subjectOf(stream, seq), oldText(seq))
    kept.get(bridge)?.push({ source: 'publish', seq, cursor, filters: [] })
  }
  return kept
}

/** Everything in the stream is settled, so that the consumer's own cursor stands at its end. */
async function settleAll({ client }: Bridge, { stream }: Timeline): Promise<void> {
  const { messages } = await client.pull(`/v1/streams/${stream}/consumers/worker`, { batch: 100 })
  await client.settle(...messages.map(({ ack_token: token }) => ({ token, action: 'ack' as const })))
}

async function openReaders(
  bridge: Bridge,
  timeline: Timeline,
  published: readonly KeptCursor[],
): Promise<Readers> {
  const { client } = bridge
  const { stream, before } = timeline
  const filter = filterOf(timeline)
  const path = `/v1/streams/${stream}/messages`
  const cursors = [...published, ...(await keepCursors(client, stream, filter, before))]
  const events = await Promise.all(
    [{}, { subject: filter }].map((query) =>
      openEvents(client, path, { query: { start: 'beginning', ...query } }),
    ),
  )
  for (const reader of events) {
    const { cursor } = (await reader.take<{ cursor: string }>('caught_up', 1))[0] ?? { cursor: '' }
    // A heartbeat with a fresh id may follow it.
    const filters = reader === events[0] ? [] : [filter]
    cursors.push({ source: 'caught_up', seq: before, cursor, filters })
  }
  const { cursor: end } = await client.page(stream, { start: 'new' })
  const waiting = client
    .send<Page & Problem>(`GET ${path}`, { query: { cursor: end, wait_ms: WAIT_MS } })
    .catch(() => undefined)
  return { bridge, timeline, cursors, events, waiting, end }
}

interface Truth {
  readonly seq: number
  readonly text: string
}

/** What the stream has behind a sequence now, for a filter. */
const truthAfter = ({ stream, cut, after }: Timeline, seq: number, filters: readonly string[]): Truth[] =>
  range(seq + 1, after)
    .filter((one) => filters.length === 0 || filters.includes(subjectOf(stream, one)))
    .map((one) => ({ seq: one, text: one <= cut ? oldText(one) : newText(one) }))

const summaryOf = (messages: readonly Truth[]) => messages.map(({ seq, text }) => `${seq}=${text}`).join(', ')
const toTruth = (messages: readonly Message[]) => messages.map(({ seq, data = '' }) => ({ seq, text: data }))

async function checkCursor(
  run: RowRun,
  { bridge, timeline }: Readers,
  kept: KeptCursor,
  index: number,
): Promise<void> {
  const { counts, client, name } = bridge
  const { stream, cut, before, after, length } = timeline
  const form = FORMS[index % FORMS.length] ?? 'page'
  const { source, seq, cursor, filters } = kept
  const { problem, messages } = await readOn(client, stream, form, { cursor, filters })
  const where = `${name}, ${length}, a copy up to ${cut} of ${before}, now ${after}: the cursor of ${source} behind ${seq}, as ${form}`
  const isTold = problem?.status === 410 && problem.code === 'stream_recreated'
  if (seq > cut) {
    counts.past += 1
    if (isTold) counts.told += 1
    else run.broken('I2', `${where}, was answered ${problem?.code ?? `with ${messages.length} messages`}`)
    return
  }
  counts.kept += 1
  const expected = summaryOf(truthAfter(timeline, seq, filters))
  const got = summaryOf(toTruth(messages))
  // To be told more often than needed skips nothing, but a snapshot alone may be.
  if (problem === undefined && (got === expected || source === 'snapshot')) counts.wentOn += 1
  else run.broken('I2', `${where}, was answered ${problem?.code ?? got} instead of ${expected}`)
}

/** All that was there has been read before the fault, so nothing may follow it but the news of it. */
async function checkConnected(
  run: RowRun,
  { bridge, timeline, events, waiting, end }: Readers,
): Promise<void> {
  const { counts, name, client } = bridge
  const { stream, length, cut, before, after } = timeline
  const where = `${name}, ${length}, a copy up to ${cut} of ${before}, now ${after}`
  for (const [index, reader] of events.entries()) {
    counts.readers += 1
    await until('the end of events', async () => reader.ended(), GIVE_UP_MS).catch(() => undefined)
    const error = reader.events.find(({ event }) => event === 'error')
    const code = error ? (JSON.parse(error.data) as Problem).code : reader.ended() ? 'no word' : 'going on'
    if (code !== 'stream_recreated') run.broken('I2', `${where}: reader ${index} of events: ${code}`)
    if (reader.events.some(({ data }) => data.includes('"new ')))
      run.broken('I2', `${where}: reader ${index} of events went on silently`)
  }
  counts.readers += 1
  const said = await waiting
  if (said?.status === 200 && said.body.messages.length > 0)
    run.broken('I2', `${where}: a waiting page went on silently`)
  const cursor = said?.status === 200 ? said.body.cursor : end
  const { problem } = await readOn(client, stream, 'page', { cursor, filters: [] })
  if (problem?.code !== 'stream_recreated')
    run.broken(
      'I2',
      `${where}: behind a waiting page (${said?.status} ${said?.body.code}): ${problem?.code ?? 'no word'}`,
    )
}

async function runRound({ run, store, bridges }: Setup, timelines: readonly Timeline[]): Promise<void> {
  const native = await openNative(store.nativeUrl)
  const streams = timelines.map(({ stream }) => stream)
  try {
    for (const timeline of timelines) {
      await makeStream(native, timeline, store.replicas)
      await fill(native, timeline, range(1, timeline.cut), oldText)
    }
    await store.takeCopy(streams)
    await native.ready()
    const readers: Readers[] = []
    for (const timeline of timelines) {
      const published = await publishTail(bridges, timeline)
      // A consumer with replicas is not worked on right after a restart: it may have no quorum of its own yet.
      if (store.replicas === 1) for (const bridge of bridges.slice(0, 1)) await settleAll(bridge, timeline)
      for (const bridge of bridges)
        readers.push(await openReaders(bridge, timeline, published.get(bridge) ?? []))
    }
    await store.putBack(streams)
    run.injected(`an older copy of a stream put back on ${store.name}`, streams.length)
    await native.ready()
    for (const timeline of timelines)
      await fill(native, timeline, range(timeline.cut + 1, timeline.after), newText)
    await store.complete(streams)
    for (const reading of readers) {
      await inParallel([...reading.cursors.entries()], 8, ([index, kept]) =>
        checkCursor(run, reading, kept, index),
      )
      await checkConnected(run, reading)
      for (const reader of reading.events) reader.close()
    }
    for (const stream of streams) await native.ask(`STREAM.DELETE.${stream}`)
  } finally {
    await native.close()
  }
}

const startBridge = async (host: TestHost, store: CopiedStore): Promise<Bridge> => ({
  name: `${host.name} on ${store.name}`,
  client: await createClient(host.url),
  counts: { past: 0, told: 0, kept: 0, wentOn: 0, readers: 0 },
})

async function runOn(run: RowRun, store: CopiedStore, rounds: number): Promise<void> {
  const hosts = await Promise.all(run.hosts.map((name) => startHost(name, { natsUrl: store.wsUrl })))
  for (const host of hosts) run.defer(() => host.stop())
  const bridges = await Promise.all(hosts.map((host) => startBridge(host, store)))
  for (let round = 1; round <= rounds; round += 1) {
    const draw = (length: Length) =>
      drawTimeline(`T${round}${length}`, length, run.random(`${store.name} ${round} ${length}`))
    await runRound({ run, store, bridges }, LENGTHS.map(draw))
  }
  for (const { name, counts } of bridges) {
    const { past, told, kept, wentOn, readers } = counts
    if (past === 0 || kept === 0 || readers === 0)
      throw new Error(`${name}: nothing was checked: ${JSON.stringify(counts)}`)
    run.figure(
      `${name}: ${told} of ${past} cursors past it told, ${wentOn} of ${kept} before it went on, ${readers} connected readers`,
    )
  }
}

export const olderCopyRow: Row = {
  number: 4,
  fault: 'older copy of the store put back: the tail is gone, sequences are used again',
  shows: ['I2'],
  async run(run) {
    const rounds = run.rounds({ full: 6, part: 1 })
    await runOn(run, await startSingleStore(run), rounds)
    if (run.pace === 'full') await runOn(run, await startMajorityStore(run), Math.ceil(rounds / 2))
  },
}
