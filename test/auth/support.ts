/** What the tests of authorization share: NATS users and what they may, the bridge that asks them, and callers. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { type Answer, type Client, createClient, publishPath } from '../contract/client.ts'
import { HOSTS, type HostName, newTokenKey, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

/** A NATS user; without `publish` and `subscribe` one that may do anything in its account. */
export interface NatsUser {
  readonly name: string
  readonly password: string
  readonly publish?: readonly string[]
  readonly subscribe?: readonly string[]
}

const listed = (subjects: readonly string[]) => `[${subjects.map((subject) => JSON.stringify(subject))}]`

/** Nothing may be published: NATS takes an empty list for no limit at all. */
const allowed = (subjects: readonly string[]) => (subjects.length > 0 ? listed(subjects) : '{ deny: ">" }')

const userText = ({ name, password, publish, subscribe }: NatsUser) =>
  `{ user: ${JSON.stringify(name)}, password: ${JSON.stringify(password)}${
    publish || subscribe
      ? `, permissions: { publish: ${allowed(publish ?? [])}, subscribe: ${allowed(subscribe ?? [])} }`
      : ''
  } }`

/** `users: [ … ]` in the words of a nats-server configuration. */
export const usersText = (users: readonly NatsUser[]) => `users: [ ${users.map(userText).join('\n')} ]`

/** All users in one account. */
export const authorizationText = (users: readonly NatsUser[]) => `authorization { ${usersText(users)} }`

/** Users that a running nats-server can be told anew. */
export interface ChangingUsers {
  readonly configText: string
  /** Resolves when the signal was sent; what comes of it is for the test to wait for. */
  change(nats: TestNats, users: readonly NatsUser[]): void
}

/** Keeps users in a file of their own, which the server includes and reads again on SIGHUP. */
export function changingUsers(users: readonly NatsUser[]): ChangingUsers {
  const folder = process.env.SLUICE_TEST_FOLDER ?? tmpdir()
  const file = `users-${randomBytes(6).toString('hex')}.conf`
  const write = (now: readonly NatsUser[]) => {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, file), authorizationText(now), { mode: 0o600 })
  }
  write(users)
  return {
    // An include is looked for from the folder of the configuration, which lies in this one.
    configText: `include ${JSON.stringify(`../${file}`)}`,
    change(nats, now) {
      write(now)
      process.kill(nats.pid(), 'SIGHUP')
    },
  }
}

export const basic = ({ name, password }: NatsUser) =>
  `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`

/** A client that sends this `Authorization` with every request. */
export function as(bridge: Client, authorization: string): Client {
  const open: Client['open'] = (request, call = {}) =>
    bridge.open(request, { ...call, headers: { Authorization: authorization, ...call.headers } })
  const send: Client['send'] = (request, call = {}) =>
    bridge.send(request, { ...call, headers: { Authorization: authorization, ...call.headers } })
  const ok: Client['ok'] = (request, call = {}) =>
    bridge.ok(request, { ...call, headers: { Authorization: authorization, ...call.headers } })
  return {
    ...bridge,
    open,
    send,
    ok,
    publish: (subject, payload = '', headers = {}) =>
      ok(`POST ${publishPath(subject)}`, { body: payload, headers }),
    page: (stream, query = {}) => ok(`GET /v1/streams/${stream}/messages`, { query }),
    pull: (consumerPath, pull = {}) => ok(`POST ${consumerPath}/pull`, { json: pull }),
    settle: async (...acks) => {
      const { results } = await ok<{ results: Awaited<ReturnType<Client['settle']>> }>('POST /v1/acks', {
        json: { acks },
      })
      return results
    },
  }
}

/** What `POST /v1/tickets` answers. */
export interface Ticket {
  readonly ticket: string
  readonly url: string
  readonly open_until: string
  readonly valid_until: string
}

export const createTicket = (client: Client, json: object) => client.ok<Ticket>('POST /v1/tickets', { json })

export const pathOf = ({ url }: Pick<Ticket, 'url'>) => new URL(url).pathname + new URL(url).search

/** A bridge and its NATS: to be used inside tests. */
export interface Guarded {
  readonly hostName: HostName
  readonly nats: TestNats
  readonly host: TestHost
  readonly bridge: Client
  /** The settings it was started with, for another instance of the same bridge. */
  readonly env: Readonly<Record<string, string>>
  caller(user: NatsUser): Client
}

interface GuardedOptions {
  /** Of the nats-server. */
  readonly configText: string
  readonly env?: Readonly<Record<string, string>>
  readonly hosts?: readonly HostName[]
  /** Runs once the bridge is there. */
  readonly prepare?: (guarded: Guarded) => Promise<unknown>
}

/** Runs the tests on each host with AUTH=nats, before a nats-server of its own. */
export function onEveryHost(options: GuardedOptions, tests: (guarded: Guarded) => void): void {
  describe.each([...(options.hosts ?? HOSTS)])('on %s', (hostName) => {
    let nats: TestNats | undefined
    let host: TestHost | undefined
    let bridge: Client | undefined
    const env = { AUTH: 'nats', HEARTBEAT_MS: '500', TOKEN_KEYS: newTokenKey(), ...options.env }
    const started = <Part>(part: Part | undefined): Part => {
      if (part === undefined) throw new Error('The bridge is there inside tests only')
      return part
    }
    const guarded: Guarded = {
      hostName,
      env,
      get nats() {
        return started(nats)
      },
      get host() {
        return started(host)
      },
      get bridge() {
        return started(bridge)
      },
      caller: (user) => as(started(bridge), basic(user)),
    }

    beforeAll(async () => {
      nats = await startNats({ configText: options.configText })
      host = await startHost(hostName, { natsUrl: nats.wsUrl, env })
      bridge = await createClient(host.url)
      await options.prepare?.(guarded)
    })
    afterAll(async () => {
      await host?.stop()
      await nats?.stop()
    })
    tests(guarded)
  })
}

/**
 * How nats-server and nats.ws word a refusal, and subjects of theirs that a client has no business to see: no one's inbox. One
 * that lacks a permission is named.
 */
const NATS_TEXT = /violation|permissions_|authorization_|-ERR|(?<!publish to \\")\$JS|\$SYS|_INBOX(?!\.>\\")/i

/** An answer that is this problem, and tells nothing of what NATS said. */
export function expectProblem(answer: Answer, status: number, code: string): void {
  expect(answer).toMatchObject({ status, body: { status, code } })
  expect(Buffer.from(answer.bytes).toString('utf8')).not.toMatch(NATS_TEXT)
  if (status === 401) expect(answer.headers.get('WWW-Authenticate')).toBe('Basic realm="sluice", Bearer')
}
