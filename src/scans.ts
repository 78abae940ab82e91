/** Searches whose cost at NATS the size of a request does not bound: each takes its turn, ends with its client, and by a deadline. */
import { abortWith } from './abort.ts'
import { BridgeError } from './errors.ts'
import type { Metrics } from './metrics.ts'
import type { Settings } from './settings.ts'
import type { StartTimer } from './timers.ts'

/** A search ends after so long, ms. */
const SCAN_MS = 10_000
/** It waits so long for its turn, ms. */
const TURN_MS = 5_000
/** Searches of one tenant that wait for their turn. */
const MAX_QUEUED = 64

/**
 * Does a search when its turn comes. `left`: aborted when the client leaves. `work` ends when its signal is aborted.
 * Throws `host_full` or `too_many_requests` where no turn came, `jetstream_timeout` past the deadline, and the reason of
 * `left`.
 */
export type Scan = <Done>(
  left: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<Done>,
) => Promise<Done>

export interface Scans {
  /** The searches of one tenant. */
  of(tenant: string): Scan
}

interface Waiting {
  readonly tenant: string
  begin(): void
}

/** The turns of one host. */
export function createScans(settings: Settings, metrics: Metrics, startTimer: StartTimer): Scans {
  const { MAX_SCANS, MAX_SCANS_PER_TENANT } = settings
  const running = new Map<string, number>()
  const queue: Waiting[] = []
  let all = 0

  const count = (tenant: string) => running.get(tenant) ?? 0
  const mayBegin = (tenant: string) => all < MAX_SCANS && count(tenant) < MAX_SCANS_PER_TENANT
  const change = (tenant: string, by: 1 | -1) => {
    const left = count(tenant) + by
    if (left > 0) running.set(tenant, left)
    else running.delete(tenant)
    all += by
    metrics.scanning.add(by)
  }
  const refuse = (tenant: string): BridgeError => {
    if (count(tenant) >= MAX_SCANS_PER_TENANT) {
      metrics.refused.MAX_SCANS_PER_TENANT.add(1)
      return new BridgeError(
        'too_many_requests',
        `The credential may search ${MAX_SCANS_PER_TENANT} times at once.`,
      )
    }
    metrics.refused.MAX_SCANS.add(1)
    return new BridgeError('host_full', 'This host does as many searches as it may.')
  }
  const wait = (tenant: string, signal: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      const leave = () => {
        stop()
        signal.removeEventListener('abort', abort)
        const at = queue.indexOf(waiting)
        if (at !== -1) queue.splice(at, 1)
      }
      const abort = () => {
        leave()
        reject(signal.reason)
      }
      const stop = startTimer(() => {
        leave()
        reject(refuse(tenant))
      }, TURN_MS)
      const waiting: Waiting = {
        tenant,
        begin() {
          leave()
          change(tenant, 1)
          resolve()
        },
      }
      signal.addEventListener('abort', abort, { once: true })
      queue.push(waiting)
    })
  const enter = async (tenant: string, signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted()
    if (mayBegin(tenant)) return change(tenant, 1)
    if (queue.filter((waiting) => waiting.tenant === tenant).length >= MAX_QUEUED) throw refuse(tenant)
    await wait(tenant, signal)
  }
  /** The tenant that has the fewest under way comes first, and of one tenant who came first. */
  const leave = (tenant: string): void => {
    change(tenant, -1)
    const next = queue
      .filter((waiting) => mayBegin(waiting.tenant))
      .reduce<Waiting | undefined>(
        (best, one) => (best && count(best.tenant) <= count(one.tenant) ? best : one),
        undefined,
      )
    next?.begin()
  }

  return {
    of: (tenant) => async (left, work) => {
      const over = new AbortController()
      const letGo = left ? abortWith(over, left) : undefined
      let stop: (() => void) | undefined
      try {
        await enter(tenant, over.signal)
        stop = startTimer(() => over.abort(tookTooLong()), SCAN_MS)
        try {
          return await work(over.signal)
        } finally {
          leave(tenant)
        }
      } finally {
        stop?.()
        letGo?.()
      }
    },
  }
}

const tookTooLong = () =>
  new BridgeError('jetstream_timeout', `The search took longer than ${SCAN_MS / 1_000} seconds.`)
