/** Owns which callers a host has sessions for: one a tenant, as many as the settings allow. */
import type { Caller, Session } from '../context.ts'
import { BridgeError } from '../errors.ts'
import type { Settings } from '../settings.ts'
import { readKeyring } from '../tokens/seal.ts'
import { type OpenedSession, openSession } from './session.ts'

/** The sessions of one host, which closes them when it ends. */
export interface Sessions {
  /** Throws `too_many_requests` where all the sessions there may be are in use. */
  open(caller: Caller): Session
  close(): Promise<void>
}

export function createSessions(settings: Settings): Sessions {
  const keyring = readKeyring(settings.TOKEN_KEYS)
  // In the order of their last use: the first is the one to give up.
  const sessions = new Map<string, OpenedSession>()

  const makeRoom = () => {
    if (sessions.size < settings.MAX_CONNECTIONS) return
    const idle = [...sessions].find(([, session]) => !session.isConnected())
    if (!idle) throw new BridgeError('too_many_requests', 'Too many credentials are in use at once.')
    sessions.delete(idle[0])
  }

  return {
    open(caller) {
      const known = sessions.get(caller.tenant)
      if (!known) makeRoom()
      const session = known ?? openSession(settings, keyring, caller)
      sessions.delete(caller.tenant)
      sessions.set(caller.tenant, session)
      return session
    },
    async close() {
      const all = [...sessions.values()]
      sessions.clear()
      await Promise.allSettled(all.map((session) => session.close()))
    },
  }
}
