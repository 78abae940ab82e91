/** While a stream's leader is gone: what has a key is stored once by itself, what has none is answered honestly. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Message } from '../contract/client.ts'
import { at, range, until } from '../contract/expectations.ts'
import { HOSTS, type HostName, startHost, type TestHost } from '../support/host.ts'
import { startCluster, type TestCluster, type TestNats } from '../support/nats.ts'
import { handOver, inStep, leaderOf, metaLeaderOf } from './leader.ts'
import { type Answered, publish } from './publish.ts'
import { randomFor, SEED } from './seeded.ts'
import { makeStream, readStored } from './stored.ts'

const STREAM = 'ELECT'
const REQUEST_TIMEOUT_MS = 2_000
const DEADLINE_MS = 15_000
/** A try that begins at the deadline, a dial before it, and what a busy machine adds. */
const LATEST_MS = DEADLINE_MS + REQUEST_TIMEOUT_MS + 5_000
const TEST_MS = 60_000
/** Of each host: half of them with keys. */
const CLIENTS = 8
/** Publishes of each client before a fault, under it and after it. */
const PUBLISHES = 10

interface Attempt extends Answered {
  readonly host: HostName
  readonly payload: string
  readonly isKeyed: boolean
  readonly tookMs: number
}

interface Publisher {
  readonly host: TestHost
  readonly subject: string
  readonly isKeyed: boolean
}

/** A client that publishes one message after the other until it is told to end. */
class Client {
  readonly attempts: Attempt[] = []
  readonly #publisher: Publisher
  readonly #running: Promise<void>
  #isOver = false

  constructor(publisher: Publisher) {
    this.#publisher = publisher
    this.#running = this.#run()
  }

  get stored(): number {
    return this.attempts.filter(({ body }) => 'seq' in body).length
  }

  async end(): Promise<void> {
    this.#isOver = true
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#isOver)
      this.attempts.push(await attempt(this.#publisher, `${this.#publisher.subject} ${this.attempts.length}`))
  }
}

async function attempt({ host, subject, isKeyed }: Publisher, payload: string): Promise<Attempt> {
  const headers: Record<string, string> = isKeyed ? { 'Idempotency-Key': payload } : {}
  const beganAt = performance.now()
  const answered = await publish(host.url, { subject, payload, headers })
  return { host: host.name, payload, isKeyed, tookMs: performance.now() - beganAt, ...answered }
}

function complaintAbout(attempt: Attempt, stored: readonly Message[]): string | undefined {
  const { host, payload, status, body, isKeyed, tookMs } = attempt
  const told = `${host}: ${payload}, answered with ${status} ${JSON.stringify(body)} after ${Math.round(tookMs)} ms`
  if (stored.length > 1) return `${told}: stored at ${stored.map(({ seq }) => seq).join(', ')}`
  if (tookMs > LATEST_MS) return told
  if ('seq' in body) return stored[0]?.seq === body.seq ? undefined : `${told}: is at ${stored[0]?.seq}`
  if (isKeyed) return told
  const isHonest =
    (['publish_unconfirmed', 'jetstream_timeout'].includes(body.code) && body.side_effects === 'possible') ||
    (body.code === 'jetstream_unavailable' && body.side_effects === 'none' && stored.length === 0)
  return isHonest ? undefined : `${told}: ${stored.length} stored`
}

function report(what: string, attempts: readonly Attempt[]): void {
  for (const name of HOSTS) {
    const own = attempts.filter(({ host }) => host === name)
    const longest = (keyed: boolean) =>
      Math.round(Math.max(...own.filter(({ isKeyed }) => isKeyed === keyed).map(({ tookMs }) => tookMs)))
    const counts = [...Map.groupBy(own, ({ status }) => status)].map(
      ([status, { length }]) => `${length} × ${status}`,
    )
    console.log(
      `${name}: seed ${SEED}, ${what}; the longest publish took ${longest(true)} ms with a key, ${longest(false)} ms ` +
        `without; ${counts.join(', ')}`,
    )
  }
}

describe('while the leader of a stream', { timeout: TEST_MS }, () => {
  const random = randomFor('election')
  let cluster: TestCluster
  let hosts: TestHost[] = []
  /** These dial NATS for the first time while it has no leader. */
  let coldHosts: TestHost[] = []

  const startHosts = () => {
    const env = { REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS), PUBLISH_DEADLINE_MS: String(DEADLINE_MS) }
    return Promise.all(HOSTS.map((name) => startHost(name, { natsUrl: cluster.wsUrl, env })))
  }

  beforeAll(async () => {
    cluster = await startCluster()
    hosts = await startHosts()
    coldHosts = await startHosts()
    await makeStream(at(hosts, 0).url, STREAM, { num_replicas: 3 })
  })
  afterAll(async () => {
    await Promise.all([...hosts, ...coldHosts].map((host) => host.stop()))
    await cluster?.stop()
  })

  const startClients = (fault: string) =>
    hosts.flatMap((host) =>
      range(1, CLIENTS).map(
        (n) => new Client({ host, subject: `elect.${fault}.${host.name}.${n}`, isKeyed: n % 2 === 0 }),
      ),
    )

  /** Settles when each has stored some more. */
  const goOn = async (clients: readonly Client[]): Promise<void> => {
    const wanted = clients.map(({ stored }) => stored + PUBLISHES)
    const hasGoneOn = ({ stored }: Client, index: number) => stored >= at(wanted, index)
    await until('each client goes on', async () => clients.every(hasGoneOn), LATEST_MS)
  }

  const electionWithout = async (leader: TestNats): Promise<number> => {
    const beganAt = performance.now()
    await leaderOf(
      cluster,
      STREAM,
      cluster.nodes.filter((node) => node !== leader),
    )
    return performance.now() - beganAt
  }

  const check = async (fault: string, attempts: readonly Attempt[]): Promise<void> => {
    await inStep(cluster, STREAM)
    const stored = await readStored(at(hosts, 0).url, STREAM, `elect.${fault}.>`)
    const byPayload = Map.groupBy(stored, ({ data = '' }) => data)
    const complaints = attempts.flatMap((one) => complaintAbout(one, byPayload.get(one.payload) ?? []) ?? [])
    expect(complaints.slice(0, 10)).toEqual([])
    const payloads = new Set(attempts.map(({ payload }) => payload))
    expect([...byPayload.keys()].filter((payload) => !payloads.has(payload))).toEqual([])
  }

  it('is killed, stored once by itself with a key, answered honestly without', async () => {
    const clients = startClients('killed')
    await goOn(clients)
    // With it, nobody answers for the cluster either.
    const leader = await metaLeaderOf(cluster)
    await handOver(cluster, STREAM, leader)
    await goOn(clients)
    await delay(random() * 100)
    await leader.kill()
    const firstOfCold = coldHosts.flatMap((host) =>
      [true, false].map((isKeyed) =>
        attempt({ host, subject: 'elect.killed.cold', isKeyed }, `cold ${host.name} ${isKeyed}`),
      ),
    )
    const electedMs = await electionWithout(leader)
    await goOn(clients)
    await leader.restart()
    await goOn(clients)
    await Promise.all(clients.map((client) => client.end()))

    const attempts = [...clients.flatMap((client) => client.attempts), ...(await Promise.all(firstOfCold))]
    report(`leader killed, the next one after ${Math.round(electedMs)} ms`, attempts)
    await check('killed', attempts)
  })

  it('is paused, stored once by itself with a key, answered honestly without', async () => {
    const clients = startClients('paused')
    await goOn(clients)
    await delay(random() * 100)
    const leader = await leaderOf(cluster, STREAM)
    await leader.pause()
    const electedMs = await electionWithout(leader)
    await goOn(clients)
    leader.resume()
    await goOn(clients)
    await Promise.all(clients.map((client) => client.end()))

    const attempts = clients.flatMap((client) => client.attempts)
    report(`leader paused, the next one after ${Math.round(electedMs)} ms`, attempts)
    await check('paused', attempts)
  })
})
