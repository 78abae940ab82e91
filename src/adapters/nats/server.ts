/** What is known of the connected server: its version and what its JetStream can do. */
import type { NatsConnection } from 'nats.ws'
import { BridgeError } from '../../errors.ts'
import type { ServerInfo } from '../../jetstream.ts'
import { callApi } from './api.ts'
import type { Connection } from './connection.ts'
import { hasCode, unavailable } from './errors.ts'
import { settled } from './liveness.ts'

/** Minor version of nats-server 2 → API level. Source: nats-server, server/jetstream_versioning.go of each release. */
const LEVELS: readonly (readonly [minor: number, level: number])[] = [
  [14, 4],
  [12, 2],
  [11, 1],
]

const known = new WeakMap<NatsConnection, ServerInfo>()

function levelOfVersion(version: string): number {
  const [, major, minor] = /^(\d+)\.(\d+)/.exec(version) ?? []
  if (Number(major) !== 2) return 0
  return LEVELS.find(([from]) => Number(minor) >= from)?.[1] ?? 0
}

async function apiLevel(connection: Connection, client: NatsConnection, version: string): Promise<number> {
  try {
    const { api } = await callApi<{ api?: { level?: number } }>(connection, 'INFO', undefined, client)
    return api?.level ?? 0
  } catch (err) {
    // While a cluster elects the leader of its metadata nobody answers this, and its streams take publishes.
    if (hasCode(err, 'forbidden', 'jetstream_timeout')) return levelOfVersion(version)
    throw err
  }
}

/** `JetStream.server`; asked once for each connection. */
export async function serverInfo(connection: Connection): Promise<ServerInfo> {
  const client = await connection.client()
  const before = known.get(client)
  if (before) return before
  const greeting = client.info
  if (!greeting) throw unavailable()
  const { version, max_payload: maxPayloadBytes } = greeting
  const info = { version, apiLevel: await apiLevel(connection, client, version), maxPayloadBytes }
  known.set(client, info)
  return info
}

/** Throws `not_supported` where the server's JetStream is older than `level`. */
export async function requireLevel(connection: Connection, level: number, version: string): Promise<void> {
  const server = await serverInfo(connection)
  if (server.apiLevel >= level) return
  throw new BridgeError(
    'not_supported',
    `This needs nats-server ${version} or newer; this is ${server.version}.`,
  )
}

/** `JetStream.ping`. A credential that may not ask the API gets its answer from the server itself. */
export async function ping(connection: Connection): Promise<void> {
  const client = await connection.client()
  try {
    await callApi(connection, 'INFO', undefined, client)
  } catch (err) {
    if (!hasCode(err, 'forbidden')) throw err
    if (!(await settled(client))) throw unavailable()
  }
}
