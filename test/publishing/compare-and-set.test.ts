/** Whoever compares and sets a subject at once: it goes from one sequence to the next, by one winner each. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Client, createClient, type Problem, type Published, publishPath } from '../contract/client.ts'
import { at, range, seqs } from '../contract/expectations.ts'
import { onEveryTarget } from '../contract/target.ts'
import { startHost, type TestHost } from '../support/host.ts'
import { findViolation, type Publish } from '../support/linearizability.ts'
import { startCluster, type TestCluster } from '../support/nats.ts'

/** Clients, shared out among the bridges, publish on one subject until so many have won. */
interface Race {
  readonly bridges: readonly Client[]
  readonly stream: string
  readonly subject: string
  readonly clients: number
  readonly winners: number
  /** How a client says which sequence it expects. */
  readonly conditionOf: (client: number) => Condition
}

type Condition = (expected: number) => Readonly<Record<string, string>>

const ifMatch: Condition = (expected) =>
  expected === 0 ? { 'If-None-Match': '*' } : { 'If-Match': `"${expected}"` }
const expectedSeq: Condition = (expected) => ({ 'Nats-Expected-Last-Subject-Sequence': `${expected}` })
const eitherCondition = (client: number) => (client % 2 === 0 ? ifMatch : expectedSeq)

interface Attempt extends Publish {
  readonly expected: number
  readonly outcome: Exclude<Publish['outcome'], { readonly kind: 'unknown' }>
  readonly payload: string
}

const seqOf = ({ outcome }: Attempt) => (outcome.kind === 'stored' ? outcome.seq : 0)

/** Each client publishes after the sequence that it heard of last, until the race is over. */
async function hold(race: Race): Promise<Attempt[]> {
  const { bridges, subject, clients, winners } = race
  const attempts: Attempt[] = []
  // A client loses about once to each winner.
  const mostAttempts = 2 * clients * winners
  let won = 0
  const isOver = () => won >= winners || attempts.length >= mostAttempts

  const compete = async (client: number) => {
    for (let expected = 0; !isOver(); ) {
      const payload = `${client} after ${expected}, ${attempts.length}`
      const attempt = await publish(race, { client, expected, payload })
      attempts.push(attempt)
      const { outcome } = attempt
      if (outcome.kind === 'stored') won += 1
      expected = outcome.kind === 'stored' ? outcome.seq : outcome.current
    }
  }
  // Another subject of the stream takes sequences meanwhile.
  const standBy = async () => {
    while (!isOver()) await at(bridges, 0).publish(`${subject}.other`)
  }
  await Promise.all([standBy(), ...range(1, clients).map(compete)])
  return attempts
}

async function publish(
  { bridges, subject, conditionOf }: Race,
  intent: Pick<Attempt, 'client' | 'expected' | 'payload'>,
): Promise<Attempt> {
  const { client, expected, payload } = intent
  const call = { headers: conditionOf(client)(expected), body: payload }
  const bridge = at(bridges, client % bridges.length)
  const invokedAt = performance.now()
  const { body } = await bridge.send<Published | Problem>(`POST ${publishPath(subject)}`, call)
  return { ...intent, invokedAt, returnedAt: performance.now(), outcome: outcomeOf(body) }
}

function outcomeOf(body: Published | Problem): Attempt['outcome'] {
  if ('seq' in body) return { kind: 'stored', seq: body.seq }
  if (body.code === 'precondition_failed' && body.current_seq !== undefined)
    return { kind: 'refused', current: body.current_seq }
  throw new Error(`A conditional publish was answered with ${JSON.stringify(body)}`)
}

async function check(
  { bridges, stream, subject, winners }: Race,
  attempts: readonly Attempt[],
): Promise<void> {
  expect(findViolation(attempts)).toBeUndefined()

  const stored = attempts.filter(({ outcome }) => outcome.kind === 'stored')
  const inOrder = stored.sort((a, b) => seqOf(a) - seqOf(b))
  expect(inOrder.length).toBeGreaterThanOrEqual(winners)
  const { messages } = await at(bridges, 0).page(stream, { subject, limit: 1_000 })
  expect(messages.map(({ seq, data }) => [seq, data])).toEqual(
    inOrder.map((winner) => [seqOf(winner), winner.payload]),
  )
  expect(inOrder.map(({ expected }) => expected)).toEqual([0, ...seqs(messages).slice(0, -1)])
}

onEveryTarget((target) => {
  describe('publishMessage', () => {
    test.each([
      ['If-Match', () => ifMatch],
      ['If-Match, half of them with Nats-Expected-Last-Subject-Sequence', eitherCondition],
    ])('one 201 after each sequence when 100 clients publish with %s', async (_, conditionOf) => {
      const { name: stream, subject } = await target.makeStream({ storage: 'file' })
      const race = {
        bridges: [target.bridge],
        stream,
        subject: subject('a'),
        clients: 100,
        winners: 30,
        conditionOf,
      }

      await check(race, await hold(race))
    })
  })
})

describe.skipIf(process.env.SLUICE_URL)('on a bridge for each node of a cluster', () => {
  let cluster: TestCluster
  let hosts: TestHost[] = []
  let bridges: Client[]

  beforeAll(async () => {
    cluster = await startCluster()
    hosts = await Promise.all(cluster.nodes.map(({ wsUrl }) => startHost('node', { natsUrl: wsUrl })))
    bridges = await Promise.all(hosts.map(({ url }) => createClient(url)))
  })
  afterAll(async () => {
    await Promise.all(hosts.map((host) => host.stop()))
    await cluster?.stop()
  })

  // A clustered stream refuses a condition without a sequence while it applies another publish on the subject.
  test('one 201 after each sequence when clients publish on a stream of three replicas', async () => {
    const config = { name: 'RACE', subjects: ['race.>'], storage: 'file', num_replicas: 3 }
    await at(bridges, 0).ok('POST /v1/streams', { json: config })
    const race = {
      bridges,
      stream: 'RACE',
      subject: 'race.a',
      clients: 60,
      winners: 60,
      conditionOf: eitherCondition,
    }

    await check(race, await hold(race))
  })
})
