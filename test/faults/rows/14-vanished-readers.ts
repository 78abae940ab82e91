/** Row 14: readers of server-sent events vanish, in order, by a reset or without a word, and nothing is left behind them. */
import { inParallel, range, until } from '../../contract/expectations.ts'
import { type Native, openNative } from '../../live/native.ts'
import { watchMemory } from '../../publishing/process-memory.ts'
import { makeStream } from '../../publishing/stored.ts'
import { type HostName, startHost, type TestHost } from '../../support/host.ts'
import { startNats, type TestNats } from '../../support/nats.ts'
import { startProxy, type TcpProxy } from '../proxy.ts'
import type { Row, RowRun } from '../row.ts'
import { type LeftOvers, lookForLeftOvers, tellLeftOvers } from './left-overs.ts'
import { SwarmReader } from './swarm-reader.ts'

const READERS = { full: 1_000, part: 90 } as const
const HEARTBEAT_MS = { full: 2_000, part: 500 } as const
/** Behind a heartbeat, in which a host hears that somebody is gone. */
const GONE_MS = { full: 5_000, part: 30_000 } as const
/** A feed without a reader is kept so long, for readers that come back. */
const LINGER_MS = 5_000
const OPENED_AT_ONCE = 50
/** As many readers share a consumer. */
const PER_CONSUMER = 50
const GIVEN_BACK_MS = 1_000
/** In a part, which runs beside other things, a pause of the machine is no loss: the ack wait is a long way off. */
const SURELY_BACK_MS = 30_000
const ACK_WAIT_MS = { gone: 300_000, silent: 2_000 } as const
const SILENT_MESSAGES = 10
const MB = 1_000_000
/** Held by silent readers besides what they cost while they are heard of. */
const SILENT_BYTES = { each: 300_000, host: 100 * MB } as const

type End = 'close' | 'reset' | 'silence'
const ENDS: readonly End[] = ['close', 'reset', 'silence']

interface Vanishing {
  readonly end: End
  readonly reader: SwarmReader
}

/** A host, its readers, and what there was before them. */
class VanishingSwarm {
  readonly #run: RowRun
  readonly #host: TestHost
  readonly #nats: TestNats
  readonly #native: Native
  readonly #stream: string

  constructor(run: RowRun, host: TestHost, nats: TestNats, native: Native) {
    this.#run = run
    this.#host = host
    this.#nats = nats
    this.#native = native
    this.#stream = `VANISH_${host.name.toUpperCase()}`
  }

  get #path(): string {
    return `/v1/streams/${this.#stream}`
  }

  async run(): Promise<void> {
    await makeStream(this.#host.url, this.#stream, { storage: 'memory' })
    await this.#makeConsumers()
    // What connections to NATS have of their own, this one's too, is there once they were used.
    await this.#native.ready()
    await this.#post(`${this.#path}/consumers/gone0/pull`, { batch: 1 })
    const before = await this.#look()
    const proxy = await startProxy(Number(new URL(this.#host.url).port), this.#run.random('proxy'))
    this.#run.defer(proxy.close)
    const all = await this.#open(proxy)
    const silent = all.filter(({ end }) => end === 'silence').length
    const open = await this.#look()
    if (open.events !== all.length) throw new Error(`${open.events} of ${all.length} readers are open`)

    const memory = watchMemory(this.#host.pid)
    this.#vanish(all, proxy)
    const goneMs = await this.#untilGone(silent)
    const backMs = await this.#pullBack()
    await this.#publish(`${this.#stream.toLowerCase()}.silent.0`, SILENT_MESSAGES)
    const held = await this.#look()
    const grown = memory.peakBytes() - memory.levelBytes
    if (grown > SILENT_BYTES.host + silent * SILENT_BYTES.each)
      this.#run.broken(
        'I7',
        `${this.#host.name}: grew by ${Math.round(grown / MB)} MB under ${silent} silent readers`,
      )
    await proxy.close()
    const [clearMs] = await Promise.all([this.#untilClear(before), this.#expectRedelivery()])
    this.#run.figure(
      `${this.#host.name}: of ${all.length} readers those that closed or reset are gone after ${inSeconds(goneMs)} s, ` +
        `what comes then is with the next client after ${backMs.toFixed(0)} ms; ${held.events} of ${silent} silent ones are ` +
        `held until TCP gives up, ${Math.round(grown / MB)} MB more at most; nothing left ${inSeconds(clearMs)} s after that`,
    )
  }

  async #makeConsumers(): Promise<void> {
    const each = Math.ceil(READERS[this.#run.pace] / 2 / PER_CONSUMER)
    for (const kind of ['gone', 'silent'] as const)
      for (const n of range(0, each - 1)) {
        const answer = await fetch(`${this.#host.url}${this.#path}/consumers/${kind}${n}`, {
          method: 'PUT',
          headers: { 'Content-Type': 'application/json' },
          body: JSON.stringify({
            filter_subjects: [`${this.#stream.toLowerCase()}.${kind}.${n}`],
            ack_wait_ms: ACK_WAIT_MS[kind],
          }),
        })
        if (!answer.ok) throw new Error(await answer.text())
      }
  }

  #look(): Promise<LeftOvers> {
    return lookForLeftOvers(this.#host, this.#nats, this.#stream)
  }

  /** Every second one reads by cursor, the others a consumer. */
  async #open(proxy: TcpProxy): Promise<readonly Vanishing[]> {
    const port = Number(new URL(this.#host.url).port)
    return await inParallel(range(0, READERS[this.#run.pace] - 1), OPENED_AT_ONCE, async (n) => {
      const end = ENDS[n % ENDS.length] ?? 'close'
      const consumer = `${end === 'silence' ? 'silent' : 'gone'}${Math.floor(n / 2 / PER_CONSUMER)}`
      const path = n % 2 === 0 ? `${this.#path}/messages` : `${this.#path}/consumers/${consumer}/messages`
      const reader = new SwarmReader({ port: end === 'silence' ? proxy.port : port, path })
      this.#run.defer(() => reader.cut('close'))
      await reader.open('begun')
      return { end, reader }
    })
  }

  #vanish(all: readonly Vanishing[], proxy: TcpProxy): void {
    proxy.setWeather({ blackhole: true })
    for (const { end, reader } of all) if (end !== 'silence') reader.cut(end)
    for (const end of ENDS)
      this.#run.injected(
        `${this.#host.name}: reader gone by ${end}`,
        all.filter((one) => one.end === end).length,
      )
  }

  /** What is published now is for none of those who are gone. Answers when the next client had all of it, ms. */
  async #pullBack(): Promise<number> {
    const each = Math.ceil(READERS[this.#run.pace] / 2 / PER_CONSUMER)
    const times = await Promise.all(
      range(0, each - 1).map(async (n) => {
        const subject = `${this.#stream.toLowerCase()}.gone.${n}`
        await this.#publish(subject, 10)
        return await this.#collect(`gone${n}`, 10)
      }),
    )
    const longest = Math.max(...times)
    const most = this.#run.pace === 'full' ? GIVEN_BACK_MS : SURELY_BACK_MS
    if (longest > most)
      this.#run.broken(
        'I5',
        `${this.#host.name}: a vanished reader's messages came after ${Math.round(longest)} ms`,
      )
    return longest
  }

  /** A silent reader may be there: what it was given comes back by the ack wait, once it is known to be gone. */
  async #expectRedelivery(): Promise<void> {
    const ms = await this.#collect('silent0', SILENT_MESSAGES)
    const most = ACK_WAIT_MS.silent + (this.#run.pace === 'full' ? 2 * GIVEN_BACK_MS : SURELY_BACK_MS)
    if (ms > most)
      this.#run.broken('I5', `${this.#host.name}: of silent readers it came back after ${Math.round(ms)} ms`)
  }

  async #publish(subject: string, count: number): Promise<void> {
    const message = { subject, payload: Buffer.from('x'), headers: {} }
    await Promise.all(range(1, count).map(() => this.#native.publish(message)))
  }

  async #collect(consumer: string, count: number): Promise<number> {
    const beganAt = performance.now()
    const got = new Set<number>()
    while (got.size < count && performance.now() - beganAt < ACK_WAIT_MS.silent + SURELY_BACK_MS) {
      const { messages } = (await this.#post(`${this.#path}/consumers/${consumer}/pull`, {
        batch: 10,
        wait_ms: 500,
      })) as {
        messages: { seq: number; ack_token: string }[]
      }
      for (const { seq } of messages) got.add(seq)
      if (messages.length === 0) continue
      await this.#post('/v1/acks', {
        acks: messages.map(({ ack_token: token }) => ({ token, action: 'ack' })),
      })
    }
    return got.size < count ? Number.POSITIVE_INFINITY : performance.now() - beganAt
  }

  async #post(path: string, body: object): Promise<unknown> {
    const answer = await fetch(this.#host.url + path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
    if (!answer.ok) throw new Error(`POST ${path} → ${answer.status} ${await answer.text()}`)
    return await answer.json()
  }

  async #untilGone(silent: number): Promise<number> {
    const within = HEARTBEAT_MS[this.#run.pace] + GONE_MS[this.#run.pace]
    const look = async () => (await this.#look()).events <= silent
    return await this.#within(within, 'events besides those of silent readers', look)
  }

  async #untilClear(before: LeftOvers): Promise<number> {
    const within = HEARTBEAT_MS[this.#run.pace] + GONE_MS[this.#run.pace] + LINGER_MS
    return await this.#within(
      within,
      'all',
      async () => {
        const left = tellLeftOvers(await this.#look(), before)
        return left === ''
      },
      before,
    )
  }

  async #within(ms: number, what: string, look: () => Promise<boolean>, before?: LeftOvers): Promise<number> {
    const beganAt = performance.now()
    await until(what, look, ms).catch(async () => {
      const now = await this.#look()
      const left = before ? tellLeftOvers(now, before) : `${now.events} events`
      this.#run.broken('I8', `${this.#host.name}: after ${ms} ms there are still ${left}`)
    })
    return performance.now() - beganAt
  }
}

const inSeconds = (ms: number) => (ms / 1_000).toFixed(1)

async function vanishOn(run: RowRun, name: HostName): Promise<void> {
  // One each, so that what is subscribed there is this host's.
  const nats = await startNats()
  run.defer(nats.stop)
  const native = await openNative(nats.wsUrl)
  run.defer(native.close)
  const env = { HEARTBEAT_MS: String(HEARTBEAT_MS[run.pace]) }
  const host = await startHost(name, { natsUrl: nats.wsUrl, env })
  run.defer(host.stop)
  await new VanishingSwarm(run, host, nats, native).run()
}

/** Row 14 of the fault matrix. */
export const vanishedReadersRow: Row = {
  number: 14,
  fault: 'SSE readers of streams and consumers vanish: closed, reset, silent',
  shows: ['I5', 'I7', 'I8'],
  async run(run) {
    // Both wait most of the time.
    await Promise.all(run.hosts.map((name) => vanishOn(run, name)))
  },
}
