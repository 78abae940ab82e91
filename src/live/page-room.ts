/** The memory of a page while it is read: asked for before JetStream is, and counted by what came. */
import { heldBytes } from '../message-size.ts'
import type { Page, PageRequest } from '../reading.ts'
import { MAX_BATCH_BYTES } from './batches.ts'

export class PageRoom {
  readonly #room: PageRequest['room']
  /** Of one step: a batch for each filter. */
  readonly #stepBytes: number
  #counted = 0

  constructor({ room, maxBytes, filters }: PageRequest) {
    this.#room = room
    this.#stepBytes = Math.min(maxBytes, MAX_BATCH_BYTES) * Math.max(1, filters.length)
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
    this.#countTo(bytes)
    return { ...page, heldBytes: bytes }
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
