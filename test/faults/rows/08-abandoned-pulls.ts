/** Row 8: pulls are abandoned while they wait and in the middle of the answer, and the next client has all within a second. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Delivery, Pulled } from '../../contract/client.ts'
import { inParallel, range } from '../../contract/expectations.ts'
import { type Native, openNative } from '../../live/native.ts'
import { makeStream } from '../../publishing/stored.ts'
import { type HostName, startHost } from '../../support/host.ts'
import { startNats } from '../../support/nats.ts'
import type { Row, RowRun } from '../row.ts'
import { percentile } from './percentile.ts'
import { type Departure, type Left, pullAndLeave } from './vanishing-pull.ts'

const LANES = 8
const ACK_WAIT_MS = 300_000
const WAIT_MS = 30_000
/** What a client that is gone did not get is the next one's within this: judged in a full run alone, on a quiet machine. */
const GIVEN_BACK_MS = 1_000
/**
 * How long the next client is let wait before the messages count as lost on the one that left. In a part, which runs beside
 * other things, a pause of the machine is none; the ack wait is a long way off.
 */
const GIVE_UP_MS = { full: 3_000, part: 15_000 }
/** By then an answer that waits has begun in workerd. */
const BEGUN_MS = 450
/** More than the kernel takes off the bridge's hands while nobody reads: the bridge is in the middle when the client leaves. */
const LARGE = { messages: 24, bytes: 262_144, takenBytes: 262_144 }
const SMALL = { messages: 10, bytes: 2_000, restBytes: 900 }

/**
 * A client that leaves when the last bytes of its answer are on their way cannot be told from one that has them: of small
 * answers, left at any byte, the share that may stay with it until the ack wait.
 */
const LAST_BYTE_RACES = 0.02

type Kind = 'waiting' | 'small' | 'large'

interface Outcome {
  readonly kind: Kind
  /** It had the whole answer when it left. */
  readonly isWhole: boolean
  /** Until the next client had all. Undefined: never, or there was nothing to have. */
  readonly ms: number | undefined
}

/** One consumer, and the clients that come to it one after the other. */
class Lane {
  readonly #run: RowRun
  readonly #native: Native
  readonly #url: string
  readonly #path: string
  readonly #subject: string
  readonly #random: () => number

  constructor(run: RowRun, native: Native, url: string, place: { path: string; subject: string }) {
    this.#run = run
    this.#native = native
    this.#url = url
    this.#path = place.path
    this.#subject = place.subject
    this.#random = run.random(place.path)
  }

  async open(): Promise<void> {
    const answer = await fetch(this.#url + this.#path, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ filter_subjects: [this.#subject], ack_wait_ms: ACK_WAIT_MS }),
    })
    if (!answer.ok) throw new Error(`No consumer: ${await answer.text()}`)
  }

  async abandon(): Promise<Outcome> {
    const die = this.#random()
    if (die < 0.5) return await this.#whileWaiting()
    return await this.#inTheMiddle(die < 0.9 ? 'small' : 'large')
  }

  /** The messages come when the client is gone; the next one waits already, or comes after them. */
  async #whileWaiting(): Promise<Outcome> {
    const ms = this.#upTo(20) + (this.#random() < 0.5 ? 0 : BEGUN_MS)
    await this.#leave({ bytes: 0, ms, how: this.#how() }, 'while it waits')
    const stored = Promise.withResolvers<readonly number[]>()
    const isThere = this.#random() < 0.5
    const next = isThere ? this.#collect(stored.promise) : undefined
    await delay(this.#upTo(30))
    stored.resolve(await this.#publish(1 + this.#upTo(5), 100))
    const from = performance.now()
    const at = await (next ?? this.#collect(stored.promise))
    return { kind: 'waiting', isWhole: false, ms: at && Math.max(0, at - from) }
  }

  async #inTheMiddle(kind: 'small' | 'large'): Promise<Outcome> {
    const { messages, bytes } = kind === 'small' ? SMALL : LARGE
    const count = kind === 'small' ? 1 + this.#upTo(messages) : messages
    const size = kind === 'small' ? 1 + this.#upTo(bytes) : bytes
    const seqs = await this.#publish(count, size)
    const most = kind === 'small' ? count * (size + SMALL.restBytes) : LARGE.takenBytes
    const { at, pulled, isOver } = await this.#leave(
      { bytes: 1 + this.#upTo(most), ms: GIVE_UP_MS[this.#run.pace], how: this.#how() },
      `in the middle of a ${kind} answer`,
    )
    if (pulled && pulled.messages.length === count) return await this.#keep(kind, pulled, isOver)
    const has = new Set(pulled?.messages.map(({ seq }) => seq))
    const end = await this.#collect(Promise.resolve(seqs.filter((seq) => !has.has(seq))))
    return { kind, isWhole: false, ms: end && Math.max(0, end - at) }
  }

  /** A client that has the answer to its end keeps the messages; where the end alone is missing, they may go to another. */
  async #keep(kind: Kind, { messages }: Pulled, isOver: boolean): Promise<Outcome> {
    const others = await this.#pull(0)
    if (others.length > 0) await this.#acknowledge(others)
    const isStale =
      others.length > 0 || (await this.#settle(messages)).every(({ status }) => status === 'stale')
    if (isStale && isOver) this.#run.broken('I5', `${this.#path}: the whole answer, also to another client`)
    if (isStale && others.length === 0) await this.#collect(Promise.resolve(messages.map(({ seq }) => seq)))
    return { kind, isWhole: true, ms: undefined }
  }

  #leave(departure: Departure, when: string): Promise<Left> {
    this.#run.injected(`client gone ${when} by ${departure.how}`)
    return pullAndLeave(this.#url, this.#path, { batch: 100, wait_ms: WAIT_MS }, departure)
  }

  /** Pulls until it has all. Answers when that was. */
  async #collect(expected: Promise<readonly number[]>): Promise<number | undefined> {
    const got = new Set<number>()
    const giveUpAt = performance.now() + GIVE_UP_MS[this.#run.pace]
    while (performance.now() < giveUpAt) {
      const messages = await this.#pull(GIVE_UP_MS[this.#run.pace] / 3)
      const at = performance.now()
      for (const { seq } of messages) got.add(seq)
      await this.#acknowledge(messages)
      if (messages.length > 0 && (await expected).every((seq) => got.has(seq))) return at
    }
    return undefined
  }

  async #pull(wait_ms: number): Promise<readonly Delivery[]> {
    const { messages } = (await this.#post(`${this.#path}/pull`, { batch: 100, wait_ms })) as Pulled
    return messages
  }

  async #acknowledge(messages: readonly Delivery[]): Promise<void> {
    if (messages.length === 0) return
    const refused = (await this.#settle(messages)).filter(({ status }) => status !== 'ok')
    if (refused.length > 0) this.#run.broken('I5', `${this.#path}: acks answered ${JSON.stringify(refused)}`)
  }

  /** Acknowledges all of them: each is this client's, or none is. */
  async #settle(messages: readonly Delivery[]): Promise<readonly { status?: string }[]> {
    const acks = messages.map(({ ack_token: token }) => ({ token, action: 'ack' }))
    const { results } = (await this.#post('/v1/acks', { acks })) as { results: { status?: string }[] }
    const [first] = results
    if (results.some(({ status }) => status === undefined || status !== first?.status))
      this.#run.broken('I5', `${this.#path}: acks answered ${JSON.stringify(results)}`)
    return results
  }

  async #post(path: string, body: object): Promise<unknown> {
    const answer = await fetch(this.#url + path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
    if (!answer.ok) throw new Error(`POST ${path} → ${answer.status} ${await answer.text()}`)
    return await answer.json()
  }

  #publish(count: number, size: number): Promise<number[]> {
    const payload = Buffer.alloc(size, 'x')
    return Promise.all(
      range(1, count).map(() => this.#native.publish({ subject: this.#subject, payload, headers: {} })),
    )
  }

  #how(): 'reset' | 'close' {
    return this.#random() < 0.5 ? 'reset' : 'close'
  }

  #upTo(most: number): number {
    return Math.floor(this.#random() * most)
  }
}

async function abandonOn(run: RowRun, native: Native, name: HostName, natsUrl: string): Promise<void> {
  const host = await startHost(name, { natsUrl })
  run.defer(host.stop)
  const stream = `PULLS_${name.toUpperCase()}`
  await makeStream(host.url, stream, { storage: 'memory', max_bytes: 200_000_000 })
  const lanes = range(1, LANES).map((lane) => {
    const path = `/v1/streams/${stream}/consumers/lane${lane}`
    return new Lane(run, native, host.url, { path, subject: `${stream.toLowerCase()}.${lane}` })
  })
  await Promise.all(lanes.map((lane) => lane.open()))
  const rounds = run.rounds({ full: 1_000, part: 48 })
  let left = rounds
  const outcomes = await inParallel(lanes, LANES, async (lane) => {
    const own: Outcome[] = []
    for (; left > 0; ) {
      left -= 1
      own.push(await lane.abandon())
    }
    return own
  })
  tell(run, name, outcomes.flat())
}

function tell(run: RowRun, name: HostName, outcomes: readonly Outcome[]): void {
  const toOthers = outcomes.filter(({ isWhole }) => !isWhole)
  const times = toOthers.flatMap(({ ms }) => ms ?? []).sort((a, b) => a - b)
  if (times.length === 0) throw new Error(`${name}: nothing was given back`)
  const count = (kind: Kind, isLost: (outcome: Outcome) => boolean) =>
    toOthers.filter((outcome) => outcome.kind === kind && isLost(outcome)).length
  for (const kind of ['waiting', 'small', 'large'] as const) {
    const lost = count(kind, ({ ms }) => ms === undefined)
    const late = count(kind, ({ ms = 0 }) => ms > GIVEN_BACK_MS)
    const of = count(kind, () => true)
    const all = outcomes.filter((outcome) => outcome.kind === kind).length
    if (lost > (kind === 'small' ? Math.max(1, all * LAST_BYTE_RACES) : 0))
      run.broken('I5', `${name}: ${lost} of ${of} pulls left ${kind}: never given back`)
    if (late > 0 && run.pace === 'full')
      run.broken('I5', `${name}: ${late} of ${of} pulls left ${kind}: given back after a second`)
  }
  const [p50, p99, max] = [50, 99, 100].map((share) => percentile(times, share).toFixed(0))
  const raced = count('small', ({ ms }) => ms === undefined)
  run.figure(
    `${name}: ${toOthers.length} pulls abandoned, the next client has the messages after ${p50} ms (p50), ` +
      `${p99} ms (p99), ${max} ms at most; ${outcomes.length - toOthers.length} had the whole answer and kept it, as did ${raced} that left while its last bytes were on their way`,
  )
}

/** Row 8 of the fault matrix. */
export const abandonedPullsRow: Row = {
  number: 8,
  fault: 'pull abandoned while it waits and in the middle of the answer, ack wait 5 min',
  shows: ['I5'],
  async run(run) {
    const nats = await startNats()
    run.defer(nats.stop)
    const native = await openNative(nats.wsUrl)
    run.defer(native.close)
    for (const name of run.hosts) await abandonOn(run, native, name, nats.wsUrl)
  },
}
