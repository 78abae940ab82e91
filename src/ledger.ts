/** The ledger of a host's memory: the bytes that its clients have it hold, over all of them and by tenant. */
import type { LinkedList, Place } from './linked-list.ts'
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
export interface Entry {
  readonly tenant: string
  readonly part: Part
  readonly byKind: Record<HeldKind, number>
  account: Account | undefined
  /** Where it stands in its part; undefined: it has nothing. */
  place: Place<Entry> | undefined
  bytes: number
}

/** What a process or a Durable Object has in a ledger: the work of it that holds anything. */
export type Part = LinkedList<Entry>

const nothing = (): Record<HeldKind, number> => ({ bodies: 0, parsed: 0, answers: 0, buffers: 0 })

/** So much, of what a host has, is there besides for tenants that hold little. */
const KEPT_SHARE = 0.125
/** What a tenant that holds nothing else may always have: there are no more tenants than sessions. */
const SMALL_BYTES = 65_536

/**
 * One for each memory there is: a Node process, or an isolate with all the Durable Objects in it. A tenant that goes over
 * its share, which one piece of work alone may, takes nothing from the others: what it has over the share is not counted
 * against them, and one tenant at a time goes over.
 */
export class Ledger {
  /** Bytes by what they are. */
  readonly held = nothing()
  readonly #hostBytes: number
  readonly #tenantBytes: number
  readonly #accounts = new Map<string, Account>()
  /** Of all tenants, each up to its share. */
  #shared = 0
  /** The one that is over its share. */
  #over: Account | undefined
  /** What is kept for tenants that hold no more than `#littleBytes`. */
  readonly #keptBytes: number
  readonly #littleBytes: number
  readonly #smallBytes: number

  constructor({ MAX_MEMORY_BYTES, MAX_MEMORY_BYTES_PER_TENANT }: Settings) {
    this.#hostBytes = MAX_MEMORY_BYTES
    this.#tenantBytes = MAX_MEMORY_BYTES_PER_TENANT
    // Where one tenant may have all of it, there is nobody to keep anything for.
    const isShared = this.#tenantBytes < this.#hostBytes
    this.#keptBytes = isShared ? this.#hostBytes * KEPT_SHARE : 0
    this.#littleBytes = this.#keptBytes / 2
    this.#smallBytes = isShared ? SMALL_BYTES : 0
  }

  open(tenant: string, part: Part): Entry {
    return { tenant, part, byKind: nothing(), account: undefined, place: undefined, bytes: 0 }
  }

  /**
   * Undefined: there is room. One piece of work alone may always have what it asks for, unless another tenant's is over. However
   * many tenants fill the host, those that hold little find room besides, and a small piece of work fits always.
   */
  boundOver(entry: Entry, bytes: number): Bound | undefined {
    const account = entry.account ?? this.#accounts.get(entry.tenant)
    const own = account?.bytes ?? 0
    if (own + bytes > this.#tenantBytes) {
      if (own > entry.bytes) return this.#tenantBytes < this.#hostBytes ? 'tenant' : 'host'
      if (this.#over !== undefined && this.#over !== account) return 'host'
    }
    const more = this.#shareOf(own + bytes) - this.#shareOf(own)
    const hostBytes = this.#hostBytes + (own + bytes <= this.#littleBytes ? this.#keptBytes : 0)
    return this.#shared + more > hostBytes && own + bytes > this.#smallBytes ? 'host' : undefined
  }

  /** Counts bytes, or with a negative number gives them back. */
  change(entry: Entry, bytes: number, kind: HeldKind): void {
    if (bytes === 0) return
    entry.place ??= entry.part.add(entry)
    entry.account ??= this.#accountOf(entry.tenant)
    const { account } = entry
    this.#shared -= this.#shareOf(account.bytes)
    entry.byKind[kind] += bytes
    entry.bytes += bytes
    account.bytes += bytes
    this.#shared += this.#shareOf(account.bytes)
    this.held[kind] += bytes
    if (account.bytes > this.#tenantBytes) this.#over ??= account
    else if (this.#over === account) this.#over = this.#anyOver()
    if (entry.bytes !== 0) return
    entry.part.remove(entry.place)
    entry.place = undefined
    entry.account = undefined
    if (account.bytes === 0) this.#accounts.delete(account.tenant)
  }

  /** Gives back all that a piece of work has. */
  clear(entry: Entry): void {
    const { byKind } = entry
    for (const kind of HELD_KINDS) if (byKind[kind] !== 0) this.change(entry, -byKind[kind], kind)
  }

  /** A part is lost, with all that would have given anything back. */
  forget(part: Part): void {
    for (const entry of part) this.clear(entry)
  }

  /** What has to be told goes over without being asked, also beside another. */
  #anyOver(): Account | undefined {
    for (const account of this.#accounts.values()) if (account.bytes > this.#tenantBytes) return account
    return undefined
  }

  #shareOf(bytes: number): number {
    return Math.min(bytes, this.#tenantBytes)
  }

  #accountOf(tenant: string): Account {
    const known = this.#accounts.get(tenant)
    if (known) return known
    const account = { tenant, bytes: 0 }
    this.#accounts.set(tenant, account)
    return account
  }
}
