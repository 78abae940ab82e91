/** The callers that a host has sessions for: one a tenant, as many as the settings allow. */
import type { Caller, Session } from '../context.ts'
import { BridgeError, SHUTTING_DOWN } from '../errors.ts'
import type { OpenHold } from '../holds.ts'
import type { Metrics } from '../metrics.ts'
import { createScans, type Scans } from '../scans.ts'
import type { Settings } from '../settings.ts'
import { createTimers } from '../timers.ts'
import { readKeyring } from '../tokens/seal.ts'
import { type OpenedSession, openSession } from './session.ts'
import { createSignIns } from './sign-ins.ts'

/** The sessions of one host, which closes them when it ends. */
export interface Sessions {
  /**
   * The session of a caller. It takes no place from others before NATS has accepted its credential.
   * Throws `host_full` where too many wait for that, `jetstream_unavailable` after `dismiss`.
   */
  open(caller: Caller): Session
  /** The host ends: nobody is let in any more, and whoever waits for messages goes. */
  dismiss(): void
  close(): Promise<void>
}

/** `metrics` hears of the sessions, and of what happens in them. `openHold`: what live readers hold memory by. */
export function createSessions(settings: Settings, metrics: Metrics, openHold?: OpenHold): Sessions {
  return new HostSessions(settings, metrics, openHold)
}

class HostSessions implements Sessions {
  readonly #settings: Settings
  readonly #metrics: Metrics
  readonly #openHold: OpenHold | undefined
  readonly #keyring
  readonly #signIns
  readonly #scans: Scans
  /** Those that NATS has accepted, in the order of their last use: the first is the one to give up. */
  readonly #accepted = new Map<string, OpenedSession>()
  /** Those that it has not accepted yet, or refuses by now: they end with their last request. */
  readonly #strangers = new Map<string, OpenedSession>()
  /** The bridge's own credential, which takes no place from the callers. */
  #own: OpenedSession | undefined
  #latest: { readonly tenant: string; readonly session: OpenedSession } | undefined
  #isDismissed = false

  constructor(settings: Settings, metrics: Metrics, openHold: OpenHold | undefined) {
    this.#settings = settings
    this.#openHold = openHold
    this.#metrics = metrics
    this.#keyring = readKeyring(settings.TOKEN_KEYS)
    this.#scans = createScans(settings, metrics, createTimers())
    this.#signIns = createSignIns(settings.CONNECT_TIMEOUT_MS)
    watchSessions(metrics, () => this.#all())
  }

  open(caller: Caller): Session {
    const { tenant, credential } = caller
    if (this.#isDismissed) throw new BridgeError('jetstream_unavailable', SHUTTING_DOWN)
    // Often the same caller asks again: it is in its place already.
    if (this.#latest?.tenant === tenant) return this.#latest.session
    if (credential.kind === 'own') {
      this.#own ??= this.#create(caller)
      return this.#own
    }
    const known = this.#accepted.get(tenant)
    if (!known) return this.#strangers.get(tenant) ?? this.#createStranger(caller)
    this.#accepted.delete(tenant)
    this.#accepted.set(tenant, known)
    this.#latest = { tenant, session: known }
    return known
  }

  dismiss(): void {
    this.#isDismissed = true
    for (const session of this.#all()) session.dismiss()
  }

  async close(): Promise<void> {
    const all = this.#all()
    this.#latest = undefined
    this.#accepted.clear()
    this.#strangers.clear()
    await Promise.allSettled(all.map((session) => session.close()))
  }

  #all(): readonly OpenedSession[] {
    return [...this.#accepted.values(), ...this.#strangers.values(), ...(this.#own ? [this.#own] : [])]
  }

  #createStranger(caller: Caller): OpenedSession {
    if (this.#strangers.size >= this.#settings.MAX_SIGN_INS) {
      this.#metrics.refused.MAX_SIGN_INS.add(1)
      throw new BridgeError('host_full', 'Too many credentials wait for NATS to accept them.')
    }
    const session = this.#create(caller)
    this.#strangers.set(caller.tenant, session)
    return session
  }

  #create(caller: Caller): OpenedSession {
    const { tenant, credential } = caller
    const onStreamChange = (stream: string) => {
      for (const session of this.#all()) session.forgetStream(stream)
    }
    const parts = {
      settings: this.#settings,
      keyring: this.#keyring,
      metrics: this.#metrics,
      scans: this.#scans,
      openHold: this.#openHold,
      onStreamChange,
    }
    if (credential.kind === 'own') return openSession(parts, caller)
    const session: OpenedSession = openSession(parts, caller, {
      accepted: () => this.#accept(tenant, session),
      refused: () => this.#refuse(tenant, session),
      unused: () => this.#leave(tenant, session),
      admit: (connect) => this.#admit(tenant, connect),
    })
    return session
  }

  /** Waits until NATS has accepted a credential; what it accepted last time may come in to wait out an outage. */
  async #admit(tenant: string, connect: () => Promise<void>): Promise<void> {
    if (!this.#signIns.isAccepted(tenant)) return await this.#signIns.inTurn(connect)
    try {
      await connect()
    } catch (failure) {
      if (!(failure instanceof BridgeError && failure.code === 'jetstream_unavailable')) throw failure
    }
  }

  /** NATS has accepted a credential: its session has a place from now on. Throws `too_many_requests` where there is none. */
  #accept(tenant: string, session: OpenedSession): void {
    this.#signIns.heard(tenant, true)
    if (this.#accepted.get(tenant) === session) return
    this.#makeRoom()
    this.#strangers.delete(tenant)
    this.#accepted.set(tenant, session)
  }

  /** NATS has refused a credential, perhaps one that it took before. */
  #refuse(tenant: string, session: OpenedSession): void {
    this.#signIns.heard(tenant, false)
    if (this.#accepted.get(tenant) !== session) return
    this.#forget(tenant)
    this.#strangers.set(tenant, session)
    if (!session.isUsed()) this.#leave(tenant, session)
  }

  /** The last request of a session is over. */
  #leave(tenant: string, session: OpenedSession): void {
    if (this.#strangers.get(tenant) !== session) return
    this.#strangers.delete(tenant)
    end(session)
  }

  #makeRoom(): void {
    if (this.#accepted.size < this.#settings.MAX_CONNECTIONS) return
    const all = [...this.#accepted]
    // A connection without a request is hung up after a while anyway, and the next request dials again.
    const idle = all.find(([, session]) => !session.isInUse()) ?? all.find(([, session]) => !session.isUsed())
    if (!idle) {
      this.#metrics.refused.MAX_CONNECTIONS.add(1)
      throw new BridgeError('too_many_requests', 'Too many credentials are in use at once.')
    }
    const [tenant, session] = idle
    this.#forget(tenant)
    end(session)
  }

  #forget(tenant: string): void {
    this.#accepted.delete(tenant)
    if (this.#latest?.tenant === tenant) this.#latest = undefined
  }
}

function end(session: OpenedSession): void {
  session.dismiss()
  // A connection that cannot be ended in order is closed by its socket.
  session.close().catch(() => undefined)
}

function watchSessions(metrics: Metrics, all: () => readonly OpenedSession[]) {
  metrics.watch(
    { name: 'sluice_sessions', type: 'gauge', help: 'Credentials that something is kept for.' },
    () => all().length,
  )
  metrics.watch(
    { name: 'sluice_nats_connections', type: 'gauge', help: 'Connections to NATS, one a credential.' },
    () => all().filter((session) => session.isConnected()).length,
  )
}
