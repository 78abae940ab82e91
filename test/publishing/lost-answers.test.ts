/** When what JetStream answered is lost, a publish with a key is stored once and answered all the same. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Message, Problem } from '../contract/client.ts'
import { at, range, until } from '../contract/expectations.ts'
import { HOSTS, type HostName, startHost, type TestHost } from '../support/host.ts'
import { startCluster, type TestCluster } from '../support/nats.ts'
import { type Intent, publish } from './publish.ts'
import { randomFor, SEED } from './seeded.ts'
import { makeStream, readStored } from './stored.ts'
import { type SwallowingRelay, startSwallowingRelay } from './swallowing-relay.ts'

/** By name, with their replicas. */
const STREAMS = [
  ['ONE', 1],
  ['THREE', 3],
] as const
const LATER_MESSAGES = 500
const BATCH_MESSAGES = 1_000
/** Cuts, each at most so long after the one before: a batch is sent again, and looked for, in less. */
const CUTS = 15
const CUT_MS = 200
const PAYLOAD = 'once'

interface Results {
  readonly results: readonly { readonly seq: number; readonly duplicate: boolean }[]
}

interface Once extends Intent {
  readonly stream: string
}

describe('an answer of JetStream is lost', () => {
  let cluster: TestCluster
  let relay: SwallowingRelay
  /** Past the relay. */
  let straight: TestHost
  let started: TestHost[] = []

  beforeAll(async () => {
    cluster = await startCluster()
    relay = await startSwallowingRelay(at(cluster.nodes, 0).wsUrl)
    straight = await startHost('node', { natsUrl: cluster.wsUrl })
    const env = { REQUEST_TIMEOUT_MS: '1000' }
    started = await Promise.all(HOSTS.map((name) => startHost(name, { natsUrl: relay.wsUrl, env })))
    for (const [stream, num_replicas] of STREAMS)
      await makeStream(straight.url, stream, { num_replicas, allow_atomic: true })
  })
  afterAll(async () => {
    await Promise.all(started.map((host) => host.stop()))
    await straight?.stop()
    await relay?.close()
    await cluster?.stop()
  })

  const urlOf = (name: HostName) => at(started, HOSTS.indexOf(name)).url
  const findStored = async ({ stream, subject }: Once): Promise<Message[]> =>
    (await readStored(straight.url, stream, subject)).filter(({ data }) => data === PAYLOAD)

  /** One without a condition, one with each. `name`: of their subjects. */
  const prepare = async (url: string, stream: string, name: string): Promise<Once[]> => {
    const subject = (condition: string) => `${stream.toLowerCase()}.${name}.${condition}`
    const before = await publish(url, { subject: subject('if-match'), payload: 'before', headers: {} })
    const seq = 'seq' in before.body ? before.body.seq : Number.NaN
    const conditions = {
      none: {},
      'if-match': { 'If-Match': `"${seq}"` },
      'if-none-match': { 'If-None-Match': '*' },
    }
    return Object.entries(conditions).map(([condition, headers]) => ({
      stream,
      subject: subject(condition),
      payload: PAYLOAD,
      headers: { ...headers, 'Idempotency-Key': subject(condition) },
    }))
  }

  const ways: [string, () => void][] = [
    ['cut', () => relay.cut()],
    ['silent', () => undefined],
  ]

  describe.each(HOSTS)('on %s', (name) => {
    it.each(ways)('stored once and answered 200 when the connection is %s', async (way, lose) => {
      const url = urlOf(name)
      const prepared = STREAMS.map(([stream]) => prepare(url, stream, `${name}.${way}`))
      const publishes = (await Promise.all(prepared)).flat()

      relay.swallow()
      const publishing = Promise.all(publishes.map((one) => publish(url, one)))
      await until('all are stored', async () => {
        const found = await Promise.all(publishes.map(findStored))
        return found.every(({ length }) => length > 0)
      })
      lose()

      const answers = await publishing
      for (const [index, one] of publishes.entries()) {
        const stored = await findStored(one)
        expect([one.subject, stored.length, at(answers, index)]).toEqual([
          one.subject,
          1,
          { status: 200, body: expect.objectContaining({ seq: at(stored, 0).seq, duplicate: true }) },
        ])
      }
    })

    it('a batch stored once as a whole and answered 200 when the connection is cut again and again while it is found', async () => {
      const batches = STREAMS.map(([stream]) => {
        const subject = `${stream.toLowerCase()}.${name}.batch`
        const messages = range(1, BATCH_MESSAGES).map((n) => ({
          subject,
          data: PAYLOAD,
          id: `${subject} ${n}`,
        }))
        return { stream, subject, body: JSON.stringify({ messages, atomic: true }) }
      })
      await publish(urlOf(name), { subject: 'one.first', payload: 'the connection is there', headers: {} })

      relay.swallow()
      const answering = batches.map(({ body }) =>
        fetch(`${urlOf(name)}/v1/messages`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/json' },
          body,
        }),
      )
      await until('both are stored', async () => {
        const stored = batches.map(({ stream, subject }) => readStored(straight.url, stream, subject))
        return (await Promise.all(stored)).every(({ length }) => length === BATCH_MESSAGES)
      })
      const random = randomFor(`${name} cuts`)
      console.log(`${name}: seed ${SEED}`)
      for (const _ of range(1, CUTS)) {
        relay.cut()
        await delay(random() * CUT_MS)
      }

      const answers = await Promise.all(
        answering.map(async (answer) => (await (await answer).json()) as Results | Problem),
      )
      for (const [index, { stream, subject }] of batches.entries()) {
        const seqs = (await readStored(straight.url, stream, subject)).map(({ seq }) => seq)
        expect(seqs).toHaveLength(BATCH_MESSAGES)
        const answer = at(answers, index)
        if (!('results' in answer)) throw new Error(`${subject} is stored: ${JSON.stringify(answer)}`)
        expect(answer.results.map(({ seq }) => seq)).toEqual(seqs)
        expect(answer.results.filter(({ duplicate }) => !duplicate)).toEqual([])
      }
    })

    it('200 as a duplicate when a conditional publish is sent again long after, and its condition is past', async () => {
      for (const [stream] of STREAMS) {
        const subject = `${stream.toLowerCase()}.${name}.later`
        const headers = { 'Idempotency-Key': subject, 'If-None-Match': '*' }
        const conditional = { stream, subject, payload: PAYLOAD, headers }
        const first = await publish(urlOf(name), conditional)
        expect(first).toMatchObject({ status: 201, body: { stream, duplicate: false } })
        const later = await fetch(`${urlOf(name)}/v1/messages`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/x-ndjson' },
          body: `${JSON.stringify({ subject, data: 'later' })}\n`.repeat(LATER_MESSAGES),
        })
        expect((await later.text()).match(/"seq"/g)).toHaveLength(LATER_MESSAGES)

        const again = await publish(urlOf(name), conditional)

        const [stored, ...others] = await findStored(conditional)
        expect(others).toEqual([])
        expect(first.body).toMatchObject({ seq: stored?.seq })
        expect(again).toMatchObject({ status: 200, body: { stream, seq: stored?.seq, duplicate: true } })
      }
    })
  })
})
