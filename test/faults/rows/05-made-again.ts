/** Row 5: streams are deleted and made again, shorter, equal and longer, under all who read and work on them. */
import type { Ack, Client, ConsumerBody, Delivery, Page, Problem } from '../../contract/client.ts'
import { createClient } from '../../contract/client.ts'
import { type EventStream, openEvents } from '../../contract/events.ts'
import { inParallel, until } from '../../contract/expectations.ts'
import { type Native, openNative } from '../../live/native.ts'
import { type HostName, startHost } from '../../support/host.ts'
import { startNats, type TestNats } from '../../support/nats.ts'
import type { Row, RowRun } from '../row.ts'
import { FORMS, type KeptCursor, keepCursors, readOn } from './kept-cursors.ts'

const LENGTHS = ['shorter', 'equal', 'longer'] as const
type Length = (typeof LENGTHS)[number]

const AT_ONCE = 3
const WAIT_MS = 2_500
/** For what a connected reader is told late. */
const GIVE_UP_MS = 15_000
const ACK_WAIT_MS = 60_000
const ACTIONS: readonly Ack['action'][] = ['ack', 'nak', 'progress', 'term']
/** What tells a reader that its stream is not there any more, or not the one it was. */
const TOLD = new Set(['stream_recreated', 'stream_not_found'])

interface Case {
  readonly run: RowRun
  readonly client: Client
  readonly native: Native
  readonly stream: string
  readonly length: Length
  readonly random: () => number
  readonly told: Told
  readonly broken: (invariant: 'I2' | 'I5' | 'I9', what: string) => void
}

/** How much was checked. */
interface Told {
  cursors: number
  refused: number
  tokens: number
  readers: number
}

const subjectOf = ({ stream }: Case, at: number) => `${stream}.${at % 3 === 0 ? 'b' : 'a'}`

async function makeStream({ native, stream }: Case): Promise<void> {
  await native.ask(`STREAM.CREATE.${stream}`, {
    name: stream,
    subjects: [`${stream}.>`],
    storage: 'file',
    allow_direct: true,
  })
}

async function makeConsumers({ native, stream }: Case): Promise<void> {
  for (const name of ['worker', 'pushed', 'idle'])
    await native.ask(`CONSUMER.CREATE.${stream}.${name}`, {
      stream_name: stream,
      config: {
        durable_name: name,
        ack_policy: 'explicit',
        ack_wait: ACK_WAIT_MS * 1e6,
        ...(name === 'idle' ? { filter_subject: `${stream}.idle` } : {}),
      },
    })
}

/** All who are there when the stream goes. */
interface Crowd {
  readonly cursors: readonly KeptCursor[]
  readonly tokens: readonly string[]
  readonly readers: readonly EventStream[]
  readonly pushed: EventStream
  readonly waitingPage: Promise<{ status: number; body: Page & Problem }>
  readonly waitingPull: Promise<{ status: number; body: { messages?: readonly Delivery[] } & Problem }>
}

async function gather(one: Case, count: number): Promise<Crowd> {
  const { client, stream } = one
  const cursors: KeptCursor[] = []
  for (let at = 1; at <= count; at += 1) {
    const { seq, cursor } = await client.publish(subjectOf(one, at), `old ${at}`)
    cursors.push({ source: 'publish', seq, cursor, filters: [] })
  }
  await makeConsumers(one)
  const path = `/v1/streams/${stream}`
  const pulled = await client.pull(`${path}/consumers/worker`, {
    batch: 1 + Math.floor(one.random() * count),
  })
  const filter = `${stream}.b`
  cursors.push(...(await keepCursors(client, stream, filter, count)))
  const readers = await Promise.all(
    [{}, { subject: filter }].map((query) =>
      openEvents(client, `${path}/messages`, { query: { start: 'beginning', ...query } }),
    ),
  )
  for (const reader of readers) await reader.take('caught_up', 1)
  const pushed = await openEvents(client, `${path}/consumers/pushed/messages`)
  const pushes = await pushed.take<Delivery>('message', count)
  const end =
    cursors.at(-1)?.seq === count ? cursors.at(-1) : cursors.findLast(({ source }) => source === 'start=new')
  return {
    cursors,
    tokens: [...pulled.messages, ...pushes].map(({ ack_token }) => ack_token),
    readers,
    pushed,
    waitingPage: client.send(`GET ${path}/messages`, { query: { cursor: end?.cursor, wait_ms: WAIT_MS } }),
    waitingPull: client.send(`POST ${path}/consumers/idle/pull`, { json: { batch: 1, wait_ms: WAIT_MS } }),
  }
}

const lengthOf = (length: Length, before: number, random: () => number) => {
  const other = 1 + Math.floor(random() * (before - 1))
  return { shorter: before - other, equal: before, longer: before + other }[length]
}

async function checkCursors(one: Case, cursors: readonly KeptCursor[]): Promise<void> {
  const { client, stream, told, broken } = one
  await inParallel([...cursors.entries()], 8, async ([index, { source, seq, cursor, filters }]) => {
    const form = FORMS[index % FORMS.length] ?? 'page'
    const { problem, messages } = await readOn(client, stream, form, { cursor, filters })
    told.cursors += 1
    if (problem?.status === 410 && problem.code === 'stream_recreated') told.refused += 1
    else
      broken(
        'I2',
        `a cursor behind ${seq} of ${source} was answered as ${form} with ${problem?.code ?? `${messages.length} messages`}`,
      )
  })
}

type Deliveries = Pick<ConsumerBody, 'num_ack_pending' | 'num_redelivered' | 'delivered' | 'ack_floor'>

const deliveriesOf = async ({ client, stream }: Case): Promise<Deliveries> => {
  const info = await client.ok<ConsumerBody>(`GET /v1/streams/${stream}/consumers/worker`)
  const { num_ack_pending, num_redelivered, delivered, ack_floor } = info
  const floor = { ...ack_floor, last_active: undefined }
  return {
    num_ack_pending,
    num_redelivered,
    delivered: { ...delivered, last_active: undefined } as never,
    ack_floor: floor as never,
  }
}

/** The new stream has a consumer of the same name, and the same sequences are on their way. */
async function checkTokens(one: Case, tokens: readonly string[], count: number): Promise<void> {
  const { client, stream, told, broken } = one
  const { messages } = await client.pull(`/v1/streams/${stream}/consumers/worker`, { batch: count })
  const before = JSON.stringify(await deliveriesOf(one))
  const acks = tokens.flatMap((token) => ACTIONS.map((action) => ({ token, action })))
  const results = await client.settle(...acks)
  told.tokens += results.length
  for (const [index, { status, error }] of results.entries())
    if (status !== 'stale') broken('I5', `${acks[index]?.action} by an old token: ${status ?? error?.code}`)
  const after = JSON.stringify(await deliveriesOf(one))
  if (before !== after) broken('I5', `old tokens changed deliveries of the new stream: ${before} → ${after}`)
  const own = await client.settle(...messages.map(({ ack_token: token }): Ack => ({ token, action: 'ack' })))
  if (messages.length === 0 || own.some(({ status }) => status !== 'ok'))
    broken('I5', `${messages.length} deliveries of the new stream were settled as ${JSON.stringify(own)}`)
}

async function endOf(stream: EventStream): Promise<string> {
  await until('the end of a stream of events', async () => stream.ended(), GIVE_UP_MS).catch(() => undefined)
  const error = stream.events.find(({ event }) => event === 'error')
  return error ? (JSON.parse(error.data) as Problem).code : stream.ended() ? 'no word' : 'going on'
}

async function checkConnected(
  one: Case,
  { readers, pushed, waitingPage, waitingPull }: Crowd,
): Promise<void> {
  const { told, broken } = one
  const isNew = ({ data }: { readonly data: string }) => data.includes('"new ')
  for (const [index, reader] of readers.entries()) {
    const end = await endOf(reader)
    told.readers += 1
    if (!TOLD.has(end)) broken('I2', `reader ${index} of events: ${end}`)
    if (reader.events.some(isNew))
      broken('I2', `reader ${index} of events was given messages of the new stream`)
  }
  const end = await endOf(pushed)
  told.readers += 1
  if (!TOLD.has(end) && end !== 'consumer_not_found') broken('I5', `a push of deliveries: ${end}`)
  if (pushed.events.some(isNew)) broken('I5', 'a push of deliveries went on with the new stream')
  const page = await waitingPage
  told.readers += 1
  if (page.body.messages?.length)
    broken('I2', `a waiting page was given ${page.body.messages.length} messages of the new stream`)
  if (page.status !== 200 && !TOLD.has(page.body.code) && !page.body.retryable)
    broken('I9', `a waiting page: ${page.body.code}`)
  if (page.status === 200)
    await checkCursors(one, [{ source: 'a waiting page', seq: 0, cursor: page.body.cursor, filters: [] }])
  const pull = await waitingPull
  told.readers += 1
  if (pull.body.messages?.length) broken('I5', 'a waiting pull was given messages that are not its own')
}

async function runCase(one: Case): Promise<void> {
  const { run, native, stream, length, random } = one
  const before = 4 + Math.floor(random() * 12)
  const after = lengthOf(length, before, random)
  await makeStream(one)
  const crowd = await gather(one, before)
  try {
    await native.ask(`STREAM.DELETE.${stream}`)
    await makeStream(one)
    run.injected(`stream deleted and made again, ${length}`)
    // Some find the stream without a consumer of their name yet.
    if (random() < 0.5) await makeConsumers(one)
    for (let at = 1; at <= after; at += 1)
      await native.publish({ subject: subjectOf(one, at), payload: Buffer.from(`new ${at}`), headers: {} })
    await makeConsumers(one)
    await checkTokens(one, crowd.tokens, after)
    await checkCursors(one, crowd.cursors)
    await checkConnected(one, crowd)
  } finally {
    for (const reader of [...crowd.readers, crowd.pushed]) reader.close()
    await native.ask(`STREAM.DELETE.${stream}`)
  }
}

async function runOn(run: RowRun, name: HostName, nats: TestNats): Promise<void> {
  const host = await startHost(name, { natsUrl: nats.wsUrl, env: { HEARTBEAT_MS: '500' } })
  run.defer(() => host.stop())
  const native = await openNative(nats.wsUrl)
  run.defer(() => native.close())
  const client = await createClient(host.url)
  const told: Told = { cursors: 0, refused: 0, tokens: 0, readers: 0 }
  const cases = Array.from({ length: run.rounds({ full: 12, part: 1 }) }, (_, round) =>
    LENGTHS.map((length) => ({ round, length })),
  ).flat()
  await inParallel(cases, AT_ONCE, async ({ round, length }) => {
    const stream = `${name}${round}${length}`
    const broken: Case['broken'] = (invariant, what) => run.broken(invariant, `${name}, ${length}: ${what}`)
    await runCase({ run, client, native, stream, length, random: run.random(stream), told, broken })
  })
  if (told.cursors === 0 || told.tokens === 0 || told.readers === 0)
    throw new Error(`${name}: nothing was checked: ${JSON.stringify(told)}`)
  run.figure(
    `${name}: ${told.refused} of ${told.cursors} old cursors refused; ${told.tokens} uses of old tokens; ${told.readers} connected readers`,
  )
}

export const madeAgainRow: Row = {
  number: 5,
  fault: 'stream deleted and made again, shorter, equal and longer',
  shows: ['I2', 'I5', 'I9'],
  async run(run) {
    const nats = await startNats()
    run.defer(() => nats.stop())
    await Promise.all(run.hosts.map((name) => runOn(run, name, nats)))
  },
}
