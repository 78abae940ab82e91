/** Row 15: 500 readers that take a byte a second beside healthy ones, which miss nothing; memory stays bounded. */
import { setTimeout as delay } from 'node:timers/promises'
import { inParallel, range, until } from '../../contract/expectations.ts'
import { type Native, openNative } from '../../live/native.ts'
import { watchMemory } from '../../publishing/process-memory.ts'
import { makeStream } from '../../publishing/stored.ts'
import { type HostName, startHost } from '../../support/host.ts'
import { startNats } from '../../support/nats.ts'
import type { Row, RowRun } from '../row.ts'
import { differences, type Entry } from './log-check.ts'
import { percentile } from './percentile.ts'
import { SwarmReader } from './swarm-reader.ts'

const SLOW = { full: 500, part: 40 } as const
const HEALTHY = { full: 50, part: 10 } as const
/** Of publishing without the slow readers, and then beside them. */
const ALONE_MS = { full: 4_000, part: 700 } as const
const BESIDE_MS = { full: 20_000, part: 1_500 } as const
const OPENED_AT_ONCE = 50
const TAKE_MS = 1_000
const TURN_MS = 200
const GIVE_UP_MS = 20_000
const MB = 1_000_000

/** So much more than the kernel takes for each slow reader that what is behind it waits in the host. */
const TURN = { messages: 4, bytes: 20_000 } as const
/** `MAX_BUFFERED_BYTES` of live/reader.ts: what waits for all readers of a connection. */
const BUDGET_BYTES = 33_554_432
/** What is being written to a reader: a piece of what waited, or a page of history. */
const WRITE_BYTES = 1_310_720
/** What V8 and the HTTP server keep of work of this size; seen without a slow reader, too. */
const HOST_BYTES = 150 * MB

class SlowCrowd {
  readonly log: Entry[] = []
  #latencies: number[] = []
  readonly #native: Native
  readonly #subject: string
  readonly #healthy: readonly SwarmReader[]

  constructor(native: Native, subject: string, port: number, healthy: number) {
    this.#native = native
    this.#subject = subject
    const path = `/v1/streams/${subject.toUpperCase()}/messages`
    const heard = ({ data }: { data: string }) => {
      this.#latencies.push(performance.now() - Number(data.slice(0, data.indexOf(' '))))
    }
    this.#healthy = range(1, healthy).map(() => new SwarmReader({ port, path, heard }))
  }

  get healthy(): readonly SwarmReader[] {
    return this.#healthy
  }

  /** Publishes for a while; resolves when the healthy readers have it all. Answers their latencies in rising order. */
  async publish(ms: number): Promise<readonly number[]> {
    this.#latencies = []
    const end = performance.now() + ms
    while (performance.now() < end) {
      await Promise.all(range(1, TURN.messages).map(() => this.#publishOne()))
      await delay(TURN_MS)
    }
    this.log.sort((a, b) => a.seq - b.seq)
    const last = this.log.at(-1)?.seq ?? 0
    await until('the healthy readers have everything', async () => this.#are(last), GIVE_UP_MS).catch(
      () => undefined,
    )
    return this.#latencies.sort((a, b) => a - b)
  }

  #are(seq: number): boolean {
    return this.#healthy.every(({ position }) => position >= seq)
  }

  async #publishOne(): Promise<void> {
    const payload = `${performance.now()} `.padEnd(TURN.bytes, 'x')
    const seq = await this.#native.publish({
      subject: `${this.#subject}.a`,
      payload: Buffer.from(payload),
      headers: {},
    })
    this.log.push({ seq, payload })
  }
}

async function crowdOn(run: RowRun, native: Native, name: HostName, natsUrl: string): Promise<void> {
  const host = await startHost(name, { natsUrl })
  run.defer(host.stop)
  const port = Number(new URL(host.url).port)
  const subject = `slow_${name}`
  await makeStream(host.url, subject.toUpperCase(), { storage: 'memory' })
  const crowd = new SlowCrowd(native, subject, port, HEALTHY[run.pace])
  const path = `/v1/streams/${subject.toUpperCase()}/messages`
  const slow = range(1, run.rounds(SLOW)).map(() => new SwarmReader({ port, path }))
  run.defer(() => {
    for (const reader of [...crowd.healthy, ...slow]) reader.cut('close')
  })

  await inParallel(crowd.healthy, OPENED_AT_ONCE, (reader) => reader.open('live'))
  const alone = await crowd.publish(ALONE_MS[run.pace])
  await inParallel(slow, OPENED_AT_ONCE, (reader) => reader.open('live'))
  const memory = watchMemory(host.pid)
  const takes = slow.map((reader) => reader.slowDown())
  run.injected(`${name}: reader takes a byte a second`, slow.length)
  const taking = setInterval(() => {
    for (const take of takes) take()
  }, TAKE_MS)
  run.defer(() => clearInterval(taking))
  const beside = await crowd.publish(BESIDE_MS[run.pace])

  const grown = memory.peakBytes() - memory.levelBytes
  const most = HOST_BYTES + BUDGET_BYTES + slow.length * WRITE_BYTES
  if (grown > most) run.broken('I7', `${name}: grew by ${inMb(grown)} MB, by more than ${inMb(most)} MB`)
  for (const reader of crowd.healthy)
    for (const { invariant, what } of differences(reader.seen, crowd.log).slice(0, 1))
      run.broken(invariant, `${name}: a healthy reader: ${what}`)
  if (alone.length === 0 || beside.length === 0) throw new Error(`${name}: the healthy readers heard nothing`)
  run.figure(
    `${name}: ${inMb(grown)} MB more at most under ${slow.length} slow readers (bound ${inMb(most)} MB) while ` +
      `${inMb(crowd.log.length * TURN.bytes)} MB were published; p99 of ${crowd.healthy.length} healthy ones ` +
      `${percentile(beside, 99).toFixed(0)} ms, without slow ones ${percentile(alone, 99).toFixed(0)} ms`,
  )
}

const inMb = (bytes: number) => Math.round(bytes / MB)

/** Row 15 of the fault matrix. */
export const slowReadersRow: Row = {
  number: 15,
  fault: 'readers at 1 byte/s beside healthy ones',
  shows: ['I2', 'I3', 'I7'],
  async run(run) {
    const nats = await startNats()
    run.defer(nats.stop)
    const native = await openNative(nats.wsUrl)
    run.defer(native.close)
    for (const name of run.hosts) await crowdOn(run, native, name, nats.wsUrl)
  },
}
