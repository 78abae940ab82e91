/** The callers of the last minutes by their `Authorization`, so that whoever asks often is digested once. */
import type { Caller } from '../context.ts'

/** Of all headers together; a header that is longer than a part of it is not worth its room. */
const MAX_CHARS = 1_048_576
const MAX_HEADER_CHARS = 4_200
/** A credential that is not used is kept for twice as long at most, once another one is used. */
const KEPT_MS = 300_000

/** Only for what NATS has accepted: what anybody can make up is worth no memory. */
export class RecentCallers {
  #young = new Map<string, Caller>()
  #old = new Map<string, Caller>()
  #chars = 0
  #since = performance.now()

  get(authorization: string): Caller | undefined {
    const young = this.#young.get(authorization)
    if (young) return young
    const old = this.#old.get(authorization)
    if (old) this.#add(authorization, old)
    return old
  }

  /** NATS has accepted it. */
  accepted(authorization: string, caller: Caller): void {
    if (this.#young.get(authorization) === undefined) this.#add(authorization, caller)
  }

  /** NATS has refused it. */
  refused(authorization: string): void {
    if (this.#young.delete(authorization)) this.#chars -= authorization.length
    this.#old.delete(authorization)
  }

  #add(authorization: string, caller: Caller): void {
    const { length } = authorization
    if (length === 0 || length > MAX_HEADER_CHARS) return
    if (this.#chars + length > MAX_CHARS / 2 || performance.now() - this.#since > KEPT_MS) this.#turn()
    this.#young.set(authorization, caller)
    this.#chars += length
  }

  #turn(): void {
    this.#old = this.#young
    this.#young = new Map()
    this.#chars = 0
    this.#since = performance.now()
  }
}
