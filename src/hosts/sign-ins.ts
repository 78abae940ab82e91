/** The credentials that NATS has not accepted yet: few are tried at once, the others wait in line for a bounded time. */
import { BridgeError } from '../errors.ts'

/** Attempts at once: more of them would only slow each other down at the NATS server. */
const AT_ONCE = 16
/** The credentials that are remembered as accepted. */
const MAX_REMEMBERED = 10_000

export interface SignIns {
  /** Remembers what NATS said of a tenant last. */
  heard(tenant: string, isAccepted: boolean): void
  /** Whether NATS accepted a tenant when it was asked last. */
  isAccepted(tenant: string): boolean
  /** Runs `attempt` when its turn comes. Throws `host_full` where that takes too long. */
  inTurn(attempt: () => Promise<void>): Promise<void>
}

/** `waitMs`: the longest wait for a turn. */
export function createSignIns(waitMs: number): SignIns {
  // In the order of their last success: the first is the one to forget.
  const accepted = new Set<string>()
  const line = new Set<() => void>()
  let underWay = 0

  const turn = () =>
    new Promise<void>((resolve, reject) => {
      const begin = () => {
        clearTimeout(timer)
        line.delete(begin)
        resolve()
      }
      const timer = setTimeout(() => {
        line.delete(begin)
        reject(new BridgeError('host_full', 'Too many credentials wait for NATS to accept them.'))
      }, waitMs)
      line.add(begin)
    })

  return {
    heard(tenant, isAccepted) {
      accepted.delete(tenant)
      if (!isAccepted) return
      accepted.add(tenant)
      const [oldest] = accepted
      if (accepted.size > MAX_REMEMBERED && oldest !== undefined) accepted.delete(oldest)
    },
    isAccepted: (tenant) => accepted.has(tenant),
    async inTurn(attempt) {
      // Whoever ends hands its turn on, so that nobody who comes later is first.
      if (underWay >= AT_ONCE) await turn()
      else underWay += 1
      try {
        await attempt()
      } finally {
        const [next] = line
        if (next) next()
        else underWay -= 1
      }
    },
  }
}
