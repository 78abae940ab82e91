/** Row 6: messages are removed in every way while they are read, and each reader is told exactly what it missed. */
import { setTimeout as delay } from 'node:timers/promises'
import { type Client, createClient } from '../../contract/client.ts'
import { inParallel } from '../../contract/expectations.ts'
import { EventReader, type Wish } from '../../live/event-reader.ts'
import { type Native, type NewMessage, openNative, StreamLog } from '../../live/native.ts'
import { type Beginning, beginningOf, complaintsAbout } from '../../live/oracle.ts'
import { type HostName, startHost } from '../../support/host.ts'
import { startNats, type TestNats } from '../../support/nats.ts'
import type { Row, RowRun } from '../row.ts'
import { AskingReader } from './asking-reader.ts'

const SUBJECTS = ['a', 'b', 'c']
const MOST_AT_ONCE = 40
const CUT_WITHIN_MS = 30
const AT_ONCE = 2

/** A way in which messages go. */
interface Removal {
  readonly name: string
  readonly config?: Readonly<Record<string, unknown>>
  readonly perSubject?: number
  /** Answers how often it has removed something; absent: the stream does so by itself, by what is published. */
  remove?(stage: Stage): Promise<number>
}

interface Stage {
  readonly log: StreamLog
  readonly random: () => number
}

async function somewhere({ log, random }: Stage): Promise<number> {
  const { first_seq, last_seq } = await log.state()
  return first_seq + Math.floor(random() * (last_seq - first_seq + 1))
}

async function deleteSome(stage: Stage): Promise<number> {
  const count = 1 + Math.floor(stage.random() * 5)
  for (let left = count; left > 0; left -= 1) await stage.log.delete(await somewhere(stage))
  return count
}

const once = async (removing: Promise<void>) => {
  await removing
  return 1
}

const REMOVALS: readonly Removal[] = [
  { name: 'purge', remove: (stage) => once(purgeSomehow(stage)) },
  {
    name: 'purge of a subject',
    remove: async (stage) =>
      once(stage.log.purge({ filter: `${stage.log.name}.a`, seq: await somewhere(stage) })),
  },
  { name: 'single deletes', remove: deleteSome },
  { name: 'max_age', config: { max_age: 250e6 }, remove: (stage) => once(delay(100 + 300 * stage.random())) },
  { name: 'max_msgs', config: { max_msgs: 25 } },
  { name: 'max_msgs_per_subject', config: { max_msgs_per_subject: 4 }, perSubject: 4 },
  {
    name: 'all of it',
    config: { max_msgs: 60, max_msgs_per_subject: 30 },
    perSubject: 30,
    remove: async (stage) => (stage.random() < 0.5 ? once(purgeSomehow(stage)) : deleteSome(stage)),
  },
]

async function purgeSomehow(stage: Stage): Promise<void> {
  const dice = stage.random()
  if (dice < 0.7) await stage.log.purge({ seq: await somewhere(stage) })
  else if (dice < 0.9) await stage.log.purge({ keep: Math.floor(stage.random() * 10) })
  else await stage.log.purge({})
}

/** One stream from which is removed while it is read over one host. */
interface Case extends Stage {
  readonly run: RowRun
  readonly host: HostName
  readonly client: Client
  readonly native: Native
  readonly removal: Removal
  readonly counts: Counts
}

interface Counts {
  readers: number
  messages: number
  gaps: number
  compared: number
}

const WISHES = (stream: string): readonly Wish[] =>
  (['skip', 'error'] as const).flatMap((onGap) =>
    [[], [`${stream}.a`], [`${stream}.a`, `${stream}.c`]].map((filters) => ({
      filters,
      start: 'beginning',
      onGap,
      payload: 'text' as const,
    })),
  )

interface Player {
  readonly record: EventReader
  readonly asking?: AskingReader
  beginning: Beginning
}

/** Begins to read, and settles when it is known where. */
async function begin({ log }: Case, reader: EventReader | AskingReader): Promise<Player> {
  const look = async () => ({ state: await log.state(), matching: [] })
  const before = await look()
  if (reader instanceof AskingReader) await reader.ask()
  else await reader.open()
  const beginning = beginningOf(reader.wish, before, await look())
  return reader instanceof AskingReader
    ? { record: reader.record, asking: reader, beginning }
    : { record: reader, beginning }
}

async function beginAll(one: Case): Promise<Player[]> {
  const { client, native, log, random } = one
  const stream = log.name
  const url = `${client.url}/v1/streams/${stream}/messages`
  return await Promise.all(
    WISHES(stream).flatMap((wish) => [
      begin(one, new EventReader(url, wish)),
      ...(['page', 'ndjson'] as const).map((form) =>
        begin(
          one,
          new AskingReader(
            { client, native, stream },
            { ...wish, form, limit: 1 + Math.floor(random() * 12) },
          ),
        ),
      ),
    ]),
  )
}

function messagesOf({ log, random }: Case): NewMessage[] {
  return Array.from({ length: 1 + Math.floor(random() * MOST_AT_ONCE) }, () => {
    const tail = SUBJECTS[Math.floor(random() * SUBJECTS.length)] ?? 'a'
    const headers: NewMessage['headers'] = random() < 0.02 ? { 'Nats-Rollup': ['sub'] } : {}
    return { subject: `${log.name}.${tail}`, payload: Buffer.from(`${random()}`), headers }
  })
}

async function removeWhileReading(one: Case, players: readonly Player[], steps: number): Promise<void> {
  const { run, log, removal, random } = one
  const state = { isOver: false }
  const askOn = async ({ asking }: Player) => {
    while (asking && !state.isOver) if (await asking.ask()) await delay(1)
  }
  const asking = Promise.all(players.map(askOn))
  try {
    for (let step = 0; step < steps; step += 1) {
      await log.publish(messagesOf(one))
      const times = (await removal.remove?.(one)) ?? 1
      run.injected(`${removal.name} while reading`, times)
      await cutOne(players, random)
    }
  } finally {
    state.isOver = true
    await asking
  }
}

/** A reader of events that reads as fast as it can is rarely behind: one is cut, and comes back after the next removal. */
async function cutOne(players: readonly Player[], random: () => number): Promise<void> {
  const live = players.filter(({ asking }) => !asking)
  for (const { record } of live) await record.open()
  const { record } = live[Math.floor(random() * live.length)] ?? {}
  // Without a position a resume would begin anew.
  if (record && !record.isFresh) await record.cut(Math.floor(random() * 2_000), CUT_WITHIN_MS)
}

/** All is quiet: each comes to the end. */
async function finish({ log }: Case, players: readonly Player[]): Promise<void> {
  await log.publish(
    SUBJECTS.map((tail) => ({ subject: `${log.name}.${tail}`, payload: Buffer.from('last'), headers: {} })),
  )
  await Promise.all(
    players.map(async ({ record, asking }) => {
      if (asking) while (!(await asking.ask()));
      else await record.open()
      const last = (await log.present(record.wish.filters)).at(-1)
      if (!asking && last !== undefined) await record.reach(last)
    }),
  )
}

async function runCase(one: Case, steps: number): Promise<void> {
  const { run, host, native, log, removal, counts } = one
  await native.ask(`STREAM.CREATE.${log.name}`, {
    name: log.name,
    subjects: [`${log.name}.>`],
    storage: 'file',
    allow_direct: one.random() < 0.8,
    allow_rollup_hdrs: true,
    ...removal.config,
  })
  await log.publish(messagesOf(one))
  const players = await beginAll(one)
  try {
    await removeWhileReading(one, players, steps)
    await finish(one, players)
    for (const { record, asking, beginning } of players) {
      const { filters, onGap } = record.wish
      const who = `${host}, ${removal.name}: ${asking?.wish.form ?? 'sse'} of ${filters.join('+') || 'all'}, on_gap=${onGap}`
      for (const complaint of await complaintsAbout(record, beginning, log))
        run.broken('I2', `${who}, ${complaint}`)
      counts.readers += 1
      counts.messages += record.seen.filter(({ kind }) => kind === 'message').length
      counts.gaps += record.seen.filter(({ kind }) => kind === 'gap').length
      counts.compared += asking?.compared ?? 0
    }
  } finally {
    for (const { record } of players) record.close()
    await native.ask(`STREAM.DELETE.${log.name}`)
  }
}

async function runOn(run: RowRun, name: HostName, nats: TestNats): Promise<void> {
  const host = await startHost(name, { natsUrl: nats.wsUrl })
  run.defer(() => host.stop())
  const client = await createClient(host.url)
  const native = await openNative(nats.wsUrl)
  run.defer(() => native.close())
  const counts: Counts = { readers: 0, messages: 0, gaps: 0, compared: 0 }
  const steps = run.rounds({ full: 40, part: 4 })
  await inParallel([...REMOVALS.entries()], AT_ONCE, async ([index, removal]) => {
    const log = new StreamLog(native, `${name}${index}`, removal.perSubject ?? -1)
    await runCase(
      { run, host: name, client, native, removal, counts, log, random: run.random(log.name) },
      steps,
    )
  })
  const { readers, messages, gaps, compared } = counts
  if (messages === 0 || gaps === 0 || compared === 0)
    throw new Error(`${name}: nothing was checked: ${JSON.stringify(counts)}`)
  run.figure(
    `${name}: ${readers} readers, ${messages.toLocaleString('en')} messages, ${gaps} gaps told, ` +
      `${compared.toLocaleString('en')} answers compared with the stream's beginning to the sequence`,
  )
}

export const removedWhileReadingRow: Row = {
  number: 6,
  fault: 'purge, age-out, max_msgs, single deletes while reading',
  shows: ['I2', 'I3'],
  async run(run) {
    const nats = await startNats()
    run.defer(() => nats.stop())
    await Promise.all(run.hosts.map((name) => runOn(run, name, nats)))
  },
}
