/** What the suite runs against: the bridge at SLUICE_URL, else each host on each supported nats-server. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe } from 'vitest'
import { HOSTS, startHost } from '../support/host.ts'
import { startNats } from '../support/nats.ts'
import { type Client, createClient } from './client.ts'

/** A stream of one test; its subjects are its own. */
export interface TestStream {
  readonly name: string
  readonly path: string
  /** A subject that it listens on, or a filter of such. */
  subject(tail: string): string
}

/** The bridge under test: to be used inside tests. */
export interface Target {
  readonly name: string
  /** Whether its settings are ours, or those of a bridge that runs already. */
  readonly isOwn: boolean
  readonly bridge: Client
  /** What its server can do, and the limits in force. */
  readonly supports: Capabilities['supports']
  readonly limits: Capabilities['limits']
  /** Silence on a stream of events never lasts longer. */
  readonly longestSilenceMs: number
  /** Makes a stream under a name of its own, deleted at the end. `config`: over what a test usually wants. */
  makeStream(config?: Readonly<Record<string, unknown>>): Promise<TestStream>
  /** Deletes a stream and makes it again under the same name and subjects. */
  remakeStream(stream: TestStream, config?: Readonly<Record<string, unknown>>): Promise<void>
  /** Makes a consumer and answers its path. */
  makeConsumer(stream: TestStream, config?: Readonly<Record<string, unknown>>): Promise<string>
}

/** What `GET /v1/capabilities` answers. */
export interface Capabilities {
  readonly server: { readonly version: string; readonly api_level: number }
  readonly supports: Readonly<
    Record<
      | 'batched_direct_get'
      | 'message_ttl'
      | 'consumer_pause'
      | 'consumer_reset'
      | 'counters'
      | 'atomic_batches'
      | 'message_schedules'
      | 'cron_schedules',
      boolean
    >
  >
  readonly limits: Readonly<
    Record<
      | 'max_payload_bytes'
      | 'max_body_bytes'
      | 'max_batch_bytes'
      | 'max_batch_messages'
      | 'max_headers'
      | 'max_header_bytes'
      | 'max_json_values'
      | 'max_json_depth'
      | 'max_page_bytes'
      | 'max_limit'
      | 'max_batch'
      | 'max_wait_ms'
      | 'max_readers'
      | 'max_waiting'
      | 'publish_deadline_ms'
      | 'max_held_bytes'
      | 'max_memory_bytes'
      | 'max_memory_bytes_per_tenant'
      | 'max_publishers'
      | 'reader_buffer_bytes',
      number
    >
  >
}

interface Running {
  readonly url: string
  stop(): Promise<void>
}

interface Place {
  readonly name: string
  readonly isOwn: boolean
  start(): Promise<Running>
}

/** The origin that our own hosts let call; `test/contract` knows no other. */
export const LISTED_ORIGIN = 'https://app.example.com'
const OWN_SETTINGS = { HEARTBEAT_MS: '500', CORS_ORIGINS: LISTED_ORIGIN }
/** A heartbeat, and what a busy machine may add to it. */
const OWN_SILENCE_MS = 10_000
const PROMISED_SILENCE_MS = 15_000 + OWN_SILENCE_MS

const START_MS = 180_000
const TEST_MS = 60_000

/**
 * Runs the tests on every target: `SLUICE_NATS_VERSION` (`current` or `2.10`) and `SLUICE_HOSTS` narrow them.
 * `settings`: those that the tests are about; a bridge that runs already has its own, so it is left out then.
 */
export function onEveryTarget(
  tests: (target: Target) => void,
  settings: Readonly<Record<string, string>> = {},
): void {
  const isAboutSettings = Object.keys(settings).length > 0
  for (const place of places(settings)) {
    describe.skipIf(isAboutSettings && !place.isOwn)(`on ${place.name}`, { timeout: TEST_MS }, () =>
      tests(prepare(place)),
    )
  }
}

function places(settings: Readonly<Record<string, string>>): Place[] {
  const given = process.env.SLUICE_URL
  if (given) {
    const url = given.replace(/\/+$/, '')
    return [{ name: url, isOwn: false, start: async () => ({ url, stop: async () => {} }) }]
  }
  const matrix = [
    ...HOSTS.map((host) => ({ host, version: 'current' as const })),
    ...HOSTS.filter((host) => host === 'node').map((host) => ({ host, version: '2.10' as const })),
  ]
  return matrix
    .filter(({ version }) => version === (process.env.SLUICE_NATS_VERSION ?? version))
    .map(({ host, version }) => ({
      name: `${host} with nats-server ${version}`,
      isOwn: true,
      async start() {
        const nats = await startNats({ version })
        const server = await startHost(host, { natsUrl: nats.wsUrl, env: { ...OWN_SETTINGS, ...settings } })
        const stop = async () => {
          await server.stop()
          await nats.stop()
        }
        return { url: server.url, stop }
      },
    }))
}

function prepare(place: Place): Target {
  let running: Running | undefined
  let bridge: Client | undefined
  let capabilities: Capabilities | undefined
  const streams: string[] = []

  const started = <Part>(part: Part | undefined): Part => {
    if (part === undefined) throw new Error('The bridge is there inside tests only')
    return part
  }
  const create = (name: string, config: Readonly<Record<string, unknown>>) =>
    started(bridge).ok('POST /v1/streams', {
      json: { name, subjects: [`${name}.>`], storage: 'memory', ...config },
    })

  beforeAll(async () => {
    running = await place.start()
    bridge = await createClient(running.url)
    capabilities = await bridge.ok<Capabilities>('GET /v1/capabilities')
  }, START_MS)

  afterAll(async () => {
    // The streams of a server of our own go with it.
    if (!place.isOwn) for (const name of streams) await bridge?.send(`DELETE /v1/streams/${name}`)
    await running?.stop()
  }, START_MS)

  return {
    name: place.name,
    isOwn: place.isOwn,
    get bridge() {
      return started(bridge)
    },
    get supports() {
      return started(capabilities).supports
    },
    get limits() {
      return started(capabilities).limits
    },
    longestSilenceMs: place.isOwn ? OWN_SILENCE_MS : PROMISED_SILENCE_MS,

    async makeStream(config = {}) {
      const name = `contract-${randomBytes(6).toString('hex')}`
      streams.push(name)
      await create(name, config)
      return { name, path: `/v1/streams/${name}`, subject: (tail) => `${name}.${tail}` }
    },
    async remakeStream({ name }, config = {}) {
      await started(bridge).ok(`DELETE /v1/streams/${name}`)
      await create(name, config)
    },
    async makeConsumer({ path }, config = {}) {
      const consumer = `${path}/consumers/worker-${randomBytes(4).toString('hex')}`
      await started(bridge).ok(`PUT ${consumer}`, { json: config })
      return consumer
    },
  }
}
