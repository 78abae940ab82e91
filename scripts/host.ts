/** What the two hosts have in common: how one is asked for, and what a running one offers. */
import type { Ending } from './processes.ts'

/** The two runtimes that Sluice runs on. */
export type HostName = 'workerd' | 'node'

/** How to start Sluice on a host. */
export type SluiceOptions = {
  /** 0 takes a free one. */
  port: number
  /** Default 127.0.0.1. */
  hostname?: string
  /** Settings, by their names in `src/settings.ts`. */
  env: Record<string, string>
  /** Has V8's inspector listen there, on the loopback alone. */
  inspectorPort?: number | undefined
  /** Flags of V8, such as `--max-old-space-size=128`. */
  v8Flags?: readonly string[] | undefined
  /** The file that takes what it prints; without one it prints to this process's output. */
  log?: string
  /** Hears of slow steps. */
  say?: (text: string) => void
}

/** Sluice, running. The pid is that of the process which serves. */
export type SluiceServer = {
  url: string
  pid: number
  ended: Promise<Ending>
  /** SIGTERM, then SIGKILL after `graceMs`, default 1,500. */
  stop: (graceMs?: number) => Promise<void>
  /** SIGKILL. */
  crash: () => Promise<void>
}

const PROBE_TIMEOUT_MS = 2_000

/** `host:port`, with the brackets that an IPv6 address needs. */
export const address = (hostname: string, port: number): string =>
  `${hostname.includes(':') ? `[${hostname}]` : hostname}:${port}`

const reachable = (url: string): string =>
  url.replace('//0.0.0.0:', '//127.0.0.1:').replace('//[::]:', '//[::1]:')

const reasonOf = (err: unknown): string => {
  if (!(err instanceof Error)) return String(err)
  return err.cause instanceof Error ? `${err.message}: ${err.cause.message}` : err.message
}

/** Says true when Sluice answers at `url`, else why not yet. Throws when it refuses: no wait would mend that. */
export const isAlive = async (url: string): Promise<true | string> => {
  let response: Response
  try {
    response = await fetch(`${reachable(url)}/livez`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) })
  } catch (err) {
    return `${url}: ${reasonOf(err)}`
  }
  const body = await response.text()
  if (!response.ok) throw new Error(`Sluice answers ${response.status}: ${body.slice(0, 500)}`)
  return true
}

const READY_TIMEOUT_MS = 15_000

/** What `GET /readyz` has against serving now; undefined where nothing. */
export const whyNotReady = async (url: string): Promise<string | undefined> => {
  try {
    const response = await fetch(`${reachable(url)}/readyz`, {
      signal: AbortSignal.timeout(READY_TIMEOUT_MS),
    })
    const { detail = '' } = (await response.json()) as { detail?: string }
    return response.ok ? undefined : detail
  } catch (err) {
    return reasonOf(err)
  }
}
