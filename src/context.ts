/** The types of what a request carries on its way through the app. */
import type { JetStream, NatsCredential } from './jetstream.ts'
import type { Limits } from './limits.ts'
import type { Log, LoggedFailure } from './log.ts'
import type { Metrics } from './metrics.ts'
import type { Presence } from './presence.ts'
import type { PublicAddress } from './public-address.ts'
import type { StreamReader } from './reading.ts'
import type { Scan } from './scans.ts'
import type { AckResult } from './schemas/ack.ts'
import type { MessageIdOf } from './schemas/names.ts'
import type { ServerClock } from './server-clock.ts'
import type { Settings } from './settings.ts'
import type { StartTimer } from './timers.ts'
import type { AckTokens } from './tokens/ack.ts'
import type { Cursors } from './tokens/cursor.ts'
import type { SettledDeliveries } from './tokens/settled.ts'
import type { Ticket, Tickets } from './tokens/ticket.ts'

/** Who asks: a NATS credential, and the tenant it is. */
export interface Caller {
  readonly credential: NatsCredential
  /** Names the credential in tokens and hosts without showing it. */
  readonly tenant: string
  /** Set where the caller came with a ticket: it may read what the ticket says and nothing else. */
  readonly ticket?: Ticket
}

/** What a host keeps for one caller. */
export interface Session {
  readonly jetstream: JetStream
  readonly reader: StreamReader
  readonly cursors: Cursors
  readonly ackTokens: AckTokens
  readonly settled: SettledDeliveries<AckResult>
  readonly serverClock: ServerClock
  /** Tells this caller's entity tags from another's. */
  readonly tagMark: string
  /** The `Nats-Msg-Id` of an idempotency key of the caller's. */
  readonly messageIdOf: MessageIdOf
  /**
   * Undefined where NATS has accepted the caller and the connection is there; else resolves once the caller is let in.
   * What NATS accepted last time is let in while NATS is away, too, to wait out the outage.
   * Throws `unauthenticated`, `jetstream_unavailable`, `host_full`, `too_many_requests`.
   */
  admitted(): Promise<void> | undefined
  /** Keeps the session from being given up for another caller until the answer is called; again does nothing. */
  use(): () => void
  /** Does the caller's searches, each when its turn comes. */
  readonly scan: Scan
}

/** What runs the app: one Node process for all callers, or on Workers a Durable Object for each. */
export type HostName = 'node' | 'workers'

/** The real parts, handed to the app by its entry. */
export interface Dependencies extends Limits {
  readonly host: HostName
  readonly settings: Settings
  readonly tickets: Tickets
  readonly publicAddress: PublicAddress
  /** Cursors of a tenant, apart from any session. */
  openCursors(tenant: string): Cursors
  /** The session of a caller: the same one as long as it is in use. */
  openSession(caller: Caller): Session
  readonly presence: Presence
  readonly startTimer: StartTimer
  readonly metrics: Metrics
  readonly log: Log
  now(): number
}

export interface AppEnv {
  Bindings: {
    /** On Node: the request as it came. */
    readonly incoming?: { readonly url?: string; readonly socket?: { destroy(): unknown } }
    /** On Node: the answer; it has no socket as long as another one is due before it. */
    readonly outgoing?: {
      readonly socket: unknown
      readonly closed: boolean
      once(event: 'close', act: () => void): unknown
    }
    /** The parts of the Durable Object that answers: an isolate has one app for all of them. */
    readonly dependencies?: Dependencies
  }
  Variables: {
    requestId: string
    dependencies: Dependencies
    caller: Caller
    session: Session
    /** Ends the use of the session by the handler; what uses it for longer says so itself. */
    leave: () => void
    /** Gives back the request's slot: it waits for messages, and has one of those who wait. */
    waits: () => void
    /** What every answer to this request carries. */
    headers: Record<string, string>
    /** The answer that carries them already. */
    answered: Response
    /** Why the request failed, for the log. */
    failure: LoggedFailure
  }
}
