/** Owns what a host keeps for one caller: a NATS connection, its live feeds, its tokens, and when they end. */
import { openJetStream } from '../adapters/nats/index.ts'
import type { Caller, Session } from '../context.ts'
import { createStreamReader } from '../live/reader.ts'
import type { Metrics } from '../metrics.ts'
import type { Settings } from '../settings.ts'
import { createAckTokens } from '../tokens/ack.ts'
import { createCursors } from '../tokens/cursor.ts'
import { createMessageIds } from '../tokens/message-id.ts'
import type { Keyring } from '../tokens/seal.ts'

/** A session that whoever opens it closes. */
export interface OpenedSession extends Session {
  /** Whether it holds a connection: one that nobody uses is hung up after a while. */
  isConnected(): boolean
  close(): Promise<void>
}

interface SessionParts {
  readonly settings: Settings
  readonly keyring: Keyring
  readonly metrics: Metrics
}

/** Dials nothing before it is used. */
export function openSession(
  { settings, keyring, metrics }: SessionParts,
  { credential, tenant }: Caller,
): OpenedSession {
  const connection = openJetStream(settings, credential)
  const { jetstream } = connection
  const reader = createStreamReader(jetstream, {
    heartbeatMs: settings.HEARTBEAT_MS,
    bufferBytes: settings.READER_BUFFER_BYTES,
    metrics: metrics.live,
    now: Date.now,
  })
  return {
    jetstream,
    reader,
    cursors: createCursors(keyring, tenant),
    ackTokens: createAckTokens(keyring, tenant),
    messageIdOf: createMessageIds(keyring, tenant),
    isConnected: () => connection.isConnected(),
    async close() {
      await reader.close()
      await connection.close()
    },
  }
}
