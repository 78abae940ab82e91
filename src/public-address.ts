/** The addresses under which browsers see the bridge: what counts as its own page, and where its links lead. */
import type { Settings } from './settings.ts'

export interface PublicAddress {
  /** Stands before each path that an answer names: `/nats` where a proxy offers the bridge under one. */
  readonly path: string
  /** Whether a page of this origin is one of the bridge's own; `url`: of the request. */
  isOwn(origin: string, url: string): boolean
  /** Whether a `host:port` is a name of the loopback, or of the bridge. */
  isLocal(host: string): boolean
  /** The URL of a path for a client that asked with `url` and this `Origin`. */
  urlOf(path: string, asked: { readonly url: string; readonly origin: string | undefined }): URL
}

export function createPublicAddress({ PUBLIC_ORIGIN, PUBLIC_PATH }: Settings): PublicAddress {
  const origins = new Set(PUBLIC_ORIGIN)
  const hosts = new Set(PUBLIC_ORIGIN.map((origin) => new URL(origin).host))
  let lastCalled: string | undefined
  return {
    path: PUBLIC_PATH,
    isOwn: (origin, url) => origins.has(origin) || isSameHost(origin, url),
    isLocal(host) {
      if (host === lastCalled) return true
      if (!isLoopback(host.replace(PORT, '')) && !hosts.has(host.toLowerCase())) return false
      lastCalled = host
      return true
    },
    urlOf(path, { url, origin }) {
      const asked = new URL(url)
      const base =
        PUBLIC_ORIGIN.find((one) => one === origin) ??
        PUBLIC_ORIGIN.find((one) => new URL(one).host === asked.host) ??
        PUBLIC_ORIGIN[0] ??
        asked.origin
      return new URL(PUBLIC_PATH + path, base)
    },
  }
}

const PORT = /:\d+$/

/** 127.0.0.0/8, ::1, localhost and the names below it: what no name server can lead anywhere else. */
const LOOPBACK = /^(127(\.\d{1,3}){3}|\[?::1\]?|([\w-]+\.)*localhost\.?)$/i

/** Whether a host's name or address, without a port, is this machine's own for certain. */
export function isLoopback(hostname: string): boolean {
  return LOOPBACK.test(hostname)
}

/** A proxy in front may end TLS, so the scheme does not count. */
function isSameHost(origin: string, url: string): boolean {
  return URL.canParse(origin) && new URL(origin).host === new URL(url).host
}
