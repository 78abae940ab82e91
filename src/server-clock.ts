/** The clock of the NATS server, by which JetStream delivers again, as far as a host with a clock of its own can tell. */

/**
 * How far the server's clock is ahead of this host's, ms: between two bounds, which one question and its answer give. The
 * distance of the two is that round trip.
 */
export interface ClockOffset {
  readonly leastMs: number
  readonly mostMs: number
}

/** What is assumed where a server does not tell its time. */
const SAME: ClockOffset = { leastMs: 0, mostMs: 0 }

/** `serverTime`: RFC 3339, from an answer to a question; the host's own times of both in Unix ms. */
export function offsetOf(serverTime: string | undefined, askedMs: number, answeredMs: number): ClockOffset {
  const serverMs = Date.parse(serverTime ?? '')
  if (Number.isNaN(serverMs)) return SAME
  return { leastMs: serverMs - answeredMs, mostMs: serverMs - askedMs }
}

export const roundTripMs = ({ leastMs, mostMs }: ClockOffset): number => mostMs - leastMs

/** The server's clock as a session heard it last. */
export class ServerClock {
  #offset: ClockOffset | undefined

  hear(offset: ClockOffset): void {
    this.#offset = offset
  }

  /** What it shows at least when the host's clock shows `nowMs`. Undefined: it has not been heard yet. */
  atLeast(nowMs: number): number | undefined {
    return this.#offset && nowMs + this.#offset.leastMs
  }
}
