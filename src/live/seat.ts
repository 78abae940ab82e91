/** One reader's place at a feed: what waits there for it, and how much may. */
import type { Hold } from '../holds.ts'
import type { Gap } from '../reading.ts'

/** Messages that came together, written once for all who read alike. */
export interface Chunk {
  readonly kind: 'chunk'
  /** Events; none where nobody reads them, but only wants to know that there are some. */
  readonly bytes: Uint8Array
  readonly messages: number
  /** Its last message. */
  readonly seq: number
  readonly time: string
}

/** How far a feed is. */
export interface FeedPoint {
  readonly seq: number
  readonly time: string | undefined
}

/** What a reader finds at the live end. */
export type LiveItem =
  | Chunk
  | { readonly kind: 'gap'; readonly gap: Gap }
  /** A sign of life. `bytes` moves the reader on to `seq`; absent: there is nowhere to move. */
  | ({ readonly kind: 'idle'; readonly bytes?: Uint8Array } & FeedPoint)
  /** The reader was too slow, or the feed ended: go on from history. `failure`: why it ended. */
  | { readonly kind: 'left'; readonly failure?: unknown }

/** What chunks that wait for slow readers take together; each counts once, however many wait for it. */
export class BufferBudget {
  readonly #maxBytes: number
  /** Not a `Map`, in which chunks may stay for long after they were let go (see `LinkedList`). */
  readonly #holders = new WeakMap<Chunk, number>()
  readonly #memory: Hold | undefined
  #bytes = 0

  /** `memory`: what the host counts them by; absent: nobody does. */
  constructor(maxBytes: number, memory?: Hold) {
    this.#maxBytes = maxBytes
    this.#memory = memory
  }

  /** False: there is no room for it. */
  hold(chunk: Chunk): boolean {
    const holders = this.#holders.get(chunk) ?? 0
    if (holders === 0) {
      if (this.#bytes + chunk.bytes.length > this.#maxBytes) return false
      if (this.#memory?.tryTake(chunk.bytes.length, 'buffers') === false) return false
      this.#bytes += chunk.bytes.length
    }
    this.#holders.set(chunk, holders + 1)
    return true
  }

  release(chunk: Chunk): void {
    const holders = this.#holders.get(chunk)
    if (holders === undefined) return
    if (holders > 1) {
      this.#holders.set(chunk, holders - 1)
      return
    }
    this.#holders.delete(chunk)
    this.#bytes -= chunk.bytes.length
    this.#memory?.give(chunk.bytes.length, 'buffers')
  }
}

/** One reader's place. Whoever takes it leaves it. */
export interface Seat {
  /** When the stream was made that its feed follows. */
  readonly created: string
  /** Everything after this sequence comes here; what was before is history's. */
  readonly afterSeq: number
  /** How far its feed is. */
  readonly at: FeedPoint
  /** What waits, taken off: items in their order, chunks of about `maxBytes` at most. */
  take(maxBytes: number): LiveItem[]
  /** Calls `receive` with the next item, once, as soon as it comes. Only where nothing waits. */
  wait(receive: (item: LiveItem) => void): void
  leave(): void
}

export interface SeatOptions {
  readonly created: string
  readonly afterSeq: number
  readonly bufferBytes: number
  readonly budget: BufferBudget
  readonly at: () => FeedPoint
  readonly left: (seat: SeatBuffer) => void
}

/** Of a chunk, no more is counted while it is given to a reader that waits: about what its connection costs anyway. */
const SMALL_BYTES = 65_536

/** A seat as its feed sees it. */
export class SeatBuffer implements Seat {
  readonly created: string
  readonly afterSeq: number
  readonly #options: SeatOptions
  #items: LiveItem[] = []
  #bytes = 0
  #receive: ((item: LiveItem) => void) | undefined
  /** A large chunk that the reader was given while it waited, and may not have taken yet. */
  #given: Chunk | undefined
  #ended = false

  constructor(options: SeatOptions) {
    this.created = options.created
    this.afterSeq = options.afterSeq
    this.#options = options
  }

  /** Whether more waits here than the reader of a seat that keeps up leaves for long. */
  get isBehind(): boolean {
    return this.#bytes > this.#options.bufferBytes / 4
  }

  get at(): FeedPoint {
    return this.#options.at()
  }

  get isWaiting(): boolean {
    return this.#receive !== undefined
  }

  push(item: LiveItem): void {
    if (this.#ended) return
    if (item.kind === 'left') this.#ended = true
    const receive = this.#receive
    if (receive) {
      this.#receive = undefined
      receive(this.#give(item))
      return
    }
    if (item.kind === 'chunk' && !this.#hold(item)) this.leaveBehind()
    else this.#items.push(item)
  }

  /** The reader is too slow: what waits for it is dropped, and history has it. */
  leaveBehind(): void {
    if (this.#ended) return
    this.#drop()
    this.#ended = true
    this.#items = [{ kind: 'left' }]
  }

  take(maxBytes: number): LiveItem[] {
    this.#taken()
    let bytes = 0
    const enough = this.#items.findIndex((item) => {
      if (item.kind === 'chunk') bytes += item.bytes.length
      return bytes >= maxBytes
    })
    const taken = this.#items.splice(0, enough === -1 ? this.#items.length : enough + 1)
    for (const item of taken) this.#release(item)
    return taken
  }

  wait(receive: (item: LiveItem) => void): void {
    this.#taken()
    this.#receive = receive
  }

  leave(): void {
    this.#ended = true
    this.#receive = undefined
    this.#taken()
    this.#drop()
    this.#options.left(this)
  }

  /** What a reader that waits is given: where there is no room for it, history has it, and waits for some. */
  #give(item: LiveItem): LiveItem {
    if (item.kind !== 'chunk' || item.bytes.length <= SMALL_BYTES) return item
    if (this.#options.budget.hold(item)) {
      this.#given = item
      return item
    }
    this.#ended = true
    return { kind: 'left' }
  }

  /** The reader asks for more, or for nothing any more. */
  #taken(): void {
    if (this.#given) this.#options.budget.release(this.#given)
    this.#given = undefined
  }

  /** One chunk may always wait: else one that is larger than the buffer would never be read live. */
  #hold(chunk: Chunk): boolean {
    const { bufferBytes, budget } = this.#options
    if (this.#bytes > 0 && this.#bytes + chunk.bytes.length > bufferBytes) return false
    if (!budget.hold(chunk)) return false
    this.#bytes += chunk.bytes.length
    return true
  }

  #release(item: LiveItem): void {
    if (item.kind !== 'chunk') return
    this.#bytes -= item.bytes.length
    this.#options.budget.release(item)
  }

  #drop(): void {
    for (const item of this.#items) this.#release(item)
    this.#items = []
  }
}

/** One write costs less than many. */
export function joinBytes(chunks: readonly Chunk[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((sum, { bytes }) => sum + bytes.length, 0))
  let at = 0
  for (const { bytes } of chunks) {
    whole.set(bytes, at)
    at += bytes.length
  }
  return whole
}
