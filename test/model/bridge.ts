/** The bridge of the model test: the real app around the simulated JetStream, in virtual time, made once. */
import './install-clock.ts'
import { createApp } from '../../src/app.ts'
import { createDependencies } from '../../src/bridge.ts'
import type { HostName, Session } from '../../src/context.ts'
import type { JetStream } from '../../src/jetstream.ts'
import { createStreamReader } from '../../src/live/reader.ts'
import { createMetrics } from '../../src/metrics.ts'
import { ServerClock } from '../../src/server-clock.ts'
import { readSettings } from '../../src/settings.ts'
import { createAckTokens } from '../../src/tokens/ack.ts'
import { createCursors } from '../../src/tokens/cursor.ts'
import { createMessageIds } from '../../src/tokens/message-id.ts'
import { readKeyring } from '../../src/tokens/seal.ts'
import { SettledDeliveries } from '../../src/tokens/settled.ts'

/** So little that readers of small messages fall behind. */
const READER_BUFFER_BYTES = 400
export const SETTINGS = {
  ...readSettings({
    AUTH: 'none',
    NATS_URL: 'ws://127.0.0.1:1',
    TOKEN_KEYS: `a:${'A'.repeat(43)}`,
    HEARTBEAT_MS: '2000',
    LOG: 'off',
  }),
  READER_BUFFER_BYTES,
}

const keyring = readKeyring(SETTINGS.TOKEN_KEYS)
const metrics = createMetrics({})
let session: Session

const appOn = (host: HostName) =>
  createApp(
    createDependencies(SETTINGS, { host, metrics, openSession: () => session, writeLine: () => undefined }),
  )
const bothApps = () => ({ node: appOn('node'), workers: appOn('workers') })
let apps = bothApps()

/** Forgets all that hangs in the apps, after a sequence that went wrong. */
export function startAnew(): void {
  apps = bothApps()
}

export interface Bridge {
  readonly session: Session
  fetch(request: Request): Promise<Response>
  close(): Promise<void>
}

/** A bridge that begins with nothing, on either host. `change`: another session than the real one, to break it. */
export function openBridge(
  jetstream: JetStream,
  host: HostName,
  change: (session: Session) => Session = (one) => one,
): Bridge {
  const reader = createStreamReader(jetstream, {
    heartbeatMs: SETTINGS.HEARTBEAT_MS,
    bufferBytes: READER_BUFFER_BYTES,
    metrics: metrics.live,
    now: Date.now,
  })
  session = change({
    jetstream,
    reader,
    cursors: createCursors(keyring, 'own'),
    ackTokens: createAckTokens(keyring, 'own'),
    settled: new SettledDeliveries(),
    serverClock: new ServerClock(),
    messageIdOf: createMessageIds(keyring, 'own'),
    scan: (_, work) => work(new AbortController().signal),
    tagMark: 'own',
    admitted: () => undefined,
    use: () => () => undefined,
  })
  return {
    session,
    fetch: async (request) => await apps[host].fetch(request),
    close: () => reader.close(),
  }
}
