/** A bridge in this process whose clock the test moves: what holds for an hour is shown in no time. */
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { createApp } from '../../src/app.ts'
import { createDependencies } from '../../src/bridge.ts'
import { createSessions } from '../../src/hosts/sessions.ts'
import { createMetrics } from '../../src/metrics.ts'
import { readSettings } from '../../src/settings.ts'
import { newTokenKey } from '../support/host.ts'

export interface ClockedBridge {
  readonly url: string
  /** From now on it is this time, Unix milliseconds, until it is set anew; undefined: the machine's. */
  setTime(now: number | undefined): void
  stop(): Promise<void>
}

/** Starts the same parts as the Node entry, with AUTH=nats; only the clock is not the machine's. */
export async function startClockedBridge(
  natsUrl: string,
  env: Readonly<Record<string, string>> = {},
): Promise<ClockedBridge> {
  const settings = readSettings({
    AUTH: 'nats',
    NATS_URL: natsUrl,
    TOKEN_KEYS: newTokenKey(),
    HEARTBEAT_MS: '500',
    LOG: 'off',
    ...env,
  })
  let time: number | undefined
  const metrics = createMetrics({})
  const sessions = createSessions(settings, metrics)
  const app = createApp({
    ...createDependencies(settings, {
      host: 'node',
      metrics,
      openSession: (caller) => sessions.open(caller),
      writeLine: () => {},
    }),
    now: () => time ?? Date.now(),
  })
  const { promise: listening, resolve } = Promise.withResolvers<AddressInfo>()
  const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port: 0 }, resolve)
  const { port } = await listening
  return {
    url: `http://127.0.0.1:${port}`,
    setTime(now) {
      time = now
    },
    async stop() {
      server.close()
      if ('closeAllConnections' in server) server.closeAllConnections()
      await sessions.close()
    },
  }
}
