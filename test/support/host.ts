/** The hosts of the tests: Sluice in workerd and on Node, started alike. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { HostName, SluiceServer } from '../../scripts/host.ts'
import { startNode } from '../../scripts/node-host.ts'
import { LOGS } from '../../scripts/paths.ts'
import { logTail } from '../../scripts/processes.ts'
import { startWorkerd } from '../../scripts/workerd.ts'

export type { HostName } from '../../scripts/host.ts'

const STARTERS = { workerd: startWorkerd, node: startNode }

const isHostName = (name: string): name is HostName => name in STARTERS

const chosenHosts = (): HostName[] => {
  const names = (process.env.SLUICE_HOSTS ?? 'workerd,node').split(',').map((name) => name.trim())
  return names.map((name) => {
    if (!isHostName(name)) throw new Error(`SLUICE_HOSTS names "${name}": only workerd and node are known`)
    return name
  })
}

/** The hosts to run host tests on: both, unless SLUICE_HOSTS says otherwise. */
export const HOSTS: HostName[] = chosenHosts()

/** A key for sealing tokens; instances which share it read each other's tokens. */
export const newTokenKey = (id = 'test'): string => `${id}:${randomBytes(32).toString('base64url')}`

/** Sluice under test. */
export type TestHost = SluiceServer & { name: HostName; logPath: string; logTail: (lines?: number) => string }

let started = 0

/**
 * Starts Sluice on a host, by default with AUTH=none, a fresh token key and no logging of requests.
 * `env`: settings over those. `port`: 0, the default, takes a free one. Throws with its log when it does not come up.
 */
export const startHost = async (
  name: HostName,
  options: {
    natsUrl: string
    env?: Record<string, string>
    port?: number
    inspectorPort?: number | undefined
    v8Flags?: readonly string[]
  },
): Promise<TestHost> => {
  started += 1
  const logPath = join(LOGS, `${name}-${process.pid}-${started}.log`)
  const server = await STARTERS[name]({
    port: options.port ?? 0,
    inspectorPort: options.inspectorPort,
    v8Flags: options.v8Flags,
    env: { AUTH: 'none', LOG: 'off', TOKEN_KEYS: newTokenKey(), NATS_URL: options.natsUrl, ...options.env },
    log: logPath,
  })
  return { ...server, name, logPath, logTail: (lines) => logTail(logPath, lines) }
}
