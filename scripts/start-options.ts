/** What `npm start` is asked for: it reads the environment and refuses what would be unsafe or cannot work. */
import { join, resolve } from 'node:path'
import type { HostName } from './host.ts'
import { CACHE } from './paths.ts'
import { probePort } from './ports.ts'

/** A refusal that is the user's to mend: shown without a stack. */
export class StartRefused extends Error {}

/** What to start. */
export type StartOptions = {
  host: HostName
  hostname: string
  port: number
  dataDir: string
  loopback: boolean
  auth: string
  natsUrl: string | undefined
}

/** The settings that are secrets, and so not among the vars of wrangler.toml. */
export const SECRET_SETTINGS = ['TOKEN_KEYS', 'NATS_USER', 'NATS_PASSWORD', 'NATS_TOKEN', 'NATS_CREDS']

const DEFAULT_PORT = 8787

const isLoopback = (hostname: string): boolean => /^(127(\.\d+){3}|::1|localhost)$/.test(hostname)

const readPort = (text: string | undefined): number => {
  if (!text) return DEFAULT_PORT
  const port = Number(text)
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port
  throw new StartRefused(`PORT must be a number from 1 to 65535, not "${text}".`)
}

/** Away from the loopback address nothing is guessed: everyone on the network could use it. */
const refuseUnsafe = (env: NodeJS.ProcessEnv, hostname: string): void => {
  const missing = [
    env.AUTH ? '' : 'AUTH=nats, or AUTH=none to let anyone in',
    env.TOKEN_KEYS ? '' : `TOKEN_KEYS="k1:$(head -c 32 /dev/urandom | basenc --base64url | tr -d '=')", kept`,
    env.AUTH === 'none' || env.NATS_URL
      ? ''
      : 'with AUTH=nats also NATS_URL, since the nats-server started here takes any credential',
  ].filter((text) => text !== '')
  if (missing.length === 0) return
  throw new StartRefused(`HOST=${hostname} can be reached by other machines. Set ${missing.join('; ')}.`)
}

/** Reads what `npm start` is asked for. Throws `StartRefused`. */
export const readStartOptions = async (
  argument: string | undefined,
  env: NodeJS.ProcessEnv,
): Promise<StartOptions> => {
  if (argument !== 'workerd' && argument !== 'node') throw new StartRefused('usage: start.ts workerd|node')
  const hostname = env.HOST || '127.0.0.1'
  const port = readPort(env.PORT)
  const loopback = isLoopback(hostname)
  if (!loopback) refuseUnsafe(env, hostname)

  const probe = await probePort(hostname, port)
  if (!probe.free) {
    const why =
      probe.code === 'EADDRINUSE' ? 'is in use by another program' : `cannot be used (${probe.code})`
    throw new StartRefused(`Port ${port} on ${hostname} ${why}. Set PORT to another one.`)
  }
  return {
    host: argument,
    hostname,
    port,
    dataDir: resolve(env.DATA_DIR || join(CACHE, 'data')),
    loopback,
    auth: env.AUTH || 'none',
    natsUrl: env.NATS_URL || undefined,
  }
}
