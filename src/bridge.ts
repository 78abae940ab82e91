/** Owns putting the bridge together: settings and a host's sessions into dependencies. */
import type { Dependencies } from './context.ts'
import { createPresence } from './presence.ts'
import type { Settings } from './settings.ts'
import { readKeyring } from './tokens/seal.ts'
import { createTickets } from './tokens/ticket.ts'

interface HostParts {
  readonly openSession: Dependencies['openSession']
  /** Whether a client that leaves aborts the request's signal before anything is written to it. */
  readonly noticesDisconnects: boolean
}

/** The real parts of a bridge: this machine's clock, and a log of JSON lines on standard output. */
export function createDependencies(settings: Settings, host: HostParts): Dependencies {
  return {
    openSession: host.openSession,
    presence: createPresence(host.noticesDisconnects),
    settings,
    tickets: createTickets(readKeyring(settings.TOKEN_KEYS)),
    now: Date.now,
    log:
      settings.LOG === 'on'
        ? (entry) => console.log(JSON.stringify({ time: new Date().toISOString(), ...entry }))
        : () => {},
  }
}
