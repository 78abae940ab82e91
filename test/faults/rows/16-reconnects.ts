/** Row 16: the host is killed under 2,000 readers, comes back, and all of them come again within a second. */
import { setTimeout as delay } from 'node:timers/promises'
import { inParallel, range, until } from '../../contract/expectations.ts'
import { type Native, openNative } from '../../live/native.ts'
import { watchMemory } from '../../publishing/process-memory.ts'
import { makeStream } from '../../publishing/stored.ts'
import { type HostName, newTokenKey, startHost } from '../../support/host.ts'
import { startNats } from '../../support/nats.ts'
import type { Row, RowRun } from '../row.ts'
import { differences, type Entry } from './log-check.ts'
import { SwarmReader } from './swarm-reader.ts'

const READERS = { full: 2_000, part: 150 } as const
const MB = 1_000_000
/** All come back within this, as the `retry` of their streams tells them. */
const WITHIN_MS = 1_000
const RETRY_MS = 100
const GIVE_UP_MS = 45_000
/** Messages that come while the host is there, while it is away, and when it is there again. */
const BATCH = 40
const PAYLOAD_BYTES = 200
/** A reader that catches up has its page of history in memory, as messages and as text; workerd's V8 is in no hurry to clear up. */
const READER_BYTES = { node: 100_000, workerd: 500_000 } as const
const HOST_BYTES = 200 * MB

class Deploys {
  readonly log: Entry[] = []
  failedConnects = 0
  longestMs = 0
  readonly #run: RowRun
  readonly #native: Native
  readonly #subject: string
  readonly #readers: readonly SwarmReader[]
  readonly #random: () => number

  constructor(run: RowRun, native: Native, subject: string, readers: readonly SwarmReader[]) {
    this.#run = run
    this.#native = native
    this.#subject = subject
    this.#readers = readers
    this.#random = run.random(subject)
  }

  async publish(): Promise<void> {
    const added = await inParallel(range(1, BATCH), BATCH, async (n) => {
      const payload = `${this.log.length + n} `.padEnd(PAYLOAD_BYTES, 'x')
      const seq = await this.#native.publish({
        subject: this.#subject,
        payload: Buffer.from(payload),
        headers: {},
      })
      return { seq, payload }
    })
    this.log.push(...added.sort((a, b) => a.seq - b.seq))
  }

  /** All have everything. */
  async settle(): Promise<void> {
    const last = this.log.at(-1)?.seq ?? 0
    const behind = () => this.#readers.filter(({ position }) => position < last)
    await until('every reader has everything', async () => behind().length === 0, GIVE_UP_MS).catch(() => {
      this.#run.broken('I2', `${this.#subject}: ${behind().length} readers never came to ${last}`)
    })
  }

  async comeAgain(): Promise<void> {
    const beganAt = performance.now()
    await Promise.all(
      this.#readers.map(async (reader) => {
        await delay(this.#random() * WITHIN_MS)
        await this.#open(reader, beganAt + GIVE_UP_MS)
      }),
    )
    this.longestMs = Math.max(this.longestMs, performance.now() - beganAt)
    this.#run.injected(`${this.#subject}: a reader comes again`, this.#readers.length)
  }

  async #open(reader: SwarmReader, giveUpAt: number): Promise<void> {
    for (;;) {
      try {
        return await reader.open('live')
      } catch (err) {
        this.failedConnects += 1
        if (performance.now() > giveUpAt) throw err
        await delay(RETRY_MS)
      }
    }
  }
}

async function deployOn(run: RowRun, native: Native, name: HostName, natsUrl: string): Promise<void> {
  const env = { TOKEN_KEYS: newTokenKey() }
  let host = await startHost(name, { natsUrl, env })
  run.defer(() => host.stop())
  const port = Number(new URL(host.url).port)
  const stream = `DEPLOYS_${name.toUpperCase()}`
  await makeStream(host.url, stream, { storage: 'memory' })
  const path = `/v1/streams/${stream}/messages?start=beginning`
  const readers = range(1, READERS[run.pace]).map(() => new SwarmReader({ port, path }))
  run.defer(() => {
    for (const reader of readers) reader.cut('close')
  })
  const deploys = new Deploys(run, native, `${stream.toLowerCase()}.a`, readers)
  await deploys.publish()
  await deploys.comeAgain()
  deploys.longestMs = 0

  let grownBytes = 0
  for (const _ of range(1, run.rounds({ full: 2, part: 1 }))) {
    await deploys.publish()
    await host.crash()
    run.injected(`${name} SIGKILLed under ${readers.length} readers`)
    await deploys.publish()
    host = await startHost(name, { natsUrl, env, port })
    const memory = watchMemory(host.pid)
    const coming = deploys.comeAgain()
    await deploys.publish()
    await coming
    await deploys.publish()
    await deploys.settle()
    grownBytes = Math.max(grownBytes, memory.peakBytes() - memory.levelBytes)
  }
  const wrong = readers.flatMap((reader) => differences(reader.seen, deploys.log).slice(0, 1))
  for (const { invariant, what } of wrong.slice(0, 3))
    run.broken(invariant, `${name}: ${wrong.length} of ${readers.length} readers, such as: ${what}`)
  const mostBytes = HOST_BYTES + readers.length * READER_BYTES[name]
  if (grownBytes > mostBytes)
    run.broken('I7', `${name}: grew by ${inMb(grownBytes)} MB, by more than ${inMb(mostBytes)} MB`)
  run.figure(
    `${name}: ${readers.length.toLocaleString('en')} readers live again ${(deploys.longestMs / 1_000).toFixed(1)} s ` +
      `after the host was back, ${deploys.failedConnects} failed connects, ${inMb(grownBytes)} MB more at most`,
  )
}

const inMb = (bytes: number) => Math.round(bytes / MB)

/** Row 16 of the fault matrix. */
export const reconnectsRow: Row = {
  number: 16,
  fault: 'the host SIGKILLed under 2,000 readers, which all come back within a second with Last-Event-ID',
  shows: ['I2', 'I3', 'I7'],
  async run(run) {
    const nats = await startNats()
    run.defer(nats.stop)
    const native = await openNative(nats.wsUrl)
    run.defer(native.close)
    for (const name of run.hosts) await deployOn(run, native, name, nats.wsUrl)
  },
}
