/** What a host keeps for one caller: a NATS connection, its live feeds, its tokens, and when they end. */
import { abortWith } from '../abort.ts'
import { openJetStream } from '../adapters/nats/index.ts'
import type { Caller, Session } from '../context.ts'
import type { OpenHold } from '../holds.ts'
import type { ConnectionEvents, JetStream } from '../jetstream.ts'
import { LinkedList } from '../linked-list.ts'
import { createStreamReader, type OpenedReader } from '../live/reader.ts'
import type { Metrics } from '../metrics.ts'
import type { StreamReader } from '../reading.ts'
import type { Scans } from '../scans.ts'
import { ServerClock } from '../server-clock.ts'
import type { Settings } from '../settings.ts'
import { createTimers } from '../timers.ts'
import { createAckTokens } from '../tokens/ack.ts'
import { createCursors } from '../tokens/cursor.ts'
import { createMessageIds } from '../tokens/message-id.ts'
import type { Keyring } from '../tokens/seal.ts'
import { SettledDeliveries } from '../tokens/settled.ts'
import { tagMarkOf } from '../tokens/tag-mark.ts'
import { delay } from '../turns.ts'
import { lookUpInTurn } from './lookups.ts'

/** How long JetStream may take to delete the consumers of feeds, ms. */
const FEEDS_CLOSE_MS = 250

/** A session that whoever opens it closes. */
export interface OpenedSession extends Session {
  /** Whether it holds a connection: one that nobody uses is hung up after a while. */
  isConnected(): boolean
  /** Whether a request or a reader of it is under way. */
  isUsed(): boolean
  /** Whether it is used, or has a connection or is about to. */
  isInUse(): boolean
  /** A stream was changed by a caller of this host: what was asked of it before no longer holds. */
  forgetStream(stream: string): void
  /** Whoever waits for messages goes: readers with their cursor, waits for a page empty-handed, pulls by an `AbortError`. */
  dismiss(): void
  close(): Promise<void>
}

interface SessionParts {
  readonly settings: Settings
  readonly keyring: Keyring
  readonly metrics: Metrics
  /** Called with the stream that was made, changed or deleted over this session, also where that is not known to be done. */
  onStreamChange(stream: string): void
  readonly scans: Scans
  /** What live readers hold memory by; absent: nobody counts. */
  readonly openHold?: OpenHold | undefined
}

/** What becomes of a credential that NATS has to accept, and who decides when it is tried. */
export interface Membership extends ConnectionEvents {
  /** The last request of the session is over. */
  unused(): void
  /** Has `connect` dial when the credential's turn comes. Throws where its requests are not to be let in. */
  admit(connect: () => Promise<void>): Promise<void>
}

/** Dials nothing before it is used. `membership`: absent for the bridge's own credential. */
export function openSession(
  { settings, keyring, metrics, scans, onStreamChange, openHold }: SessionParts,
  { credential, tenant }: Caller,
  membership?: Membership,
): OpenedSession {
  const connection = openJetStream(settings, credential, membership)
  let uses = 0
  const use = () => {
    uses += 1
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      uses -= 1
      if (uses === 0) membership?.unused()
    }
  }
  let admitting: Promise<void> | undefined
  const admit = ({ admit }: Membership) => {
    admitting ??= admit(() => connection.connect()).finally(() => {
      admitting = undefined
    })
    return admitting
  }
  const pulls = new LinkedList<AbortController>()
  let isDismissed = false
  const pull: JetStream['pull'] = async (stream, consumer, request) => {
    const dismissed = new AbortController()
    if (isDismissed) dismissed.abort()
    const letGo = abortWith(dismissed, request.signal)
    const place = pulls.add(dismissed)
    try {
      return await connection.jetstream.pull(stream, consumer, { ...request, signal: dismissed.signal })
    } finally {
      pulls.remove(place)
      letGo()
    }
  }
  const changing = changingStreams(connection.jetstream, onStreamChange)
  const lookups = { startTimer: createTimers(), waitMs: settings.REQUEST_TIMEOUT_MS }
  const getMessage = lookUpInTurn(connection.jetstream.getMessage, lookups)
  const jetstream: JetStream = { ...connection.jetstream, ...changing, getMessage, pull }
  const scan = scans.of(tenant)
  const reader = createStreamReader(jetstream, {
    heartbeatMs: settings.HEARTBEAT_MS,
    bufferBytes: settings.READER_BUFFER_BYTES,
    metrics: metrics.live,
    now: () => performance.now(),
    scan,
    ...(openHold ? { openHold: () => openHold(tenant) } : {}),
  })
  return {
    jetstream,
    reader: countTails(reader, use),
    admitted: () => (membership && !connection.isConnected() ? admit(membership) : undefined),
    use,
    cursors: createCursors(keyring, tenant),
    ackTokens: createAckTokens(keyring, tenant),
    settled: new SettledDeliveries(),
    serverClock: new ServerClock(),
    messageIdOf: createMessageIds(keyring, tenant),
    scan,
    tagMark: tagMarkOf(keyring, tenant),
    isConnected: () => connection.isConnected(),
    isUsed: () => uses > 0,
    isInUse: () => uses > 0 || connection.isConnected() || connection.isDialling(),
    forgetStream: (stream) => reader.forgetStream(stream),
    dismiss() {
      isDismissed = true
      reader.dismiss()
      for (const dismissed of pulls) dismissed.abort()
    },
    async close() {
      // What the feeds have at the server goes by itself where it cannot be told.
      await Promise.race([reader.close(), delay(FEEDS_CLOSE_MS)])
      await connection.close()
    },
  }
}

/** A tail uses its session for longer than the request that opened it. */
function countTails(reader: OpenedReader, use: Session['use']): StreamReader {
  return {
    ...reader,
    async tail(request) {
      const release = use()
      const onEnd = () => {
        release()
        request.onEnd()
      }
      try {
        return await reader.tail({ ...request, onEnd })
      } catch (failure) {
        release()
        throw failure
      }
    },
  }
}

/** The calls after which a stream is another than it was. */
function changingStreams(jetstream: JetStream, changed: SessionParts['onStreamChange']) {
  const telling = async <Done>(stream: string, change: Promise<Done>): Promise<Done> => {
    try {
      return await change
    } finally {
      changed(stream)
    }
  }
  return {
    createStream: (config) => telling(String(config.name), jetstream.createStream(config)),
    updateStream: (config) => telling(config.name, jetstream.updateStream(config)),
    deleteStream: (stream) => telling(stream, jetstream.deleteStream(stream)),
  } satisfies Partial<JetStream>
}
