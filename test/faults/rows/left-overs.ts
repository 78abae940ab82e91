/** What is left behind clients that are gone: in the host, at NATS, and in the kernel. */
import { readdirSync } from 'node:fs'
import type { TestHost } from '../../support/host.ts'
import type { TestNats } from '../../support/nats.ts'
import { parseExposition } from '../../support/prometheus.ts'

export interface LeftOvers {
  /** Server-sent events that the host counts as open. */
  readonly events: number
  /** Of streams, readers live or catching up. */
  readonly readers: number
  readonly waits: number
  readonly feeds: number
  /** Connections, files and all else that the host's process has open. */
  readonly descriptors: number
  /** What the bridge has subscribed at NATS. */
  readonly subscriptions: number
  /** Of the stream. */
  readonly consumers: number
}

interface Connz {
  readonly connections: readonly { readonly subscriptions: number; readonly port: number }[]
}

/** All there is now. */
export async function lookForLeftOvers(host: TestHost, nats: TestNats, stream: string): Promise<LeftOvers> {
  const [metrics, connz, about] = await Promise.all([
    textOf(`${host.url}/metrics`),
    textOf(`${nats.monitorUrl}/connz?subs=1`),
    textOf(`${host.url}/v1/streams/${stream}`),
  ])
  const { total } = parseExposition(metrics)
  const { connections } = JSON.parse(connz) as Connz
  const { state } = JSON.parse(about) as { state: { consumer_count: number } }
  return {
    events: total('sluice_event_streams'),
    readers: total('sluice_readers'),
    waits: total('sluice_waiting_requests'),
    feeds: total('sluice_feeds'),
    descriptors: readdirSync(`/proc/${host.pid}/fd`).length,
    subscriptions: connections.reduce((sum, { subscriptions }) => sum + subscriptions, 0),
    consumers: state.consumer_count,
  }
}

async function textOf(url: string): Promise<string> {
  const answer = await fetch(url)
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${url} → ${answer.status} ${text}`)
  return text
}

/** What there is more of than there was, in words; empty where nothing is left. */
export function tellLeftOvers(now: LeftOvers, before: LeftOvers): string {
  const names = Object.keys(before) as (keyof LeftOvers)[]
  return names
    .filter((name) => now[name] > before[name] + (name === 'descriptors' ? KEPT_ALIVE : 0))
    .map((name) => `${now[name] - before[name]} ${name}`)
    .join(', ')
}

/** Connections on which the runner itself asks. */
const KEPT_ALIVE = 8
