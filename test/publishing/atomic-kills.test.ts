/** Whatever is killed in the middle of an atomic batch: the stream has all of it or nothing, and what was confirmed is there. */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Message, Problem } from '../contract/client.ts'
import { range } from '../contract/expectations.ts'
import { HOSTS, newTokenKey, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { randomFor, SEED } from './seeded.ts'
import { makeStream, readStored } from './stored.ts'

/** Of nats-server, on each host; of the bridge half as many. More for longer runs. */
const KILLS = Number(process.env.SLUICE_KILLS ?? 16)
/** As many as JetStream takes by default. */
const BATCH_MESSAGES = 1_000
const TEST_MS = 60_000

interface Batch {
  readonly name: string
  /** Whether its messages have ids. */
  readonly isKeyed: boolean
}

/** What a client has of its batch in the end; `lost`: no answer at all. */
type Answer =
  | { readonly kind: 'stored'; readonly seqs: readonly number[] }
  | { readonly kind: 'refused'; readonly problem: Problem }
  | { readonly kind: 'lost' }

interface Sent {
  readonly batch: Batch
  readonly answer: Answer
}

interface Faults {
  readonly test: string
  readonly kills: number
  /** A kill comes at most so long after the batches were sent, or after the kill before it. */
  readonly withinMs: number
  /** Of the same batches. */
  readonly killsEach: number
  readonly kill: () => Promise<void>
}

/** The batches that are under way at one kill. */
const batchesOf = (round: string): Batch[] => [
  { name: `${round}-a`, isKeyed: false },
  { name: `${round}-b`, isKeyed: true },
  { name: `${round}-c`, isKeyed: false },
]

const payloadsOf = ({ name }: Batch) => range(1, BATCH_MESSAGES).map((n) => `${name} ${n}`)

function bodyOf(batch: Batch): string {
  const messages = payloadsOf(batch).map((data) => ({
    subject: `atomic.${batch.name}`,
    data,
    ...(batch.isKeyed ? { id: data } : {}),
  }))
  return JSON.stringify({ messages, atomic: true })
}

async function send(url: string, batch: Batch): Promise<Sent> {
  try {
    const answer = await fetch(`${url}/v1/messages`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: bodyOf(batch),
    })
    const body = (await answer.json()) as Problem & { results: readonly { seq: number }[] }
    if (!answer.ok) return { batch, answer: { kind: 'refused', problem: body } }
    return { batch, answer: { kind: 'stored', seqs: body.results.map(({ seq }) => seq) } }
  } catch {
    return { batch, answer: { kind: 'lost' } }
  }
}

/** What is wrong with what the stream has of a batch; undefined: nothing. */
function complaintAbout({ batch, answer }: Sent, found: readonly Message[]): string | undefined {
  const seqs = found.map(({ seq }) => seq)
  const first = seqs[0] ?? 0
  const whole = payloadsOf(batch)
  const isWhole =
    JSON.stringify(found.map(({ data }) => data)) === JSON.stringify(whole) &&
    seqs.every((seq, index) => seq === first + index)
  if (found.length > 0 && !isWhole)
    return `${batch.name}: the stream has ${found.length} messages from ${first} to ${seqs.at(-1)}`
  if (answer.kind === 'stored' && JSON.stringify(answer.seqs) !== JSON.stringify(seqs))
    return `${batch.name}: answered as ${answer.seqs[0]}…, found at ${seqs[0]}…`
  if (answer.kind !== 'refused') return undefined
  const { code, side_effects } = answer.problem
  const isHonest = code.startsWith('publish_unconfirmed') || (code === 'jetstream_unavailable' && !isWhole)
  return isHonest && (side_effects === 'possible' || !isWhole)
    ? undefined
    : `${batch.name}: ${found.length} stored, answered with ${JSON.stringify(answer.problem)}`
}

const complaints = (sent: readonly Sent[], foundOf: (batch: Batch) => readonly Message[]): string[] =>
  sent.flatMap((one) => complaintAbout(one, foundOf(one.batch)) ?? [])

describe.each(HOSTS)('atomic batches on %s', { timeout: TEST_MS }, (name) => {
  const tokenKey = newTokenKey()
  let nats: TestNats
  let host: TestHost
  /** How long the batches of one round take: the first that a bridge gets take longer. */
  let coldMs = 0
  let warmMs = 0

  const start = (port = 0) => startHost(name, { natsUrl: nats.wsUrl, port, env: { TOKEN_KEYS: tokenKey } })

  beforeAll(async () => {
    nats = await startNats()
    host = await start()
    await makeStream(host.url, 'ATOMIC', { allow_atomic: true })
    coldMs = await timeRound('cold')
    warmMs = await timeRound('warm')
  })
  afterAll(async () => {
    await host?.stop()
    await nats?.stop()
  })

  const timeRound = async (round: string): Promise<number> => {
    const began = performance.now()
    const sent = await Promise.all(batchesOf(round).map((batch) => send(host.url, batch)))
    expect(sent.filter(({ answer }) => answer.kind !== 'stored')).toEqual([])
    return performance.now() - began
  }

  /** Kills at random moments while batches are under way; answers what became of them. */
  const killAtRandom = async ({ test, kills, withinMs, killsEach, kill }: Faults): Promise<Sent[]> => {
    const random = randomFor(`${name} ${test}`)
    const sent: Sent[] = []
    for (const round of range(1, kills / killsEach)) {
      const underWay = batchesOf(`${test}-${round}`).map((batch) => send(host.url, batch))
      for (const _ of range(1, killsEach)) {
        await delay(random() * withinMs)
        await kill()
      }
      sent.push(...(await Promise.all(underWay)))
    }
    return sent
  }

  /** How the stream has each batch, by its name. */
  const readBatches = async (): Promise<(batch: Batch) => Message[]> => {
    const stored = Map.groupBy(await readStored(host.url, 'ATOMIC'), ({ subject }) => subject)
    return ({ name }) => stored.get(`atomic.${name}`) ?? []
  }

  const check = async ({ test, kills, withinMs }: Faults, sent: readonly Sent[]): Promise<void> => {
    const foundOf = await readBatches()
    const count = (kind: Answer['kind'], isThere: boolean) =>
      sent.filter(({ batch, answer }) => answer.kind === kind && foundOf(batch).length > 0 === isThere).length
    const restored = readFileSync(nats.logPath, 'utf8').match(/Restoring partial batch write/g) ?? []
    console.log(
      `${name}, ${test}: seed ${SEED}, ${kills} kills, each within ${Math.round(withinMs)} ms; of ${sent.length} batches ` +
        `${count('stored', true)} confirmed, ${count('refused', true)} unconfirmed yet there, ` +
        `${count('refused', false)} unconfirmed and not, ${count('lost', true)} unanswered yet there, ` +
        `${count('lost', false)} unanswered and not; nats-server mended ${restored.length} half-committed ones`,
    )
    expect(complaints(sent, foundOf)).toEqual([])

    const again: Sent[] = []
    for (const { batch } of sent) if (batch.isKeyed) again.push(await send(host.url, batch))
    expect(again.filter(({ answer }) => answer.kind !== 'stored')).toEqual([])
    expect(
      complaints([...sent.filter(({ answer }) => answer.kind === 'stored'), ...again], await readBatches()),
    ).toEqual([])
  }

  it('stored whole or not at all, and once when sent again with ids, when nats-server is killed in the middle', async () => {
    // Twice each, so that also a batch meets it that is tried again, or looked for.
    const faults = {
      test: 'nats-killed',
      kills: KILLS,
      withinMs: warmMs,
      killsEach: 2,
      kill: () => nats.restart(),
    }
    const sent = await killAtRandom(faults)

    expect(sent.filter(({ answer }) => answer.kind === 'lost')).toEqual([])
    await check(faults, sent)
  })

  it('stored whole or not at all, and once when sent again with ids, when the bridge is killed in the middle', async () => {
    const kill = async () => {
      await host.crash()
      host = await start(Number(new URL(host.url).port))
    }
    const faults = { test: 'bridge-killed', kills: KILLS / 2, withinMs: 2 * coldMs, killsEach: 1, kill }

    await check(faults, await killAtRandom(faults))
  })
})
