/** Owns which callers a host has sessions for: one a tenant, as many as the settings allow. */
import type { Caller, Session } from '../context.ts'
import { BridgeError } from '../errors.ts'
import type { Metrics } from '../metrics.ts'
import type { Settings } from '../settings.ts'
import { readKeyring } from '../tokens/seal.ts'
import { type OpenedSession, openSession } from './session.ts'

/** The sessions of one host, which closes them when it ends. */
export interface Sessions {
  /** Throws `too_many_requests` where all the sessions there may be are in use, `jetstream_unavailable` after `dismiss`. */
  open(caller: Caller): Session
  /** The host ends: nobody is let in any more, and whoever waits for messages goes. */
  dismiss(): void
  close(): Promise<void>
}

/** `metrics` hears of the sessions, and of what happens in them. */
export function createSessions(settings: Settings, metrics: Metrics): Sessions {
  const keyring = readKeyring(settings.TOKEN_KEYS)
  // In the order of their last use: the first is the one to give up.
  const sessions = new Map<string, OpenedSession>()

  let latest: { tenant: string; session: OpenedSession } | undefined
  let isDismissed = false
  watchSessions(metrics, sessions)

  const makeRoom = () => {
    if (sessions.size < settings.MAX_CONNECTIONS) return
    const idle = [...sessions].find(([, session]) => !session.isConnected())
    if (!idle) {
      metrics.refused.MAX_CONNECTIONS.add(1)
      throw new BridgeError('too_many_requests', 'Too many credentials are in use at once.')
    }
    sessions.delete(idle[0])
  }

  return {
    open(caller) {
      const { tenant } = caller
      if (isDismissed)
        throw new BridgeError('jetstream_unavailable', 'This instance of Sluice is shutting down.')
      // Often the same caller asks again: it is in its place already.
      if (latest?.tenant === tenant) return latest.session
      const known = sessions.get(tenant)
      if (!known) makeRoom()
      const session = known ?? openSession({ settings, keyring, metrics }, caller)
      sessions.delete(tenant)
      sessions.set(tenant, session)
      latest = { tenant, session }
      return session
    },
    dismiss() {
      isDismissed = true
      for (const session of sessions.values()) session.dismiss()
    },
    async close() {
      latest = undefined
      const all = [...sessions.values()]
      sessions.clear()
      await Promise.allSettled(all.map((session) => session.close()))
    },
  }
}

function watchSessions(metrics: Metrics, sessions: ReadonlyMap<string, OpenedSession>) {
  metrics.watch(
    { name: 'sluice_sessions', type: 'gauge', help: 'Credentials that something is kept for.' },
    () => sessions.size,
  )
  metrics.watch(
    { name: 'sluice_nats_connections', type: 'gauge', help: 'Connections to NATS, one a credential.' },
    () => [...sessions.values()].filter((session) => session.isConnected()).length,
  )
}
