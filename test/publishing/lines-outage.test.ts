/** Whoever goes away in the middle of a body of lines: the results say exactly what is stored. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { Message } from '../contract/client.ts'
import { at, range, until } from '../contract/expectations.ts'
import { HOSTS, newTokenKey, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { type LinesClient, openLines, type ResultLine } from './lines-client.ts'
import { askNode, detailOf } from './monitor.ts'
import { randomFor, SEED } from './seeded.ts'
import { makeStream, readStored } from './stored.ts'
import { type SwallowingRelay, startSwallowingRelay } from './swallowing-relay.ts'

const LINES = 10_000
/** Written at once. */
const CHUNK_LINES = 500
const OUTAGE_MS = 1_000
const TEST_MS = 30_000

interface Body {
  readonly subject: string
  readonly isKeyed: boolean
}

const payloadOf = (index: number) => `${index} ${'.'.repeat(60)}`

const lineOf = ({ subject, isKeyed }: Body, index: number) =>
  `${JSON.stringify({ subject, data: payloadOf(index), ...(isKeyed ? { id: `${subject} ${index}` } : {}) })}\n`

/** Sends all lines, as far as they are taken. */
async function sendAll(client: LinesClient, body: Body): Promise<void> {
  for (let from = 0; from < LINES && !client.isOver(); from += CHUNK_LINES)
    await client.write(
      range(from, from + CHUNK_LINES - 1)
        .map((index) => lineOf(body, index))
        .join(''),
    )
  client.end()
}

/** Where the stream has not the next line after the one before; empty: all of them, in order. */
const disorderOf = (stored: readonly Message[]): string[] => [
  ...stored
    .flatMap(({ data }, place) =>
      data === payloadOf(place) ? [] : [`place ${place}: ${data?.split(' ')[0]}`],
    )
    .slice(0, 5),
  ...(stored.length === LINES ? [] : [`${stored.length} lines`]),
]

/** What the results of a body say otherwise than the stream; empty: nothing. */
function complaintsAbout(results: readonly ResultLine[], stored: readonly Message[]): string[] {
  const ofMessages = results.filter(({ index }) => index !== undefined)
  const bySeq = new Map(stored.map((message) => [message.seq, message]))
  const seqsOf = Map.groupBy(stored, ({ data }) => data)
  return [
    ...ofMessages.flatMap(({ index, seq }, place) => {
      if (index !== place) return [`result ${place} is about ${index}`]
      return seq === undefined || bySeq.get(seq)?.data === payloadOf(place)
        ? []
        : [`${place} is not at ${seq}`]
    }),
    ...[...seqsOf.values()].filter(({ length }) => length > 1).map(([first]) => `twice: ${first?.data}`),
    ...stored.flatMap(({ seq, data = '' }) => {
      const result = ofMessages[Number.parseInt(data, 10)]
      if (result?.seq === seq || result?.error?.side_effects === 'possible') return []
      return [`${data} is stored at ${seq}, answered with ${JSON.stringify(result)}`]
    }),
  ].slice(0, 10)
}

describe.each(HOSTS)('lines on %s', { timeout: TEST_MS }, (name) => {
  const tokenKey = newTokenKey()
  const random = randomFor(`${name} lines`)
  let nats: TestNats
  let relay: SwallowingRelay
  let host: TestHost
  let bodies = 0

  // One publisher at a time: what is not over refuses the next one.
  const start = (port = 0) =>
    startHost(name, {
      natsUrl: relay.wsUrl,
      port,
      env: { TOKEN_KEYS: tokenKey, MAX_PUBLISHERS_PER_TENANT: '1' },
    })

  beforeAll(async () => {
    nats = await startNats()
    relay = await startSwallowingRelay(nats.wsUrl)
    host = await start()
    await makeStream(host.url, 'LINES')
    console.log(`${name}: seed ${SEED}`)
  })
  afterAll(async () => {
    await host?.stop()
    await relay?.close()
    await nats?.stop()
  })

  const makeBody = (isKeyed: boolean): Body => {
    bodies += 1
    return { subject: `lines.${bodies}`, isKeyed }
  }
  const open = async (): Promise<LinesClient> => {
    const client = await openLines(host.url)
    onTestFinished(client.reset)
    return client
  }
  const storedOf = ({ subject }: Body) => readStored(host.url, 'LINES', subject)
  /** After so many results, something happens. */
  const somewhere = () => 1 + Math.floor((random() * LINES) / 2)

  const countStored = async () => detailOf(await askNode(nats), 'LINES')?.state?.messages ?? 0
  /** The bridge never hears of what was stored last. */
  const cut = async (): Promise<void> => {
    relay.swallow()
    let count = 0
    await until('JetStream has all that was sent', async () => {
      const before = count
      count = await countStored()
      return count === before
    })
    relay.cut()
  }

  const losses: [string, () => Promise<void>, () => Promise<void>][] = [
    ['nats-server is killed', () => nats.kill(), () => nats.restart()],
    ['the connection to NATS is cut', cut, async () => undefined],
  ]

  it.each(losses)(
    'the results say what is stored, and the last line that no more was sent, when %s',
    async (loss, lose, mend) => {
      for (const _ of range(1, 3)) {
        const body = makeBody(false)
        const client = await open()
        const sending = sendAll(client, body)
        await client.resultsCome(somewhere())
        await lose()

        expect(await client.answered).toBe(200)
        await sending
        await mend()
        const stored = await storedOf(body)
        const { results } = client
        const lost = results.filter(({ index, error }) => index !== undefined && error).length
        console.log(
          `${name}, ${loss}: ${results.length - lost - 1} lines confirmed, ${lost} not, ${stored.length} stored`,
        )
        expect(complaintsAbout(results, stored)).toEqual([])
        expect(results.length).toBeLessThan(LINES)
        expect(at(results, -1)).toEqual({
          error: expect.objectContaining({ code: 'jetstream_unavailable', side_effects: 'none' }),
        })
      }
    },
  )

  it('all stored once and in order by itself, with ids, when nats-server is killed and comes back', async () => {
    const body = makeBody(true)
    const client = await open()
    const sending = sendAll(client, body)
    await client.resultsCome(somewhere())
    await nats.kill()
    await delay(OUTAGE_MS)
    await nats.restart()

    expect(await client.answered).toBe(200)
    await sending
    const stored = await storedOf(body)
    expect(complaintsAbout(client.results, stored)).toEqual([])
    expect(client.results.filter(({ seq }) => seq === undefined)).toEqual([])
    expect(disorderOf(stored)).toEqual([])
  })

  it('all stored once and in order by itself, with ids, when the connection to NATS is cut', async () => {
    const body = makeBody(true)
    const client = await open()
    const sending = sendAll(client, body)
    for (const part of range(1, 4)) {
      await client.resultsCome(Math.floor(((part - random()) * LINES) / 6))
      // Once in the middle of what is under way, once behind all of it.
      if (part % 2 === 0) await cut()
      else relay.cut()
    }

    expect(await client.answered).toBe(200)
    await sending
    const stored = await storedOf(body)
    expect(complaintsAbout(client.results, stored)).toEqual([])
    expect(client.results.filter(({ seq }) => seq === undefined)).toEqual([])
    expect(disorderOf(stored)).toEqual([])
  })

  it('what had a result is stored, and all once when sent again with the same ids, when the bridge is killed', async () => {
    const body = makeBody(true)
    const client = await open()
    const sending = sendAll(client, body)
    await client.resultsCome(somewhere())
    await host.crash()
    expect(await client.answered).toBe('broken')
    await sending
    host = await start(Number(new URL(host.url).port))
    const stored = await storedOf(body)
    const answered = client.results.map(({ seq }, index) => [seq, payloadOf(index)])
    expect(stored.slice(0, answered.length).map(({ seq, data }) => [seq, data])).toEqual(answered)

    const again = await open()
    await sendAll(again, body)
    expect(await again.answered).toBe(200)
    const all = await storedOf(body)
    expect(complaintsAbout(again.results, all)).toEqual([])
    expect(disorderOf(all)).toEqual([])
  })

  it('a beginning of the lines is stored, no half line, and the next publisher let in, when the client vanishes', async () => {
    const body = makeBody(false)
    const client = await open()
    await client.write(
      range(0, CHUNK_LINES - 1)
        .map((index) => lineOf(body, index))
        .join(''),
    )
    await client.write(lineOf(body, CHUNK_LINES).slice(0, -30))
    await client.resultsCome(1)
    client.reset()

    await until('the next publisher is let in', async () => {
      const next = await open()
      next.end()
      return (await next.answered) === 200
    })
    const stored = await storedOf(body)
    expect(stored.map(({ data }) => data)).toEqual(stored.map((_, index) => payloadOf(index)))
    expect(stored.length).toBeLessThanOrEqual(CHUNK_LINES)
    expect(complaintsAbout(client.results, stored.slice(0, client.results.length))).toEqual([])
  })
})
