/** Where JetStream has as many atomic batches under way as it takes: the next one waits for a place, and says so in the end. */
import { connect, headers, type NatsConnection } from 'nats.ws'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { range } from '../contract/expectations.ts'
import { HOSTS, type HostName, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { makeStream, readStored } from './stored.ts'

/** JetStream's own limit for a stream. */
const PLACES = 50
const NO_SEQUENCE = 4_294_967_295
const SHORT_DEADLINE_MS = 300
const TOO_MANY_IN_FLIGHT = 10_210

interface Answer {
  readonly status: number
  readonly body: {
    readonly code?: string
    readonly results: readonly { seq?: number; error?: { code: string } }[]
  }
}

describe.each(HOSTS)('atomic batches on %s, of which there are too many', (name: HostName) => {
  let nats: TestNats
  let client: NatsConnection
  let patient: TestHost
  let hasty: TestHost

  beforeAll(async () => {
    nats = await startNats()
    client = await connect({ servers: nats.wsUrl })
    const start = (env: Record<string, string> = {}) => startHost(name, { natsUrl: nats.wsUrl, env })
    patient = await start()
    hasty = await start({ PUBLISH_DEADLINE_MS: `${SHORT_DEADLINE_MS}` })
    await makeStream(patient.url, 'PLACES', { allow_atomic: true })
  })
  afterAll(async () => {
    await client.close()
    await Promise.all([patient.stop(), hasty.stop()])
    await nats.stop()
  })

  /** One message of a batch. Answers JetStream's error code, undefined for none. */
  const send = async (batch: string, seq: number): Promise<number | undefined> => {
    const block = headers()
    block.set('Nats-Batch-Id', batch)
    block.set('Nats-Batch-Sequence', `${seq}`)
    const { data } = await client.request('places.native', undefined, { headers: block, timeout: 5_000 })
    return data.length === 0 ? undefined : JSON.parse(new TextDecoder().decode(data)).error?.err_code
  }
  const eachPlace = (seq: number) => Promise.all(range(1, PLACES).map((n) => send(`held-${n}`, seq)))
  const publish = async ({ url }: TestHost, subject: string): Promise<Answer> => {
    const answer = await fetch(`${url}/v1/messages`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ messages: range(1, 3).map((n) => ({ subject, data: `${n}` })), atomic: true }),
    })
    return { status: answer.status, body: (await answer.json()) as Answer['body'] }
  }

  it('429 for each message when no place is free by the deadline, and stored as soon as one is', async () => {
    expect(new Set(await eachPlace(1))).toEqual(new Set([undefined]))
    expect(await send('one-too-many', 1)).toBe(TOO_MANY_IN_FLIGHT)

    let isAnswered = false
    const waiting = publish(patient, 'places.patient').finally(() => {
      isAnswered = true
    })
    const refused = await publish(hasty, 'places.hasty')

    expect(refused).toMatchObject({ status: 429, body: { code: 'batches_in_flight' } })
    expect(refused.body.results.map(({ error }) => error?.code)).toEqual(Array(3).fill('batches_in_flight'))
    expect([isAnswered, await readStored(patient.url, 'PLACES')]).toEqual([false, []])
    await eachPlace(NO_SEQUENCE)
    expect(await waiting).toMatchObject({
      status: 200,
      body: { results: range(1, 3).map((seq) => ({ seq, duplicate: false })) },
    })
    expect((await readStored(patient.url, 'PLACES')).map(({ subject }) => subject)).toEqual(
      Array(3).fill('places.patient'),
    )
  })
})
