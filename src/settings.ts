/** Every setting: its name in the environment, unit, bounds and default. */
import * as z from './schemas/zod.ts'
import { unknownNames } from './setting-names.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const KIB = 1_024
const MIB = 1_024 * KIB
/** Durable Objects of one credential at most. */
export const MAX_SHARDS = 64

/** A whole number written as text, as environments have it. */
const number = (smallest: number, largest: number) => {
  const must = `must be a whole number from ${smallest} to ${largest}`
  return z.coerce.number(must).int(must).min(smallest, must).max(largest, must)
}

const integer = (smallest: number, largest: number, byDefault: number) =>
  number(smallest, largest).default(byDefault)

/** The same where the default is worked out from other settings. */
const wholeNumber = (smallest: number, largest: number) => number(smallest, largest).optional()

const list = z
  .string()
  .default('')
  .transform((text) =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  )

const natsUrls = list.pipe(
  z
    .array(
      z
        .string()
        .regex(
          /^wss?:\/\/[^/\s@]+(\/|$)/,
          'must be a ws:// or wss:// URL without a user: that of a WebSocket of NATS',
        ),
    )
    .min(1, 'must name a NATS server'),
)

const tokenKeys = list.pipe(
  z
    .array(z.string().regex(/^[A-Za-z0-9]{1,8}:[A-Za-z0-9_-]{43}=?$/, 'must be id:base64url of 32 bytes'))
    .min(1, 'must hold at least one key'),
)

const flag = z
  .enum(['true', 'false'], 'must be true or false')
  .default('false')
  .transform((said) => said === 'true')

/** Browsers write an origin in one way: in lower case, without the port that goes without saying. */
const origins = list.pipe(
  z.array(
    z
      .string()
      .regex(/^https?:\/\/[^/\s*?#@]+$/, 'must be an origin such as https://app.example.com')
      .refine((text) => URL.canParse(text), 'must be an origin such as https://app.example.com')
      .transform((text) => (URL.canParse(text) ? new URL(text).origin : text)),
  ),
)

const plainSchema = z.object({
  /** Who may call. `none`: anyone, as the bridge's own NATS user; `nats`: each caller with a NATS credential. */
  AUTH: z.enum(['none', 'nats'], 'must be none or nats'),
  /** WebSocket addresses of one NATS cluster, comma separated. */
  NATS_URL: natsUrls,
  /** The bridge's own NATS credential, used with AUTH=none. */
  NATS_USER: z.string().optional(),
  NATS_PASSWORD: z.string().optional(),
  NATS_TOKEN: z.string().optional(),
  /** The text of a NATS .creds file. */
  NATS_CREDS: z.string().optional(),
  /** Keys that seal tokens, `id:base64url of 32 bytes`, comma separated: the first seals, all open. */
  TOKEN_KEYS: tokenKeys,
  /** Origins of browser pages that may call, comma separated. */
  CORS_ORIGINS: origins,
  /** Origins under which browsers see the bridge behind a proxy, comma separated; the first stands in URLs that it answers. */
  PUBLIC_ORIGIN: origins,
  /** The path under which a proxy offers the bridge, such as `/nats`. */
  PUBLIC_PATH: z
    .string()
    .default('')
    .transform((said) => said.replace(/\/$/, ''))
    .pipe(z.string().regex(/^(\/[\w.~-]+)*$/, 'must be a path such as /nats')),
  /** Refuses requests whose `Host` is neither a name of the loopback nor one of PUBLIC_ORIGIN. */
  LOOPBACK_ONLY: flag,
  /** How long a ticket may reconnect, ms. */
  TICKET_VALID_MS: integer(MINUTE, 24 * 60 * MINUTE, 60 * MINUTE),
  /** Dialling NATS, ms. */
  CONNECT_TIMEOUT_MS: integer(100, MINUTE, 4 * SECOND),
  /** One JetStream request, ms. */
  REQUEST_TIMEOUT_MS: integer(100, MINUTE, 5 * SECOND),
  /** The longest silence on a server-sent event stream, ms. */
  HEARTBEAT_MS: integer(100, 15 * SECOND, 10 * SECOND),
  /** Payload bytes in one page, pull or read ahead; one message may always pass. */
  MAX_PAGE_BYTES: integer(64 * KIB, 64 * MIB, 8 * MIB),
  /** A NATS connection that nobody uses is closed after this, ms; more than a NATS heartbeat. */
  IDLE_CONNECTION_MS: integer(6 * SECOND, 60 * MINUTE, 30 * SECOND),
  /** NATS connections a Node process holds at most: one a credential. */
  MAX_CONNECTIONS: integer(1, 100_000, 1_000),
  /** HTTP connections a Node process holds at most. Over it, the one without a request for longest gives way to a new one. */
  MAX_CLIENT_CONNECTIONS: integer(1, 1_000_000, 32_768),
  /** The headers of a request to a Node process have to be whole this long after their first byte, ms. */
  HEADERS_TIMEOUT_MS: integer(100, MINUTE, 15 * SECOND),
  /** How long a Node process keeps a connection open for another request, ms: longer than the proxies in front of it do. */
  KEEP_ALIVE_MS: integer(100, 60 * MINUTE, 80 * SECOND),
  /** Credentials that wait at a host for NATS to accept them, at most. */
  MAX_SIGN_INS: integer(1, 100_000, 1_000),
  /** Durable Objects that share the requests of one credential; server-sent events have a number of their own. */
  CONNECTION_SHARDS: integer(1, MAX_SHARDS, 1),
  /** Durable Objects that share the readers of server-sent events of one credential. */
  READER_SHARDS: integer(1, MAX_SHARDS, 1),
  /** Readers of server-sent events that a host holds at most. */
  MAX_READERS: integer(1, 1_000_000, 20_000),
  /** Those of one credential; default: as `MAX_MEMORY_BYTES_PER_TENANT`. */
  MAX_READERS_PER_TENANT: wholeNumber(1, 1_000_000),
  /** Readers of server-sent events that come back while NATS is away, and wait at a host until it is there, at most. */
  MAX_RESUMING: integer(1, 1_000_000, 1_000),
  /** Those of one credential; default: as `MAX_MEMORY_BYTES_PER_TENANT`. */
  MAX_RESUMING_PER_TENANT: wholeNumber(1, 1_000_000),
  /** What a slow live reader may leave unread before it goes back to catching up, bytes. */
  READER_BUFFER_BYTES: integer(64 * KIB, 64 * MIB, MIB),
  /** Requests of a host that wait for messages at most: reads with `wait_ms`, and pulls. */
  MAX_WAITING: integer(1, 1_000_000, 10_000),
  /** Those of one credential; default: as `MAX_MEMORY_BYTES_PER_TENANT`. */
  MAX_WAITING_PER_TENANT: wholeNumber(1, 1_000_000),
  /** Requests of a host whose answers have not begun at most, beside those that wait for messages: each holds some 12 KiB. */
  MAX_REQUESTS: integer(1, 1_000_000, 8_192),
  /** Those of one credential; default: as `MAX_MEMORY_BYTES_PER_TENANT`. */
  MAX_REQUESTS_PER_TENANT: wholeNumber(1, 1_000_000),
  /** Requests of a host that publish many messages at most: each holds up to about a MiB, or a batch. */
  MAX_PUBLISHERS: integer(1, 1_000_000, 256),
  /** Those of one credential; default: as `MAX_MEMORY_BYTES_PER_TENANT`. */
  MAX_PUBLISHERS_PER_TENANT: wholeNumber(1, 1_000_000),
  /** Searches of a host at most, whose cost at NATS goes by the size of a stream: starts by `tail`, lists, and the like. */
  MAX_SCANS: integer(1, 10_000, 8),
  /** Those of one credential. */
  MAX_SCANS_PER_TENANT: integer(1, 10_000, 4),
  /** A batch of messages in one JSON document, bytes. */
  MAX_BATCH_BYTES: integer(KIB, 64 * MIB, 8 * MIB),
  /** The longest wait that is granted, ms: who asks for a longer one gets this. Proxies give up at 50 or 60 s. */
  MAX_WAIT_MS: integer(0, MINUTE, 45 * SECOND),
  /** Messages of one page at most: who asks for more gets so many. */
  MAX_PAGE_MESSAGES: integer(1, 1_000, 1_000),
  /** Messages of one pull at most: who asks for more gets so many. */
  MAX_PULL_BATCH: integer(1, 1_000, 1_000),
  /** The body of a publish, bytes; the `max_payload` of the NATS server holds besides. */
  MAX_BODY_BYTES: integer(KIB, 64 * MIB, 64 * MIB),
  /**
   * What a host, on Workers an isolate, holds in memory for its clients, bytes: bodies, what is parsed out of them, answers that
   * are not taken, and what waits for live readers. One request alone may always have what it needs.
   */
  MAX_MEMORY_BYTES: integer(MIB, 65_536 * MIB, 512 * MIB),
  /** That of one credential; default: half of the host's, with AUTH=none all of it. */
  MAX_MEMORY_BYTES_PER_TENANT: wholeNumber(MIB, 65_536 * MIB),
  /** The longest silence in a body that has to be whole, ms; besides it has to come at 4 KiB a second. */
  BODY_SILENCE_MS: integer(100, 5 * MINUTE, 20 * SECOND),
  /** How long a client that sends lines to publish may leave results unread, ms: then no more of its lines are published. */
  UNREAD_RESULTS_MS: integer(100, 45 * SECOND, 10 * SECOND),
  /** How long a publish with a key is tried again after JetStream went away under it, ms; 0: not at all. */
  PUBLISH_DEADLINE_MS: integer(0, MINUTE, 15 * SECOND),
  /** How long a Node process that is told to end may take, ms: what is not done by then is cut off. */
  SHUTDOWN_MS: integer(100, MINUTE, 5 * SECOND),
  /** Lets `GET /metrics` be read with it as a Bearer, where the figures are those of all callers. */
  METRICS_TOKEN: z
    .string()
    .regex(/^[\w\-.~+/]{16,512}=*$/, 'must be at least 16 characters that an Authorization header takes')
    .optional(),
  /** One structured line per request, per failed request alone, or none. */
  LOG: z
    .enum(['all', 'failures', 'off', 'on'], 'must be all, failures or off')
    .default('all')
    // `on` is what `all` was called first.
    .transform((said) => (said === 'on' ? 'all' : said)),
})

/** Limits on one credential, each with the limit on the host that its default is a share of. */
const SHARES = [
  ['MAX_READERS_PER_TENANT', 'MAX_READERS'],
  ['MAX_RESUMING_PER_TENANT', 'MAX_RESUMING'],
  ['MAX_WAITING_PER_TENANT', 'MAX_WAITING'],
  ['MAX_REQUESTS_PER_TENANT', 'MAX_REQUESTS'],
  ['MAX_PUBLISHERS_PER_TENANT', 'MAX_PUBLISHERS'],
  ['MAX_MEMORY_BYTES_PER_TENANT', 'MAX_MEMORY_BYTES'],
] as const
type Share = (typeof SHARES)[number][0]

/** Where callers have credentials of their own, no one of them can have all of a host. */
const TENANT_SHARE = 0.5

const settingsSchema = plainSchema.transform((said) => {
  const share = said.AUTH === 'none' ? 1 : TENANT_SHARE
  const shares = SHARES.map(([ofTenant, ofHost]) => [
    ofTenant,
    said[ofTenant] ?? Math.ceil(said[ofHost] * share),
  ])
  return { ...said, ...(Object.fromEntries(shares) as Record<Share, number>) }
})

/** Settings that are missing or wrong. `names`: which; the message says what is wrong with each, and shows no value. */
export class BadSettings extends Error {
  readonly names: readonly string[]

  constructor(complaints: readonly { readonly name: string; readonly message: string }[]) {
    const said = new Set(complaints.map(({ name, message }) => `${name}: ${message}`))
    super(`Bad settings. ${[...said].join('; ')}`)
    this.name = 'BadSettings'
    this.names = [...new Set(complaints.map(({ name }) => name))]
  }
}

export type Settings = z.output<typeof settingsSchema>

/** Durable Objects that one credential has: readers and the rest share them, each as many as they need. */
export function shardsOf({ CONNECTION_SHARDS, READER_SHARDS }: Settings): number {
  return Math.max(CONNECTION_SHARDS, READER_SHARDS)
}

/** Names that settings had before, and what each is taken for where that is absent. */
const OLD_NAMES = { MAX_HELD_BYTES: 'MAX_MEMORY_BYTES' } as const

type Environment = Readonly<Record<string, unknown>>

const isSaid = (value: unknown) => value !== undefined && value !== null && value !== ''

/** What is said of a setting as text: `wrangler.toml` and dashboards have numbers and booleans besides. */
function textOf(value: unknown): unknown {
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : value
}

function saidIn(env: Environment): Record<string, unknown> {
  const said: Record<string, unknown> = {}
  for (const [old, now] of Object.entries(OLD_NAMES)) if (isSaid(env[old])) said[now] = textOf(env[old])
  for (const name of Object.keys(plainSchema.shape)) if (isSaid(env[name])) said[name] = textOf(env[name])
  return said
}

/**
 * Reads the settings out of an environment or Worker bindings; an empty text is an absent one.
 * Throws an `Error` that names the bad settings and never shows a value.
 */
export function readSettings(env: Environment): Settings {
  const said = saidIn(env)
  const notText = Object.keys(said).filter((name) => typeof said[name] !== 'string')
  const parsed = settingsSchema.safeParse(said)
  if (parsed.success && notText.length === 0) return parsed.data
  const complaints = [
    ...notText.map((name) => ({ name, message: 'must be text, a number or a boolean' })),
    ...(parsed.error?.issues ?? [])
      .map(({ path, message }) => ({ name: String(path[0]), message }))
      .filter(({ name }) => !notText.includes(name)),
  ]
  throw new BadSettings(complaints)
}

/** What is to be said at the start of names in the environment, and never of values: old ones, and ones that are likely mistakes. */
export function settingNotes(env: Environment): readonly string[] {
  const old = Object.entries(OLD_NAMES)
    .filter(([name]) => isSaid(env[name]))
    .map(([name, now]) =>
      isSaid(env[now])
        ? `${name} has no effect: ${now} is set, which is its name now.`
        : `${name} is called ${now} now.`,
    )
  const said = Object.keys(env).filter((name) => isSaid(env[name]) && !(name in OLD_NAMES))
  const unknown = unknownNames(said, Object.keys(plainSchema.shape)).map(({ name, meant }) =>
    meant === undefined
      ? `${name} is not a setting of Sluice and has no effect.`
      : `${name} is not a setting of Sluice and has no effect. Did you mean ${meant}?`,
  )
  return [...old, ...unknown]
}
