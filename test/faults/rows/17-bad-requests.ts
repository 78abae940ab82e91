/** Row 17: bodies and heads that are oversized, lying, slow or deeply nested, beside a client that is none of it. */
import { isLinesType } from '../../../src/media-types.ts'
import { inParallel } from '../../contract/expectations.ts'
import { type MemoryWatch, watchMemory } from '../../publishing/process-memory.ts'
import { type HostName, startHost, type TestHost } from '../../support/host.ts'
import { startNats } from '../../support/nats.ts'
import type { Row, RowRun } from '../row.ts'
import { type BadKind, isJson, type Place } from './bad-request.ts'
import { BAD_KINDS } from './bad-requests.ts'
import { type BareAnswer, type Outcome, sendBare } from './bare-http.ts'
import { type Served, startHealthyClient } from './healthy-client.ts'
import { contract, OPERATIONS, type Operation, pathOf } from './operations.ts'
import { holdSlowRequests } from './slow-requests.ts'

const MB = 1_000_000
const NAMES = { stream: 'BAD', consumer: 'worker', subject: 'bad.subject', seq: 1 }
const PROBLEM = 'application/problem+json'
/** Of a request whose client has said all that it will say. */
const BOUND_MS = 20_000
const AT_ONCE = 12
/** Twelve bodies of 20 MiB on their way, 200 slow connections, and what workerd lets pile up before it looks. */
const MOST_GROWTH_BYTES = 600 * MB
/** What the HTTP server itself says of a request that it hands to nobody. */
const SERVERS_OWN = new Set([400, 408, 411, 413, 414, 417, 431])

interface Attack extends Place {
  readonly kind: BadKind
}

const suits = ({ of }: BadKind, type: string) =>
  of === 'any' || (type !== '' && (of === 'body' || isJson(type)))

/** Every kind of request at every operation and type of body that it is for. */
function drawAttacks(random: () => number): Attack[] {
  return OPERATIONS.flatMap((operation) =>
    (operation.bodyTypes.length > 0 ? operation.bodyTypes : ['']).flatMap((type) =>
      BAD_KINDS.filter((kind) => suits(kind, type)).map((kind) => ({
        kind,
        operation,
        path: pathOf(operation, NAMES),
        // The contract takes any type there.
        type: type === '*/*' ? 'text/plain; charset=utf-16' : type,
        random,
      })),
    ),
  )
}

/** What is wrong with what came back; undefined where it is a refusal as it should be. */
function faultOf({ operation, path }: Attack, { how, answer }: Outcome): string | undefined {
  if (how === 'silent') return `nothing within ${BOUND_MS} ms`
  if (!answer) return undefined
  const { status, headers, bytes } = answer
  const text = bytes.toString('utf8').slice(0, 300)
  if (status === 200 && operation.id === 'publishMessages') return faultOfResults(answer)
  if (status < 400 || status >= 500) return `${status} ${text}`
  if (headers.get('Content-Type')?.startsWith(PROBLEM) !== true)
    return SERVERS_OWN.has(status) ? undefined : `a bare ${status} ${text}`
  return faultOfProblem(operation, path, answer)
}

interface Result {
  readonly error?: { readonly status: number }
}

/** Messages are answered one by one: each must be refused by itself. */
function faultOfResults({ headers, bytes }: BareAnswer): string | undefined {
  const text = bytes.toString('utf8')
  const results: readonly Result[] = isLinesType(headers.get('Content-Type'))
    ? text.split('\n').flatMap((line) => (line === '' ? [] : (JSON.parse(line) as Result)))
    : (JSON.parse(text) as { results: readonly Result[] }).results
  const taken = results.find(({ error }) => !error || error.status < 400 || error.status >= 500)
  return taken && `a message answered ${JSON.stringify(taken).slice(0, 300)}`
}

function faultOfProblem(
  { method }: Operation,
  path: string,
  { status, headers, bytes }: BareAnswer,
): string | undefined {
  const known = new Set([400, 404, 405, 413, 414, 415])
  try {
    // A problem of a path that there is not is no operation's.
    if (!known.has(status)) contract.check({ method, path, status, headers, bytes })
    else JSON.parse(bytes.toString('utf8'))
    return undefined
  } catch (err) {
    return String(err)
  }
}

async function prepare(url: string): Promise<void> {
  const put = async (method: string, path: string, body: object) => {
    const init = { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }
    const answer = await fetch(url + path, init)
    if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`)
  }
  for (const name of ['BAD', 'HEALTHY'])
    await put('POST', '/v1/streams', { name, subjects: [`${name.toLowerCase()}.>`], storage: 'memory' })
  await put('PUT', '/v1/streams/BAD/consumers/worker', {})
}

/** What is there of streams and consumers, which nothing of it all may change. */
async function look(url: string): Promise<readonly string[]> {
  const get = async (path: string) => (await (await fetch(url + path)).json()) as Record<string, unknown>
  const { config, state } = await get('/v1/streams/BAD')
  const { consumers } = await get('/v1/streams/BAD/consumers')
  const { streams } = (await get('/v1/streams')) as { streams: { config: { name: string } }[] }
  const names = streams.map((stream) => stream.config.name).sort()
  // Cursors are sealed anew each time.
  return [config, state, consumers, names].map((seen) =>
    JSON.stringify(seen, (name, value) => (name === 'cursor' ? undefined : value)),
  )
}

interface Told {
  readonly sent: number
  readonly taken: number
  readonly served: Served
  readonly memory: MemoryWatch
  readonly held: number
}

async function attack(run: RowRun, host: TestHost, attacks: readonly Attack[]): Promise<Told> {
  const memory = watchMemory(host.pid)
  const slow = await holdSlowRequests(host.url, run.pace === 'full' ? 200 : 20)
  run.injected(`${host.name}: a request of a byte a second`, slow.count)
  const client = startHealthyClient(host.url, 'HEALTHY', 'healthy.subject')
  const faults = new Map<string, string[]>()
  await inParallel(attacks, AT_ONCE, async (one) => {
    const outcome = await sendBare(host.url, { ...one.kind.make(one), withinMs: BOUND_MS })
    const fault = faultOf(one, outcome)
    const told = `${one.kind.name}: ${fault}`
    if (fault !== undefined)
      faults.set(told, [...(faults.get(told) ?? []), `${one.operation.id} ${one.type}`])
  })
  for (const [fault, where] of faults)
    run.broken('I9', `${host.name}: ${fault} (${where.length} times: ${[...new Set(where)].join(', ')})`)
  for (const [name, alike] of Map.groupBy(attacks, ({ kind }) => kind.name))
    run.injected(`${host.name}: ${name}`, alike.length)
  const served = await client.stop()
  const { held, refusals } = await slow.end()
  // Lines are answered from the first one on: 200 is the beginning of that.
  for (const refusal of refusals.filter((status) => status !== 200 && (status < 400 || status >= 500)))
    run.broken('I9', `${host.name}: a slow request was answered ${refusal}`)
  const taken = [...faults.values()].reduce((sum, where) => sum + where.length, 0)
  return { sent: attacks.length, taken, served, memory, held }
}

async function runOn(run: RowRun, name: HostName): Promise<void> {
  const nats = await startNats()
  run.defer(() => nats.stop())
  const host = await startHost(name, { natsUrl: nats.wsUrl })
  run.defer(() => host.stop())
  await prepare(host.url)
  const before = await look(host.url)
  const random = run.random(name)
  const drawn = Array.from({ length: run.rounds({ full: 4, part: 1 }) }, () => drawAttacks(random)).flat()
  const attacks = run.pace === 'full' ? drawn : drawn.filter(() => random() < 0.25)

  const { sent, taken, served, memory, held } = await attack(run, host, attacks)
  const after = await look(host.url)
  for (const [at, seen] of after.entries())
    if (seen !== before[at]) run.broken('I9', `${name}: something was changed: ${before[at]} → ${seen}`)
  const grownBytes = memory.peakBytes() - memory.levelBytes
  if (grownBytes > MOST_GROWTH_BYTES)
    run.broken('I7', `${name}: ${Math.round(grownBytes / MB)} MB more memory`)
  for (const failure of served.failures.slice(0, 5))
    run.broken('I9', `${name}: a healthy client was not served: ${failure}`)
  if (sent < 100 || served.requests < 10)
    throw new Error(`${name}: only ${sent} sent, ${served.requests} served`)
  run.figure(
    `${name}: ${sent.toLocaleString('en')} bad requests, ${taken} not refused; ${held} slow ones held beside them; at most ` +
      `${Math.round(grownBytes / MB)} MB more memory; a healthy client's p99 ${Math.round(served.p99Ms)} ms`,
  )
}

export const badRequestsRow: Row = {
  number: 17,
  fault: 'oversized, lying, slow and deeply nested bodies, 4,096 headers',
  shows: ['I7', 'I9'],
  async run(run) {
    for (const name of run.hosts) await runOn(run, name)
  },
}
