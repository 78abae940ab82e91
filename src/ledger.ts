/** The ledger of a host's memory: the bytes that its clients have it hold, over all of them and by tenant. */
import type { Settings } from './settings.ts'

/** Bodies as they came, values parsed out of them, answers that are not taken yet, and what waits for live readers. */
export const HELD_KINDS = ['bodies', 'parsed', 'answers', 'buffers'] as const
export type HeldKind = (typeof HELD_KINDS)[number]

/** Which bound has no room. */
export type Bound = 'host' | 'tenant'

interface Account {
  readonly tenant: string
  bytes: number
}

/** What one piece of work has in a ledger. */
interface Entry {
  readonly tenant: string
  account: Account | undefined
  bytes: number
}

/** One for each memory there is: a Node process, or an isolate with all the Durable Objects in it. */
export class Ledger {
  /** Bytes by what they are. */
  readonly held: Record<HeldKind, number> = { bodies: 0, parsed: 0, answers: 0, buffers: 0 }
  readonly #hostBytes: number
  readonly #tenantBytes: number
  readonly #accounts = new Map<string, Account>()
  #bytes = 0

  constructor({ MAX_MEMORY_BYTES, MAX_MEMORY_BYTES_PER_TENANT }: Settings) {
    this.#hostBytes = MAX_MEMORY_BYTES
    this.#tenantBytes = MAX_MEMORY_BYTES_PER_TENANT
  }

  open(tenant: string): Entry {
    return { tenant, account: undefined, bytes: 0 }
  }

  /** Undefined: there is room. One piece of work alone, of a tenant or on the host, may always have what it asks for. */
  boundOver(entry: Entry, bytes: number): Bound | undefined {
    if (this.#bytes + bytes > this.#hostBytes && this.#bytes > entry.bytes) return 'host'
    const account = entry.account ?? this.#accounts.get(entry.tenant)
    if (account && account.bytes + bytes > this.#tenantBytes && account.bytes > entry.bytes) return 'tenant'
    return undefined
  }

  /** Counts bytes, or with a negative number gives them back. */
  change(entry: Entry, bytes: number, kind: HeldKind): void {
    if (bytes === 0) return
    entry.account ??= this.#accountOf(entry.tenant)
    const { account } = entry
    entry.bytes += bytes
    account.bytes += bytes
    this.#bytes += bytes
    this.held[kind] += bytes
    if (entry.bytes !== 0) return
    entry.account = undefined
    if (account.bytes === 0) this.#accounts.delete(account.tenant)
  }

  #accountOf(tenant: string): Account {
    const known = this.#accounts.get(tenant)
    if (known) return known
    const account = { tenant, bytes: 0 }
    this.#accounts.set(tenant, account)
    return account
  }
}
