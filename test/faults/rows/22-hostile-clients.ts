/**
 * Row 22: hostile clients, generated from the contract, beside a healthy client of another tenant, and beside a client
 * of a bare HTTP server, which shows how long the machine makes anybody wait.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { basic, usersText } from '../../auth/support.ts'
import { range } from '../../contract/expectations.ts'
import { cpuSecondsOf } from '../../publishing/process-cpu.ts'
import { rssOf, watchMemory } from '../../publishing/process-memory.ts'
import { type HostName, startHost, type TestHost } from '../../support/host.ts'
import { startNats, type TestNats } from '../../support/nats.ts'
import type { Row, RowRun } from '../row.ts'
import { startBareServer } from './bare-server.ts'
import { type Served, startHealthyClient, startReferenceClient } from './healthy-client.ts'
import { type Callers, CONSUMER, STREAMS } from './hostile-requests.ts'
import { runSwarm, type SwarmReport } from './hostile-swarm.ts'
import { ask, asking, JSON_TYPE, mustAsk } from './tenant-fleet.ts'

const MIB = 1_048_576
/** Of each host: one at a time, and fifty at once. */
const ALONE = { full: 1_000, part: 50 } as const
const CROWD = { full: 9_500, part: 450 } as const
const CROWD_SIZE = 50
const SUBJECTS = { full: 50_000, part: 2_000 } as const
const LARGE_MESSAGES = 12
const LARGE_BYTES = 900_000
const QUEUED = 500

const MAX_MEMORY_BYTES = 64 * MIB
/** What a host may take beside the ledger. */
const BESIDE_LEDGER_BYTES = 150 * MIB
const MAX_P99_MS = 250
/** Longer than the bare server's client waited, ms. */
const MAX_WAIT_MS = { alone: 250, crowd: 1_000 } as const
const NATS_REST_MS = 3_000
const NATS_WATCH_MS = 2_000
const MAX_NATS_SHARE = 0.05
/**
 * An isolate on Workers has 128 MB. Where V8 has no bound, it lets garbage pile up as long as the machine has memory, and that
 * says nothing of what a host holds.
 */
const V8_FLAGS = ['--max-old-space-size=128', '--max-semi-space-size=16']
/** A host has so long to give memory back to the system. */
const MEMORY_REST_MS = 10_000

const HEALTHY = { name: 'healthy', password: 'healthy-password' }
const HOSTILE = { name: 'hostile', password: 'hostile-password' }
const CALLERS: Callers = {
  tenant: basic(HOSTILE),
  wrong: basic({ name: 'hostile', password: 'not-the-password' }),
  nobody: '',
}

/** An account each; what the hostile store has a bound of NATS's own, which is no matter of the bridge. */
const CONFIG = `accounts {
  HEALTHY { jetstream: enabled, ${usersText([HEALTHY])} }
  HOSTILE { jetstream: { max_memory: 512M, max_file: 512M }, ${usersText([HOSTILE])} }
}`

async function publishLines(url: string, lines: readonly string[]): Promise<void> {
  const headers = { 'Content-Type': 'application/x-ndjson' }
  const asked = { method: 'POST', path: '/v1/messages', headers, body: lines.join('') }
  const { status, text } = await ask(url, { authorization: CALLERS.tenant }, asked)
  if (status !== 200 || text.includes('"error"')) throw new Error(`lines: ${status} ${text.slice(0, 300)}`)
}

/** What the hostile tenant has: many subjects, messages that grow as they are encoded, a queue, and a stream to destroy. */
async function settleHostile(url: string, subjects: number): Promise<void> {
  const by = { authorization: CALLERS.tenant } as Parameters<typeof mustAsk>[1]
  const make = async (name: string, more: object = {}) => {
    const config = { name, subjects: [`${name.toLowerCase()}.>`], storage: 'memory', max_bytes: 64 * MIB }
    await mustAsk(url, by, asking('POST', '/v1/streams', { ...config, ...more }))
  }
  await make(STREAMS.many)
  await make(STREAMS.large)
  await make(STREAMS.queue, { retention: 'workqueue' })
  await make(STREAMS.scratch, { max_bytes: 4 * MIB, allow_atomic: true })
  await mustAsk(url, by, asking('PUT', `/v1/streams/${STREAMS.queue}/consumers/${CONSUMER}`, {}))
  for (let from = 0; from < subjects; from += 1_000)
    await publishLines(
      url,
      range(from, Math.min(from + 999, subjects - 1)).map(
        (at) => `${JSON.stringify({ subject: `many.${at}.${at % 32}.x`, data: 'x' })}\n`,
      ),
    )
  const queued = range(1, QUEUED).map((at) => `${JSON.stringify({ subject: `queue.${at}`, data: 'x' })}\n`)
  await publishLines(url, queued)
  for (const _ of range(1, LARGE_MESSAGES))
    await mustAsk(url, by, {
      method: 'POST',
      path: '/v1/subjects/large.a/messages',
      // Each byte of it takes six in JSON.
      body: '\u0001'.repeat(LARGE_BYTES),
    })
}

async function settleHealthy(url: string): Promise<void> {
  const config = { name: 'HEALTHY', subjects: ['healthy.>'], storage: 'memory', max_bytes: 64 * MIB }
  const asked = { method: 'POST', path: '/v1/streams', headers: JSON_TYPE, body: JSON.stringify(config) }
  await mustAsk(url, { authorization: basic(HEALTHY) } as Parameters<typeof mustAsk>[1], asked)
}

interface Phase {
  readonly name: keyof typeof MAX_WAIT_MS
  readonly count: number
  readonly atOnce: number
  readonly seed: number
}

interface Seen {
  readonly report: SwarmReport
  readonly served: Served
  readonly reference: Served
}

/** The hostile clients of one phase, with both others beside them. */
async function play(host: TestHost, bareUrl: string, { seed, count, atOnce }: Phase): Promise<Seen> {
  const healthy = startHealthyClient(host.url, 'HEALTHY', 'healthy.a', { Authorization: basic(HEALTHY) })
  const bare = startReferenceClient(bareUrl)
  const report = await runSwarm({
    port: Number(new URL(host.url).port),
    seed,
    count,
    atOnce,
    callers: CALLERS,
  }).catch(async (err: unknown) => {
    await Promise.allSettled([healthy.stop(), bare.stop()])
    throw err
  })
  const [served, reference] = await Promise.all([healthy.stop(), bare.stop()])
  return { report, served, reference }
}

function judge(run: RowRun, name: HostName, phase: Phase, { report, served, reference }: Seen): void {
  const where = `${name}, ${phase.atOnce} at once`
  run.injected(`${where}: a hostile request`, report.sent)
  for (const [fault, times] of Object.entries(report.faults).slice(0, 10))
    run.broken('I9', `${where}: ${times} × ${fault}`)
  for (const failure of served.failures.slice(0, 5))
    run.broken('I11', `${where}: the healthy client was not served: ${failure}`)
  const ms = (value: number) => `${Math.round(value)} ms`
  run.figure(
    `${where}: ${report.sent.toLocaleString('en')} hostile requests (${statusesOf(report)}); a healthy client's p99 ` +
      `${ms(served.p99Ms)}, at most ${ms(served.longestMs)}; of a bare server's ${ms(reference.p99Ms)}, ${ms(reference.longestMs)}`,
  )
  // On a machine that runs other tests beside it, times say nothing of the host.
  if (run.pace === 'part') return
  if (served.p99Ms > MAX_P99_MS)
    run.broken('I11', `${where}: the healthy client's p99 is ${ms(served.p99Ms)}`)
  if (served.longestMs > reference.longestMs + MAX_WAIT_MS[phase.name])
    run.broken(
      'I11',
      `${where}: the healthy client waited ${ms(served.longestMs)}, that of a bare server ${ms(reference.longestMs)}`,
    )
}

const statusesOf = ({ statuses }: SwarmReport): string =>
  Object.entries(statuses)
    .sort(([, one], [, other]) => other - one)
    .map(([status, times]) => `${status} × ${times}`)
    .join(', ')

/** Of a core, over the time that is watched. */
async function shareOf(nats: TestNats): Promise<number> {
  const before = cpuSecondsOf(nats.pid())
  await delay(NATS_WATCH_MS)
  return (cpuSecondsOf(nats.pid()) - before) / (NATS_WATCH_MS / 1_000)
}

async function judgeRest(run: RowRun, host: TestHost, nats: TestNats): Promise<void> {
  await delay(NATS_REST_MS)
  const share = await shareOf(nats)
  await delay(MEMORY_REST_MS)
  run.figure(
    `${host.name}: NATS at ${(share * 100).toFixed(1)} % of a core ${NATS_REST_MS / 1_000} s after the last one left; ` +
      `${Math.round(rssOf(host.pid) / MIB)} MiB in the host then`,
  )
  if (share > MAX_NATS_SHARE)
    run.broken('I11', `${host.name}: NATS is at ${(share * 100).toFixed(1)} % of a core when all have left`)
}

async function runOn(run: RowRun, name: HostName): Promise<void> {
  const nats = await startNats({ configText: CONFIG })
  run.defer(() => nats.stop())
  const bare = await startBareServer()
  run.defer(() => bare.stop())
  // A wait that is asked for is an answer that comes later than the row waits for any.
  const env = { AUTH: 'nats', MAX_MEMORY_BYTES: String(MAX_MEMORY_BYTES), MAX_WAIT_MS: '5000' }
  const host = await startHost(name, { natsUrl: nats.wsUrl, env, v8Flags: V8_FLAGS })
  run.defer(() => host.stop())
  await settleHealthy(host.url)
  await settleHostile(host.url, SUBJECTS[run.pace])

  const memory = watchMemory(host.pid)
  const random = run.random(name)
  const seed = () => Math.floor(random() * 2 ** 31)
  const phases: readonly Phase[] = [
    { name: 'alone', count: run.rounds(ALONE), atOnce: 1, seed: seed() },
    { name: 'crowd', count: run.rounds(CROWD), atOnce: CROWD_SIZE, seed: seed() },
  ]
  let hasEnded = false
  void host.ended.then(() => {
    hasEnded = true
  })
  for (const phase of phases) judge(run, name, phase, await play(host, bare.url, phase))
  if (hasEnded) throw new Error(`${name}: the process ended: ${host.logTail()}`)

  const grown = memory.peakBytes() - memory.levelBytes
  run.figure(`${name}: ${Math.round(grown / MIB)} MiB more memory at most`)
  if (grown > MAX_MEMORY_BYTES + BESIDE_LEDGER_BYTES)
    run.broken('I7', `${name}: ${Math.round(grown / MIB)} MiB more memory`)
  if (run.pace === 'full') await judgeRest(run, host, nats)
}

export const hostileClientsRow: Row = {
  number: 22,
  fault: 'hostile clients from the contract: huge, deep, many, wrong, unread, half-sent, slow, left',
  shows: ['I7', 'I9', 'I11'],
  async run(run) {
    for (const name of run.hosts) await runOn(run, name)
  },
}
