/** The memory of a page while it is read: asked for before JetStream is, and counted by what came. */
import { heldBytes } from '../message-size.ts'
import type { Page, PageRequest } from '../reading.ts'
import { MAX_BATCH_BYTES } from './batches.ts'

/** While they come, messages are there as the connection brought them, too. */
const COPIES = 2

/** Streams of a connection of which it is known how large their messages are. */
const MAX_KNOWN = 1_000
/** Messages of a page may be so many times larger than those before, before the page is counted as larger than was asked for. */
const MARGIN = 4
const LEAST_BYTES = 65_536
/** What was learned of a stream's messages is forgotten by so much with each page. */
const FORGETTING = 0.9

/** How large messages are, bytes, of the streams that are read over a connection. */
const known = new WeakMap<object, Map<string, number>>()

export class PageRoom {
  readonly #room: PageRequest['room']
  /** Of one step: a batch for each filter. */
  readonly #stepBytes: number
  readonly #stream: string
  readonly #known: Map<string, number>
  #counted = 0

  /** `connection`: what the page is read over. */
  constructor(connection: object, { room, maxBytes, filters, stream, limit }: PageRequest) {
    this.#room = room
    this.#stream = stream
    this.#known = known.get(connection) ?? new Map()
    known.set(connection, this.#known)
    const usual = this.#known.get(stream)
    const likely = MARGIN * limit * (usual ?? MAX_BATCH_BYTES)
    const bounded = Math.min(maxBytes, MAX_BATCH_BYTES, Math.max(likely, LEAST_BYTES))
    // One message always comes, however few bytes are asked for.
    const batchBytes = Math.max(bounded, usual ?? 0)
    this.#stepBytes = COPIES * batchBytes * Math.max(1, filters.length)
  }

  /** Waits for room for the first step; undefined: there is. Throws `host_full`, `too_many_requests`. */
  begin(): Promise<void> | undefined {
    if (!this.#room) return undefined
    const { hold, withinMs } = this.#room
    const waiting = hold.wait(this.#stepBytes, 'answers', withinMs)
    if (!waiting) this.#counted = this.#stepBytes
    return waiting?.then(() => {
      this.#counted = this.#stepBytes
    })
  }

  /** Whether there is room for a further step, beside so many bytes that have come. */
  hasRoomBeside(bytes: number): boolean {
    if (!this.#room) return true
    const more = bytes + this.#stepBytes - this.#counted
    if (more <= 0) return true
    if (!this.#room.hold.tryTake(more, 'answers')) return false
    this.#counted += more
    return true
  }

  /** Counts the page as it is. Throws as `begin`. */
  settle(page: Page): Page {
    if (!this.#room) return page
    const bytes = heldBytes(page.messages)
    // First, also where there is no room for it: so that it is not read in vain again and again.
    if (page.messages.length > 0) this.#learn(bytes / page.messages.length)
    this.#countTo(bytes)
    return { ...page, heldBytes: bytes }
  }

  #learn(bytes: number): void {
    const before = this.#known.get(this.#stream) ?? 0
    if (this.#known.size >= MAX_KNOWN) this.#known.clear()
    this.#known.set(this.#stream, Math.max(bytes, before * FORGETTING))
  }

  /** There is no page. */
  leave(): void {
    if (this.#room) this.#countTo(0)
  }

  #countTo(bytes: number): void {
    const more = bytes - this.#counted
    if (more > 0) this.#room?.hold.take(more, 'answers')
    else this.#room?.hold.give(-more, 'answers')
    this.#counted = bytes
  }
}
