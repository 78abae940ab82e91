/** Putting the bridge together: settings and a host's parts into dependencies. */
import type { Dependencies } from './context.ts'
import { explainProblemsUnder } from './errors.ts'
import { createHolds, type OpenHold } from './holds.ts'
import { Ledger } from './ledger.ts'
import { createLimits } from './limits.ts'
import { createLog } from './log.ts'
import { createPresence } from './presence.ts'
import { createPublicAddress } from './public-address.ts'
import type { Settings } from './settings.ts'
import { createTimers } from './timers.ts'
import { createCursors } from './tokens/cursor.ts'
import { readKeyring } from './tokens/seal.ts'
import { createTickets } from './tokens/ticket.ts'

interface HostParts extends Pick<Dependencies, 'host' | 'metrics' | 'openSession'> {
  /** What the sessions hold memory by; default: a ledger of its own. */
  readonly openHold?: OpenHold
  /** Takes a line of the log, without its end. */
  writeLine(line: string): void
}

/** The real parts of a bridge, on this machine's clock. */
export function createDependencies(settings: Settings, parts: HostParts): Dependencies {
  const { host, metrics, openSession, writeLine } = parts
  const startTimer = createTimers()
  const keyring = readKeyring(settings.TOKEN_KEYS)
  const publicAddress = createPublicAddress(settings)
  explainProblemsUnder(publicAddress.path)
  const openHold =
    parts.openHold ?? createHolds({ ledger: new Ledger(settings), metrics, startTimer: createTimers() })
  return {
    host,
    openSession,
    metrics,
    settings,
    publicAddress,
    ...createLimits(settings, metrics, openHold),
    // On Workers a client's leaving shows only when something is written to it.
    presence: createPresence(host === 'node', startTimer),
    startTimer,
    tickets: createTickets(keyring),
    openCursors: (tenant) => createCursors(keyring, tenant),
    now: Date.now,
    log: createLog(settings.LOG, writeLine),
  }
}
