/** Whether the server at the other end of a connection is there, and hanging up on one that is not. */
import type { NatsConnection } from 'nats.ws'
import { delay } from '../../turns.ts'

/** How long a caller waits for the server to have seen what was sent. */
const SETTLED_MS = 1_000
/** A server from which nothing comes for so long, not even the answer to a ping, is gone. */
const DEAD_MS = 5_000
const LOOK_MS = 250
export const CLOSE_MS = 1_000

/** Resolves with false where `promise` takes longer than `ms` or fails. */
export async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  const settling = promise.then(
    () => true,
    () => false,
  )
  return await Promise.race([settling, delay(ms).then(() => false)])
}

/**
 * Waits until the server has seen everything sent so far, at most a second. False: it has not answered yet. All requests of
 * a credential share the connection, so it is given up only when nothing at all comes for `deadMs`: the next call then dials.
 */
export async function settled(client: NatsConnection, deadMs = DEAD_MS): Promise<boolean> {
  if (client.isClosed()) return false
  if (await within(SETTLED_MS, ping(client))) return true
  void closeWhenDead(client, deadMs)
  return false
}

/** When a connection answered a ping last. */
const answeredAt = new WeakMap<NatsConnection, number>()
const watched = new WeakSet<NatsConnection>()

async function ping(client: NatsConnection): Promise<void> {
  await client.flush()
  answeredAt.set(client, performance.now())
}

/** Watches until the server answers or is gone. Never rejects. */
async function closeWhenDead(client: NatsConnection, deadMs: number): Promise<void> {
  if (watched.has(client)) return
  watched.add(client)
  const since = performance.now()
  let heardAt = since - SETTLED_MS
  let messages = client.stats().inMsgs
  ping(client).catch(() => undefined)
  while (!client.isClosed() && (answeredAt.get(client) ?? 0) < since) {
    const { inMsgs } = client.stats()
    if (inMsgs !== messages) heardAt = performance.now()
    messages = inMsgs
    if (performance.now() - heardAt > deadMs) await within(CLOSE_MS, client.close())
    else await delay(LOOK_MS)
  }
  watched.delete(client)
}
