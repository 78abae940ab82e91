/** Row 7: one reader of 10,000 events is cut at every byte of an event, in history and live, and misses nothing. */
import { until } from '../../contract/expectations.ts'
import { type Native, openNative, type State } from '../../live/native.ts'
import { makeStream } from '../../publishing/stored.ts'
import { type HostName, startHost } from '../../support/host.ts'
import { startNats } from '../../support/nats.ts'
import type { Row, RowRun } from '../row.ts'
import { type Cut, CutReader, type Hit } from './cut-reader.ts'
import { differences, type Entry } from './log-check.ts'

const EVENTS = { full: 10_000, part: 2_000 } as const
/** The least that the settings allow, so that heartbeats are cut, too. */
const HEARTBEAT_MS = 100
/** Of the cuts live, one in so many is one in a heartbeat; as often in the head or in a frame. */
const SELDOM = 12
const HEAD_BYTES = 400
/** In history those behind them are a page further on. */
const FRAME_BYTES = { history: 10, live: 24 } as const
const RETRY_BYTES = 13
const BEAT_BYTES = 140

/** What JSON escapes, what UTF-8 writes in two, three and four bytes, and what looks like an event. */
const PARTS = ['a', 'é', '✓', '漢', '🜚', '"', '\\', '\n', '\r\n', '\n\n', ': ', 'id: 1', 'data:', '\u2028']
const INVALID = Buffer.from([0xff, 0xfe, 0x00, 0x80])

type Place = 'history' | 'live'

/** One stream, its reader, and all that was published to it for the reader. */
class CutStream {
  readonly log: Entry[] = []
  readonly #native: Native
  readonly #subject: string
  readonly #random: () => number
  #seq = 0

  constructor(native: Native, subject: string, random: () => number) {
    this.#native = native
    this.#subject = subject
    this.#random = random
  }

  publish(count: number): void {
    for (let n = 0; n < count; n += 1) {
      const payload = this.#payload()
      this.#seq += 1
      this.log.push({ seq: this.#seq, payload: payload.toString('base64') })
      this.#native.client.publish(`${this.#subject}.wanted`, payload)
    }
  }

  /** What the reader does not ask for moves its heartbeats on. */
  publishOther(): void {
    this.#seq += 1
    this.#native.client.publish(`${this.#subject}.other`, 'other')
  }

  #payload(): Buffer {
    if (this.#random() < 0.05) return INVALID
    const parts = Array.from({ length: 10 + Math.floor(this.#random() * 30) }, () => {
      return PARTS[Math.floor(this.#random() * PARTS.length)] ?? ''
    })
    return Buffer.from(`${this.log.length + 1} ${parts.join('')}`)
  }
}

/** Every offset once, in any order, and then again. */
class Offsets {
  readonly hit = new Set<number>()
  characters = 0
  readonly #random: () => number
  #deck: number[] = []

  constructor(random: () => number) {
    this.#random = random
  }

  draw(longest: number): number {
    if (this.#deck.length === 0) this.#deck = Array.from({ length: longest }, (_, offset) => offset)
    const [drawn = 0] = this.#deck.splice(Math.floor(this.#random() * this.#deck.length), 1)
    return drawn
  }

  count({ offset, isInCharacter }: Hit): void {
    this.hit.add(offset)
    if (isInCharacter) this.characters += 1
  }

  /** Of the offsets below this how many were never hit. */
  missing(below: number): number {
    return Array.from({ length: below }, (_, offset) => offset).filter((offset) => !this.hit.has(offset))
      .length
  }
}

class CutRun {
  readonly #run: RowRun
  readonly #name: HostName
  readonly #stream: CutStream
  readonly #reader: CutReader
  readonly #random: () => number
  readonly #events: number
  readonly offsets: Readonly<Record<Place, Offsets>>

  constructor(run: RowRun, name: HostName, stream: CutStream, reader: CutReader) {
    this.#run = run
    this.#name = name
    this.#stream = stream
    this.#reader = reader
    this.#events = EVENTS[run.pace]
    this.#random = run.random(`cuts on ${name}`)
    this.offsets = { history: new Offsets(this.#random), live: new Offsets(this.#random) }
  }

  async cutAll(cuts: number): Promise<void> {
    await this.#cutInHistory(Math.ceil(cuts / 2))
    await this.#cutLive(Math.floor(cuts / 2))
    await this.#readToTheEnd()
  }

  async #cutInHistory(cuts: number): Promise<void> {
    for (let left = cuts; left > 0; left -= 1) {
      const ahead = this.#stream.log.length - this.#reader.seen.length - left
      await this.#cut('history', this.#draw('history', this.#some(ahead, left)))
    }
  }

  async #cutLive(cuts: number): Promise<void> {
    for (let left = cuts; left > 0; left -= 1) {
      const unpublished = this.#events - this.#stream.log.length - 2 * left
      const cut = this.#draw('live', this.#some(unpublished, left))
      await this.#cut('live', cut, () => {
        if (cut.in === 'block') this.#stream.publishOther()
        else this.#stream.publish(Math.min(this.#events - this.#stream.log.length, cut.after + 1))
      })
    }
  }

  /** Reads what is left, and cuts behind the last event. */
  async #readToTheEnd(): Promise<void> {
    const left = this.#events - this.#stream.log.length
    const unseen = this.#stream.log.length - this.#reader.seen.length
    const cut = { in: 'event', offset: 0, live: false, how: 'close' } as const
    if (unseen > 0) await this.#reader.read({ ...cut, after: unseen })
    if (left > 0)
      await this.#reader.read({ ...cut, after: left, live: true }, () => this.#stream.publish(left))
  }

  /** A share of what there is, such that it lasts. */
  #some(all: number, cuts: number): number {
    return Math.max(0, Math.min(all, Math.floor((2 * this.#random() * all) / cuts)))
  }

  #draw(place: Place, after: number): Cut {
    const how = this.#random() < 0.5 ? 'reset' : 'close'
    const live = place === 'live'
    const isOver = !live && this.#reader.seen.length === this.#stream.log.length
    const kind = isOver ? 1 : Math.floor(this.#random() * SELDOM)
    const upTo = (bytes: number) => Math.floor(this.#random() * bytes)
    if (kind === 0) return { in: 'frame', after, offset: upTo(FRAME_BYTES[place]), live, how }
    if (kind === 1) return { in: 'block', after: 0, offset: upTo(live ? BEAT_BYTES : RETRY_BYTES), live, how }
    if (kind === 2 && !live) return { in: 'head', after, offset: upTo(HEAD_BYTES), live, how }
    return { in: 'event', after, offset: this.offsets[place].draw(this.#reader.longest), live, how }
  }

  async #cut(place: Place, cut: Cut, caughtUp?: () => void): Promise<void> {
    const hit = await this.#reader.read(cut, caughtUp)
    this.#run.injected(
      `${this.#name}: ${cut.how} in ${cut.in === 'event' ? 'an event' : `a ${cut.in}`}, ${place}`,
    )
    if (cut.in === 'event') this.offsets[place].count(hit)
  }
}

async function cutOn(run: RowRun, native: Native, name: HostName, natsUrl: string): Promise<void> {
  const host = await startHost(name, { natsUrl, env: { HEARTBEAT_MS: String(HEARTBEAT_MS) } })
  run.defer(host.stop)
  const subject = `cuts_${name}`
  await makeStream(host.url, subject.toUpperCase(), { storage: 'memory' })
  const stream = new CutStream(native, subject, run.random(`payloads on ${name}`))
  const events = EVENTS[run.pace]
  stream.publish(events / 2)
  await until(`${events / 2} messages are stored`, async () => {
    const { state } = await native.ask<{ state: State }>(`STREAM.INFO.${subject.toUpperCase()}`)
    return state.last_seq === events / 2
  })
  const path = `/v1/streams/${subject.toUpperCase()}/messages?start=beginning&subject=${subject}.wanted`
  const reader = new CutReader(host.url, path)
  await reader.read({ in: 'event', after: 50, offset: 0, live: false, how: 'reset' })

  const cuts = run.rounds({ full: 2_600, part: 60 })
  const cutting = new CutRun(run, name, stream, reader)
  const failure = await cutting.cutAll(cuts).then(
    () => undefined,
    (err: unknown) => err,
  )
  for (const { invariant, what } of differences(reader.seen, stream.log))
    run.broken(invariant, `${name}: of ${events} events ${what}`)
  if (failure !== undefined) throw failure
  const { history, live } = cutting.offsets
  for (const [place, offsets] of Object.entries({ history, live })) {
    const missing = offsets.missing(reader.shortest)
    if (run.pace === 'full' && missing > 0)
      throw new Error(`${name}: ${missing} of ${reader.shortest} bytes of an event were not cut at, ${place}`)
  }
  run.figure(
    `${name}: ${events.toLocaleString('en')} events over ${cuts.toLocaleString('en')} cuts, in history at ` +
      `${history.hit.size} and live at ${live.hit.size} different bytes of an event, ` +
      `${history.characters + live.characters} times in the middle of a character`,
  )
}

/** Row 7 of the fault matrix. */
export const sseCutsRow: Row = {
  number: 7,
  fault: 'SSE cut at every byte of an event, in history and live, resumed by Last-Event-ID',
  shows: ['I2', 'I3'],
  async run(run) {
    const nats = await startNats()
    run.defer(nats.stop)
    const native = await openNative(nats.wsUrl)
    run.defer(native.close)
    for (const name of run.hosts) await cutOn(run, native, name, nats.wsUrl)
  },
}
