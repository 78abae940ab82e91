/** The end of a reader's body that its connection takes from: whether it asks, and what it is given. */

export type Controller = ReadableStreamDefaultController<Uint8Array>

const encoder = new TextEncoder()

/** Of a stream that queues nothing. Once it is over it takes no more. */
export class Outlet {
  /** Absent before the connection has asked for anything. */
  controller: Controller | undefined
  /** Whether the connection takes more than it was given. */
  isAsked = false
  /** Whether it was given anything. */
  hasBegun = false
  #isOver = false

  ask(controller: Controller): void {
    this.controller = controller
    this.isAsked = true
  }

  write(piece: Uint8Array | string): void {
    if (this.#isOver) return
    this.hasBegun = true
    this.isAsked = false
    this.#try((controller) => controller.enqueue(typeof piece === 'string' ? encoder.encode(piece) : piece))
  }

  /** Ends the body, behind what was written. */
  close(): void {
    if (!this.#isOver) this.#try((controller) => controller.close())
    this.#isOver = true
  }

  /** A body that the host has ended meanwhile takes nothing more; whoever writes is another one's feed, often. */
  #try(act: (controller: Controller) => void): void {
    try {
      if (this.controller) act(this.controller)
    } catch {
      this.#isOver = true
    }
  }

  /** Nobody takes anything any more. */
  drop(): void {
    this.#isOver = true
  }
}
