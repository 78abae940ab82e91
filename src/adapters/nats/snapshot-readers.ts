/**
 * Consumers that read the last message of each subject, kept between two pages: a new one would begin at the first
 * message again, and the pages of a snapshot together would cost the square of its size.
 */
import type { Delivery } from '../../jetstream.ts'
import { createTimers } from '../../timers.ts'
import type { ConsumerReader } from './consumer-reads.ts'
import { MAX_BATCH, MAX_BATCH_BYTES } from './direct-get.ts'

/** How long one waits for the next page, ms: less than its server waits for it. */
const KEPT_MS = 5_000
/** Those of one connection that wait; each may hold a batch that was read and not used. */
const MAX_KEPT = 8

/** Reads one snapshot on, from wherever the last page ended. */
export class SnapshotReader {
  readonly #reader: ConsumerReader
  readonly #ahead: Delivery[] = []

  constructor(reader: ConsumerReader) {
    this.#reader = reader
  }

  /** The next message, in order; undefined at the end. `wanted`: how much of what follows it is needed. */
  async next(wanted: {
    readonly batch: number
    readonly maxBytes: number
    readonly signal?: AbortSignal
  }): Promise<Delivery | undefined> {
    const ready = this.#ahead.shift()
    if (ready) return ready
    const { deliveries } = await this.#reader.read(wanted)
    this.#ahead.push(...deliveries)
    return this.#ahead.shift()
  }

  /** The first message from `fromSeq` on. */
  async skipTo(fromSeq: number, signal: AbortSignal | undefined): Promise<Delivery | undefined> {
    const wanted = { batch: MAX_BATCH, maxBytes: MAX_BATCH_BYTES, ...(signal ? { signal } : {}) }
    for (;;) {
      const delivery = await this.next(wanted)
      if (!delivery || delivery.seq >= fromSeq) return delivery
    }
  }

  close(): void {
    this.#reader.close()
  }
}

/** The readers of one connection that wait for the next page. */
export class SnapshotReaders {
  readonly #kept = new Map<string, { readonly reader: SnapshotReader; readonly stop: () => void }>()
  readonly #startTimer = createTimers()

  /** `key`: which snapshot, and where it goes on. Whoever takes a reader keeps or closes it. */
  take(key: string): SnapshotReader | undefined {
    const kept = this.#kept.get(key)
    kept?.stop()
    this.#kept.delete(key)
    return kept?.reader
  }

  keep(key: string, reader: SnapshotReader): void {
    this.#drop(key)
    const [oldest] = this.#kept.keys()
    if (oldest !== undefined && this.#kept.size >= MAX_KEPT) this.#drop(oldest)
    const entry = { reader, stop: this.#startTimer(() => this.#drop(key, reader), KEPT_MS) }
    this.#kept.set(key, entry)
  }

  close(): void {
    for (const key of [...this.#kept.keys()]) this.#drop(key)
  }

  #drop(key: string, only?: SnapshotReader): void {
    if (only && this.#kept.get(key)?.reader !== only) return
    this.take(key)?.close()
  }
}
