/** Row 18: tokens that are not what was given out, and tenants that try what is not theirs. */
import { inParallel } from '../../contract/expectations.ts'
import { type HostName, newTokenKey, startHost } from '../../support/host.ts'
import { startNats } from '../../support/nats.ts'
import type { Row, RowRun } from '../row.ts'
import { type Try, triesAt, triesAtHome, type Victim } from './tenant-attacks.ts'
import {
  type Answered,
  ask,
  asking,
  collectTokens,
  lookAt,
  mustAsk,
  planTenants,
  type Separation,
  settleIn,
  type Tenant,
} from './tenant-fleet.ts'
import { createMutator, type Tried, tryInProcess } from './token-attacks.ts'

/** Acks in one request. */
const ACKS = 1_000
const AT_ONCE = 8
const TIMING_SAMPLES = 40
/** Medians may differ by this, ms, before it counts as a hint: loopback, on a machine that is busy. */
const WIDE_MS = 25

interface Fleet {
  readonly url: string
  readonly victims: readonly Victim[]
}

async function startFleet(run: RowRun, name: HostName, separation: Separation): Promise<Fleet> {
  const { tenants, configText } = planTenants(separation, run.pace === 'full' ? 5 : 2)
  const nats = await startNats({ configText })
  run.defer(() => nats.stop())
  const host = await startHost(name, {
    natsUrl: nats.wsUrl,
    // A server that does not answer some requests for what is not there is given up on soon.
    env: { AUTH: 'nats', TOKEN_KEYS: newTokenKey(), REQUEST_TIMEOUT_MS: '1000' },
  })
  run.defer(() => host.stop())
  const victims = await inParallel(tenants, AT_ONCE, async (tenant) => {
    await settleIn(host.url, tenant)
    return { tenant, tokens: await collectTokens(host.url, tenant) }
  })
  return { url: host.url, victims }
}

const attackersOf = ({ victims }: Fleet) =>
  victims.flatMap((attacker) =>
    victims.filter((victim) => victim !== attacker).map((victim) => [attacker.tenant, victim] as const),
  )

/** What of an answer is the other's: nothing may be. */
function leakOf({ headers, text }: Answered, { secret }: Tenant): string | undefined {
  const forms = [secret, Buffer.from(secret).toString('base64'), encodeURIComponent(secret)]
  const found = forms.find((form) => text.includes(form) || headers.includes(form))
  return found && `${headers} ${text}`.slice(0, 500)
}

async function tryAll(
  run: RowRun,
  fleet: Fleet,
  name: string,
  tries: readonly (readonly [Tenant, Tenant, Try])[],
) {
  const statuses = new Map<number, number>()
  await inParallel(tries, AT_ONCE, async ([attacker, victim, one]) => {
    const answer = await ask(fleet.url, attacker, one)
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
    const told = `${name}: ${one.operation} ${one.method} ${one.path.slice(0, 200)}`
    const leak = leakOf(answer, victim)
    if (leak !== undefined) run.broken('I6', `${told} tells another's secret: ${leak}`)
    if (answer.status >= 500 && answer.text.includes('"internal"'))
      run.broken('I9', `${told}: ${answer.status} ${answer.text.slice(0, 300)}`)
    // A token that was settled, or found late, is one that was opened.
    if (one.operation === 'settleDeliveries' && /"status":"(ok|stale)"/.test(answer.text))
      run.broken('I6', `${told}: another's ack token was opened: ${answer.text.slice(0, 300)}`)
  })
  return statuses
}

/** Each tenant makes what has another's names, where it may: its own namesakes must not be mistaken for the other's. */
async function makeNamesakes(
  fleet: Fleet,
  [attacker, { tenant }]: readonly [Tenant, Victim],
): Promise<() => Promise<void>> {
  const { stream, consumer, subject } = tenant
  const config = { name: stream, subjects: [`${stream}.>`], storage: 'memory' }
  const made = await ask(fleet.url, attacker, asking('POST', '/v1/streams', config))
  if (made.status !== 201) return async () => undefined
  await mustAsk(fleet.url, attacker, asking('PUT', `/v1/streams/${stream}/consumers/${consumer}`, {}))
  await mustAsk(fleet.url, attacker, {
    method: 'POST',
    path: `/v1/subjects/${subject}/messages`,
    body: 'a namesake',
  })
  return async () => void (await mustAsk(fleet.url, attacker, asking('DELETE', `/v1/streams/${stream}`)))
}

/** Everything but what would take a namesake away again. */
const ofNamesakes = ({ operation }: Try) =>
  !['deleteStream', 'createStream', 'purgeStream'].includes(operation)

async function tryTenants(run: RowRun, fleet: Fleet, name: string): Promise<void> {
  const before = await Promise.all(fleet.victims.map(({ tenant }) => lookAt(fleet.url, tenant)))
  for (const [index, seen] of before.entries())
    if (!seen.includes(fleet.victims[index]?.tenant.secret ?? '?'))
      throw new Error('A tenant does not see its own secret')
  const pairs = attackersOf(fleet)
  const strange = pairs.flatMap(([attacker, victim]) =>
    [...triesAt(victim), ...triesAtHome(attacker, victim)].map(
      (one) => [attacker, victim.tenant, one] as const,
    ),
  )
  const atFirst = await tryAll(run, fleet, name, strange)
  // What was made under another's name by the way is removed, to be made as it is wanted.
  for (const [attacker, { tenant }] of pairs)
    for (const stream of [tenant.stream, `${tenant.stream}-copy`])
      await ask(fleet.url, attacker, asking('DELETE', `/v1/streams/${stream}`))
  const undos = await inParallel(pairs, AT_ONCE, (pair) => makeNamesakes(fleet, pair))
  const atNamesakes = pairs.flatMap(([attacker, victim]) =>
    triesAt(victim)
      .filter(ofNamesakes)
      .map((one) => [attacker, victim.tenant, one] as const),
  )
  await tryAll(run, fleet, `${name}, with namesakes`, atNamesakes)
  for (const undo of undos) await undo()

  const after = await Promise.all(fleet.victims.map(({ tenant }) => lookAt(fleet.url, tenant)))
  for (const [index, seen] of after.entries())
    if (seen !== before[index])
      run.broken('I6', `${name}: another changed tenant ${index}: ${before[index]} → ${seen}`)
  const sent = strange.length + atNamesakes.length
  run.injected(`${name}: a request of a tenant for what is another's`, sent)
  const refused = [...atFirst].filter(([status]) => status >= 400).reduce((sum, [, count]) => sum + count, 0)
  if (refused < strange.length / 2)
    throw new Error(`${name}: only ${refused} of ${strange.length} were refused`)
  const hint = await timingHint(fleet, pairs)
  // Beside other things the machine's own pauses are wider.
  if (hint > WIDE_MS && run.pace === 'full')
    run.broken('I6', `${name}: what another has answers ${hint} ms slower or faster`)
  run.figure(
    `${name}: ${sent.toLocaleString('en')} requests of ${fleet.victims.length} tenants for what is another's: 0 bytes, ` +
      `medians apart by at most ${hint.toFixed(1)} ms`,
  )
}

/** How far apart are the medians of a name that another has, and of one that nobody has; the largest of all pairs, ms. */
async function timingHint(fleet: Fleet, pairs: readonly (readonly [Tenant, Victim])[]): Promise<number> {
  let largest = 0
  for (const [attacker, { tenant }] of pairs.slice(0, 6)) {
    const times: Record<'there' | 'not', number[]> = { there: [], not: [] }
    for (let turn = 0; turn < TIMING_SAMPLES; turn += 1)
      for (const [which, stream] of [
        ['there', tenant.stream],
        ['not', tenant.stream.replace('tenant', 'nobody')],
      ] as const) {
        const beganAt = performance.now()
        await ask(fleet.url, attacker, asking('GET', `/v1/streams/${stream}`))
        times[which].push(performance.now() - beganAt)
      }
    largest = Math.max(largest, Math.abs(medianOf(times.there) - medianOf(times.not)))
  }
  return largest
}

const medianOf = (times: readonly number[]): number =>
  [...times].sort((a, b) => a - b)[times.length >> 1] ?? 0

/** All that one tenant was given, beside all that the others were. */
function sortTokens({ victims }: Fleet) {
  const [own, ...others] = victims
  if (!own) throw new Error('There is no tenant')
  const all = ({ tokens }: Victim) => [...tokens.cursors, ...tokens.acks, ...tokens.tickets]
  return { own: own.tenant, good: all(own), foreign: others.flatMap(all), tokens: own.tokens }
}

async function tryAcks(run: RowRun, fleet: Fleet, requests: number): Promise<Tried> {
  const { own, good, foreign } = sortTokens(fleet)
  const mutator = createMutator(run.random(`acks ${fleet.url.length}`), good, foreign)
  const accepted: string[] = []
  await inParallel(Array.from({ length: requests }), 3, async () => {
    const tokens = Array.from({ length: ACKS }, () => mutator.next())
    const acks = tokens.map((token) => ({ token, action: 'term' }))
    const { results } = await mustAsk<{ results: readonly { error?: { code: string } }[] }>(
      fleet.url,
      own,
      asking('POST', '/v1/acks', { acks }),
    )
    if (results.length !== ACKS) throw new Error(`${results.length} results for ${ACKS} acks`)
    for (const [index, { error }] of results.entries())
      if (error?.code !== 'ack_token_invalid')
        accepted.push(`an ack token: ${tokens[index]} ${JSON.stringify(results[index])}`)
  })
  return { tokens: requests * ACKS, accepted }
}

async function tryInQueries(run: RowRun, fleet: Fleet, count: number): Promise<Tried> {
  const { own, good, foreign } = sortTokens(fleet)
  const accepted: string[] = []
  const path = `/v1/streams/${own.stream}/messages`
  // A ticket is looked for before who asks, and may open for anyone.
  const kinds = [
    ['cursor', own, good, foreign, ['cursor_invalid', 'invalid_request']],
    ['ticket', undefined, [...good, ...foreign], [], ['ticket_invalid', 'unauthenticated']],
  ] as const
  for (const [name, by, known, strange, codes] of kinds) {
    const mutator = createMutator(run.random(name), known, strange)
    await inParallel(Array.from({ length: Math.ceil(count / kinds.length) }), 16, async () => {
      const token = mutator.next()
      const { status, text } = await ask(
        fleet.url,
        by,
        asking('GET', `${path}?${name}=${encodeURIComponent(token)}`),
      )
      const code = status < 400 ? undefined : (JSON.parse(text) as { code: string }).code
      if (!(codes as readonly (string | undefined)[]).includes(code))
        accepted.push(`a ${name}: ${token} ${status} ${text.slice(0, 200)}`)
    })
  }
  return { tokens: count, accepted }
}

async function tryTokens(run: RowRun, fleet: Fleet, name: HostName): Promise<number> {
  const { own, tokens } = sortTokens(fleet)
  const requests = run.pace === 'full' ? run.rounds({ full: 350, part: 5 }) : 5
  const inQueries = run.pace === 'full' ? 20_000 : 400
  const before = await lookAt(fleet.url, own)
  const tried = [await tryAcks(run, fleet, requests), await tryInQueries(run, fleet, inQueries)]
  for (const token of tried.flatMap(({ accepted }) => accepted).slice(0, 20))
    run.broken('I6', `${name} took ${token}`)
  if ((await lookAt(fleet.url, own)) !== before) run.broken('I6', `${name}: mutated tokens changed something`)
  await checkGood(fleet, own, tokens)
  const count = tried.reduce((sum, one) => sum + one.tokens, 0)
  run.injected(`${name}: a mutated token over HTTP`, count)
  return count
}

/** Were good tokens refused, too, nothing would have been shown. */
async function checkGood({ url }: Fleet, own: Tenant, { cursors, acks }: Victim['tokens']): Promise<void> {
  for (const cursor of cursors)
    await mustAsk(
      url,
      own,
      asking('GET', `/v1/streams/${own.stream}/messages?cursor=${encodeURIComponent(cursor)}`),
    )
  const settled = await mustAsk<object>(
    url,
    own,
    asking('POST', '/v1/acks', { acks: acks.map((token) => ({ token, action: 'ack' })) }),
  )
  const wanted = { results: acks.map(() => ({ status: 'ok' })) }
  if (acks.length === 0 || JSON.stringify(settled) !== JSON.stringify(wanted))
    throw new Error(`Good ack tokens are not taken: ${JSON.stringify(settled)}`)
}

export const tokensAndTenantsRow: Row = {
  number: 18,
  fault: '10⁶ mutated tokens; 5 × 5 tenants over all routes',
  shows: ['I6'],
  async run(run) {
    let overHttp = 0
    for (const name of run.hosts) {
      const byAccounts = await startFleet(run, name, 'accounts')
      await tryTenants(run, byAccounts, `${name}, accounts`)
      const byPermissions = await startFleet(run, name, 'permissions')
      await tryTenants(run, byPermissions, `${name}, permissions`)
      overHttp += await tryTokens(run, byPermissions, name)
    }
    const left = run.pace === 'full' ? Math.max(100_000, 1_000_000 - overHttp) : 5_000
    const { tokens, accepted } = tryInProcess(run.random('in the process'), left)
    for (const token of accepted.slice(0, 20)) run.broken('I6', `taken ${token}`)
    run.injected('a mutated token in the process', tokens)
    run.figure(
      `${(overHttp + tokens).toLocaleString('en')} mutated tokens, ${overHttp.toLocaleString('en')} of them over HTTP, the rest ` +
        `against the code that opens them, as every kind: ${accepted.length} taken there`,
    )
  },
}
