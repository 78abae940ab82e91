/** Owns what live reading tells of itself. Types only. */

/** Counts up and, where it tells how many there are, down. */
export interface Meter {
  add(by: number): void
}

export interface LiveMeters {
  /** Messages handed to readers. */
  readonly deliveries: Meter
  readonly gaps: Meter
  readonly feeds: Meter
  readonly readersLive: Meter
  readonly readersCatchingUp: Meter
}
