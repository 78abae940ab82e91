/** Servers that say they are about to stop: who hears of it, and keeping a connection until nothing uses it any more. */
import { Events, type NatsConnection } from 'nats.ws'
import { delay } from '../../turns.ts'
import { inboxOf } from './inbox.ts'

const LOOK_MS = 100
/** The longest wait that a request may have, and some time to answer: what is still there then is not waited for. */
const LONGEST_USE_MS = 75_000

/** Calls `listener` when the server of a connection goes into lame duck mode: it works on, and then closes its connections. */
export function onLameDuck(client: NatsConnection, listener: () => void): void {
  const hear = async () => {
    for await (const { type } of client.status()) if (type === Events.LDM) return listener()
  }
  hear().catch(() => undefined)
}

type Move = (successor: NatsConnection) => void

const movers = new WeakMap<NatsConnection, Set<Move>>()

/** Calls `move` when another connection takes the place of this one. Answers how to end that. */
export function onSucceeded(client: NatsConnection, move: Move): () => void {
  const all = movers.get(client) ?? new Set()
  movers.set(client, all)
  all.add(move)
  return () => all.delete(move)
}

/** Tells all that use a connection for longer than a request. */
export function succeed(client: NatsConnection, successor: NatsConnection): void {
  for (const move of [...(movers.get(client) ?? [])]) move(successor)
}

/** Whether a request or an exchange is under way on a connection, or somebody follows a stream over it. */
export function isUsed(client: NatsConnection, requestTimeoutMs: number): boolean {
  const inbox = inboxOf(client, requestTimeoutMs)
  return !inbox.isIdle || subscriptionsOf(client) > inbox.subscriptions
}

/** Resolves when nothing is under way on a connection, or it is closed, or after more than the longest request. */
export async function unused(client: NatsConnection, requestTimeoutMs: number): Promise<void> {
  const giveUpAt = performance.now() + LONGEST_USE_MS
  do await delay(LOOK_MS)
  while (!client.isClosed() && performance.now() < giveUpAt && isUsed(client, requestTimeoutMs))
}

/** nats.ws counts them, and tells nobody. */
function subscriptionsOf(client: NatsConnection): number {
  const { protocol } = client as unknown as { protocol: { subscriptions: { size(): number } } }
  return protocol.subscriptions.size()
}
