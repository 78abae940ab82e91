/** Names with `%`, which an older nats-server doubles where it listens for the pulls and acks of a consumer. */
import { type BridgeError, refuse } from '../errors.ts'

/** The first patch of a minor version of nats-server 2 without that fault; every later minor is without it. */
const MENDED_IN: Readonly<Record<number, number>> = { 12: 12, 14: 3 }
const LAST_WITH_FAULT = 14

function hasFault(version: string): boolean {
  const [major, minor = 0, patch = 0] = version.split(/[.-]/).map(Number)
  if (major !== 2 || minor > LAST_WITH_FAULT) return false
  return patch < (MENDED_IN[minor] ?? Number.POSITIVE_INFINITY)
}

/** Whether the server's version matters to a name. */
export const hasPercent = (...names: readonly string[]): boolean => names.some((name) => name.includes('%'))

/**
 * Why a consumer, or a stream that is read by consumers, cannot be used on a server: it would hear neither its pulls nor its
 * acks. Undefined: it can. Source: nats-server, "Consumer v1 ack subscription mismatch with '%' in name".
 */
export function percentFault(version: string, stream: string, consumer = ''): BridgeError | undefined {
  if (!hasPercent(stream, consumer) || !hasFault(version)) return undefined
  return refuse(
    hasPercent(stream) ? 'stream' : 'consumer',
    `must not hold % on nats-server ${version}, which does not hear the pulls and acks of such names; 2.14.3 does`,
  )
}
