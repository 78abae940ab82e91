/** Playing a scenario against a bridge: the stream, its readers, and what came of it. */
import { setTimeout as delay } from 'node:timers/promises'
import type { TestNats } from '../support/nats.ts'
import { EventReader, type Wish } from './event-reader.ts'
import { type Native, type NewMessage, StreamLog } from './native.ts'
import { type Beginning, beginningOf, complaintsAbout, type Snapshot } from './oracle.ts'
import type { Relay } from './relay.ts'
import { type Batch, type Scenario, type Step, SUBJECTS } from './scenario.ts'

/** What a scenario is played on. */
export interface Stage {
  readonly nats: TestNats
  readonly native: Native
  readonly relay: Relay
  readonly url: string
}

interface Player {
  readonly reader: EventReader
  beginning: Beginning
  isClosed: boolean
}

let streams = 0

/** Plays a scenario to its end, lets every reader read to the end, and answers what is wrong. */
export const play = async (
  stage: Stage,
  { maxMsgs, perSubject, direct, steps }: Scenario,
): Promise<string[]> => {
  streams += 1
  const name = `P${streams}`
  await stage.native.ask(`STREAM.CREATE.${name}`, {
    name,
    subjects: [`${name}.>`],
    retention: 'limits',
    storage: 'file',
    max_msgs: maxMsgs,
    max_msgs_per_subject: perSubject,
    allow_direct: direct,
    allow_rollup_hdrs: true,
  })
  const performance = new Performance(stage, new StreamLog(stage.native, name, perSubject))
  try {
    for (const step of steps) await performance.play(step)
    await performance.end()
    return await performance.complaints()
  } finally {
    performance.close()
    await stage.native.ask(`STREAM.DELETE.${name}`)
  }
}

class Performance {
  readonly #stage: Stage
  readonly #log: StreamLog
  readonly #players: Player[] = []

  constructor(stage: Stage, log: StreamLog) {
    this.#stage = stage
    this.#log = log
  }

  async play(step: Step): Promise<void> {
    switch (step.kind) {
      case 'publish':
        return this.#log.publish(this.#messagesOf(step.batch))
      case 'purge':
        return this.#purge(step.how, step.at)
      case 'delete':
        return this.#delete(step)
      case 'open':
        return this.#open(step)
      case 'cut':
        return this.#cut(step)
      case 'outage':
        return this.#outage(step)
      case 'drown':
        return this.#drown(step)
      case 'settle':
        return this.#settle()
      case 'pace':
        return this.#withReader(step.reader, ({ reader }) => {
          reader.pace = step.pace
        })
      case 'close':
        return this.#withReader(step.reader, (player) => {
          player.isClosed = true
          player.reader.close()
        })
    }
  }

  /** Two last rounds: whoever repeats something after the first shows it in the second. */
  async end(): Promise<void> {
    for (const seed of [1, 2]) {
      const last = SUBJECTS.map((tail) => ({ ...makeMessage(seed), subject: `${this.#log.name}.${tail}` }))
      await this.#log.publish(last)
      for (const { reader } of this.#players) reader.pace = 'fast'
      await this.#settle()
    }
  }

  async complaints(): Promise<string[]> {
    const all = await Promise.all(
      this.#players.map(async ({ reader, beginning }, index) =>
        (await complaintsAbout(reader, beginning, this.#log)).map(
          (complaint) =>
            `Reader ${index} (${JSON.stringify(reader.wish)}, from ${beginning.must}) ${complaint}`,
        ),
      ),
    )
    return all.flat()
  }

  close(): void {
    for (const { reader } of this.#players) reader.close()
  }

  async #withReader(share: number, use: (player: Player) => void | Promise<void>): Promise<void> {
    const open = this.#players.filter(({ isClosed }) => !isClosed)
    const player = open[indexAt(share, open.length)]
    if (player) await use(player)
  }

  async #purge(how: 'all' | 'upTo' | 'keep' | 'filter', at: number): Promise<void> {
    const { first_seq, last_seq } = await this.#log.state()
    const seq = first_seq + Math.round(at * (last_seq - first_seq))
    const subject = `${this.#log.name}.${SUBJECTS[indexAt(at, SUBJECTS.length)]}`
    const requests = {
      all: {},
      upTo: { seq },
      keep: { keep: Math.ceil(at * 20) },
      filter: { filter: subject },
    }
    await this.#log.purge(requests[how])
  }

  async #delete({ at, newest }: Step & { kind: 'delete' }): Promise<void> {
    const { first_seq, last_seq } = await this.#log.state()
    if (newest) await this.#log.delete(last_seq)
    for (const one of at) await this.#log.delete(Math.round(first_seq + one * (last_seq - first_seq)))
  }

  async #open({ wish, at, pace, meanwhile, batch }: Step & { kind: 'open' }): Promise<void> {
    const { last_seq } = await this.#log.state()
    const start = wish.start === 'seq' ? `seq:${1 + Math.round(at * last_seq)}` : wish.start
    const filters = wish.filters.map((filter) => `${this.#log.name}.${filter}`)
    const url = `${this.#stage.url}/v1/streams/${this.#log.name}/messages`
    const reader = new EventReader(url, { ...wish, filters, start })
    reader.pace = pace
    const player = { reader, beginning: { may: 1, must: 1 }, isClosed: false }
    this.#players.push(player)
    await this.#begin(player, async () => {
      if (meanwhile === 'publish') await this.#log.publish(this.#messagesOf(batch))
      if (meanwhile === 'purge') await delay(at * 4)
      if (meanwhile === 'purge') await this.#purge('upTo', at)
    })
  }

  /** Opens or resumes. What has no position yet begins anew. */
  async #begin(player: Player, meanwhile: () => Promise<void>): Promise<void> {
    const { reader } = player
    const isFresh = reader.isFresh
    const before = await this.#look(reader.wish)
    await Promise.all([reader.open(), meanwhile()])
    if (isFresh) player.beginning = beginningOf(reader.wish, before, await this.#look(reader.wish))
  }

  async #look({ filters }: Wish): Promise<Snapshot> {
    return { state: await this.#log.state(), matching: await this.#log.present(filters) }
  }

  async #cut({ reader, afterBytes, batch }: Step & { kind: 'cut' }): Promise<void> {
    await this.#withReader(reader, async (player) => {
      await player.reader.cut(afterBytes, 50)
      await this.#begin(player, () => this.#log.publish(this.#messagesOf(batch)))
    })
  }

  async #drown({ reader, batch }: Step & { kind: 'drown' }): Promise<void> {
    await this.#withReader(reader, async (player) => {
      player.reader.pace = 'fast'
      await this.#reachEnd(player)
      player.reader.pace = 'stopped'
      await this.#log.publish(this.#messagesOf(batch))
    })
  }

  async #outage({ how, ms, batch, purgeTo }: Step & { kind: 'outage' }): Promise<void> {
    await Promise.all([this.#log.publish(this.#messagesOf(batch), true), this.#breakFor(how, ms)])
    await this.#stage.native.ready()
    await this.#log.state()
    if (purgeTo !== undefined) await this.#purge('upTo', purgeTo)
  }

  async #breakFor(how: (Step & { kind: 'outage' })['how'], ms: number): Promise<void> {
    const { nats, relay, native } = this.#stage
    switch (how) {
      case 'cut':
        await delay(ms / 100)
        return relay.cut()
      case 'pause':
        await nats.pause()
        await delay(ms)
        return nats.resume()
      case 'restart':
        await nats.stop()
        return nats.restart()
      case 'crash':
        await delay(ms / 50)
        return nats.restart()
      case 'deleteConsumers': {
        const { consumers } = await native.ask<{ consumers: string[] }>(`CONSUMER.NAMES.${this.#log.name}`)
        for (const name of consumers ?? [])
          await native.ask(`CONSUMER.DELETE.${this.#log.name}.${name}`).catch(() => undefined)
      }
    }
  }

  /** Every reader that reads as fast as it can comes to the last message that is there for it. */
  async #settle(): Promise<void> {
    const reading = this.#players.filter(({ reader, isClosed }) => !isClosed && reader.pace === 'fast')
    await Promise.all(reading.map((player) => this.#reachEnd(player)))
  }

  async #reachEnd({ reader, beginning }: Player): Promise<void> {
    const last = (await this.#log.present(reader.wish.filters)).at(-1) ?? 0
    if (last >= beginning.must) await reader.reach(last)
  }

  #messagesOf({ count, maxBytes, seed }: Batch): NewMessage[] {
    return Array.from({ length: count }, (_, index) => {
      const { subject, ...message } = makeMessage(seed * 1_000 + index, maxBytes)
      return { ...message, subject: `${this.#log.name}.${subject}` }
    })
  }
}

const indexAt = (share: number, length: number) => Math.min(length - 1, Math.floor(share * length))

/** A message drawn from a seed: every kind of payload, some with headers, few that roll up their subject. */
const makeMessage = (seed: number, maxBytes = 20): NewMessage => {
  const random = randomFrom(seed)
  const subject = SUBJECTS[indexAt(random(), SUBJECTS.length)] ?? 'a'
  const length = Math.floor(random() ** 2 * maxBytes)
  const filler = Buffer.from(`${seed} ü\n\nid: 7\r\ndata: x`.repeat(1 + length / 24)).subarray(0, length)
  const kind = random()
  const payload =
    kind < 0.7 ? filler : kind < 0.85 ? Buffer.from(JSON.stringify({ seed, length })) : bytesOf(seed, length)
  const dice = random()
  if (dice < 0.01) return { subject, payload, headers: { 'Nats-Rollup': ['sub'] } }
  return { subject, payload, headers: dice < 0.2 ? { 'X-Seed': [String(seed), 'ä: b'] } : {} }
}

const bytesOf = (seed: number, length: number) => {
  const random = randomFrom(seed)
  return Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)))
}

/** Source: mulberry32, a public-domain generator. */
const randomFrom = (seed: number) => {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
