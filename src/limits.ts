/** How much a host holds at once: slots for clients and bytes in memory, taken before and given back once. */
import { BridgeError, type ErrorCode } from './errors.ts'
import type { OpenHold } from './holds.ts'
import type { Gauge, Limit, Metrics } from './metrics.ts'
import type { Settings } from './settings.ts'

/** What a client occupies while it is held. */
export interface Slots {
  /**
   * Takes a slot for a tenant. The answer gives it back; calling that again does nothing. A tenant that has none gets one also
   * where the host is full: however many others fill it, they shut nobody out. There are no more of those than sessions.
   * Throws `host_full` where the host has none left, and a 429 where the tenant has as many as it may.
   */
  take(tenant: string): () => void
  /** Holds one as long as the work lasts. */
  hold<Done>(tenant: string, work: () => Promise<Done>): Promise<Done>
}

interface SlotKind {
  readonly hostLimit: Extract<Limit, keyof Settings>
  readonly tenantLimit: Extract<Limit, keyof Settings>
  readonly tenantCode: ErrorCode
  readonly held: Gauge
}

/** Everything that a host bounds over all its clients. */
export interface Limits {
  /** Of readers of server-sent events. */
  readonly readers: Slots
  /** Of resumed readers that wait for NATS to be back. */
  readonly resumers: Slots
  /** Of requests that wait for messages. */
  readonly waits: Slots
  /** Of requests whose credential NATS has not accepted yet. */
  readonly arrivals: Slots
  /** Of requests whose answer has not begun; one that waits for messages has its slot among `waits` instead. */
  readonly requests: Slots
  /** Of requests that publish many messages. */
  readonly publishers: Slots
  /** What a request holds in memory. */
  readonly openHold: OpenHold
}

export function createLimits(settings: Settings, metrics: Metrics, openHold: OpenHold): Limits {
  return {
    openHold,
    readers: createSlots(settings, metrics, {
      hostLimit: 'MAX_READERS',
      tenantLimit: 'MAX_READERS_PER_TENANT',
      tenantCode: 'too_many_readers',
      held: metrics.openEvents,
    }),
    resumers: createSlots(settings, metrics, {
      hostLimit: 'MAX_RESUMING',
      tenantLimit: 'MAX_RESUMING_PER_TENANT',
      tenantCode: 'too_many_readers',
      held: metrics.resuming,
    }),
    waits: createSlots(settings, metrics, {
      hostLimit: 'MAX_WAITING',
      tenantLimit: 'MAX_WAITING_PER_TENANT',
      tenantCode: 'too_many_requests',
      held: metrics.waiting,
    }),
    arrivals: createSlots(settings, metrics, {
      hostLimit: 'MAX_REQUESTS',
      tenantLimit: 'MAX_REQUESTS_PER_TENANT',
      tenantCode: 'too_many_requests',
      held: metrics.arriving,
    }),
    requests: createSlots(settings, metrics, {
      hostLimit: 'MAX_REQUESTS',
      tenantLimit: 'MAX_REQUESTS_PER_TENANT',
      tenantCode: 'too_many_requests',
      held: metrics.underWay,
    }),
    publishers: createSlots(settings, metrics, {
      hostLimit: 'MAX_PUBLISHERS',
      tenantLimit: 'MAX_PUBLISHERS_PER_TENANT',
      tenantCode: 'too_many_requests',
      held: metrics.publishing,
    }),
  }
}

function createSlots(settings: Settings, { refused }: Metrics, kind: SlotKind): Slots {
  const { hostLimit, tenantLimit, tenantCode, held } = kind
  const byTenant = new Map<string, number>()
  let all = 0

  const change = (tenant: string, by: 1 | -1) => {
    const left = (byTenant.get(tenant) ?? 0) + by
    if (left > 0) byTenant.set(tenant, left)
    else byTenant.delete(tenant)
    all += by
    held.add(by)
  }

  const slots: Slots = {
    take(tenant) {
      const own = byTenant.get(tenant) ?? 0
      if (all >= settings[hostLimit] && own > 0) {
        refused[hostLimit].add(1)
        throw new BridgeError('host_full', 'This host holds as many clients as it may.')
      }
      if (own >= settings[tenantLimit]) {
        refused[tenantLimit].add(1)
        throw new BridgeError(tenantCode, `The credential may have ${settings[tenantLimit]} at once.`)
      }
      change(tenant, 1)
      let taken = true
      return () => {
        if (taken) change(tenant, -1)
        taken = false
      }
    },
    async hold(tenant, work) {
      const release = slots.take(tenant)
      try {
        return await work()
      } finally {
        release()
      }
    },
  }
  return slots
}
