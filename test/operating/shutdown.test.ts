/** What the clients of a Node process see when it is told to end, and what it leaves behind: nothing. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Ending } from '../../scripts/processes.ts'
import { range, until } from '../contract/expectations.ts'
import { openRaw } from '../contract/raw.ts'
import { openLines } from '../publishing/lines-client.ts'
import { HOSTS, newTokenKey, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { openEvents } from './event-client.ts'

const BOUND_MS = 4_000
/** What a process needs to be gone once it has decided to be. */
const EXIT_MS = 5_000
const MINUTES = 300_000

interface Delivered {
  readonly seq: number
  readonly ack_token: string
  readonly delivery_count: number
}

/** Looks in a row that see no change: what was on its way has come to where nobody takes it. */
const STALLED_LOOKS = 25

/** Resolves once something has been delivered, and nothing more is: the connection is full. */
async function untilStalled(pending: () => Promise<number>): Promise<void> {
  let seen = 0
  let looks = 0
  await until('nothing more is taken', async () => {
    const now = await pending()
    looks = now === seen ? looks + 1 : 0
    seen = now
    return now > 0 && looks >= STALLED_LOOKS
  })
}

describe.runIf(HOSTS.includes('node'))('SIGTERM', () => {
  const TOKEN_KEYS = newTokenKey()
  let nats: TestNats
  let streams = 0
  const hosts: TestHost[] = []
  const ends: (() => void)[] = []

  const start = async (env: Record<string, string> = {}) => {
    const host = await startHost('node', {
      natsUrl: nats.wsUrl,
      env: { TOKEN_KEYS, SHUTDOWN_MS: String(BOUND_MS), ...env },
    })
    hosts.push(host)
    return host
  }
  const ask = async <Body>(host: TestHost, method: string, path: string, body?: unknown) => {
    const answer = await fetch(host.url + path, {
      method,
      ...(body === undefined
        ? {}
        : { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
    })
    const text = await answer.text()
    return { status: answer.status, body: (text === '' ? undefined : JSON.parse(text)) as Body }
  }
  const makeStream = async (host: TestHost) => {
    streams += 1
    const name = `ENDS${streams}`
    await ask(host, 'POST', '/v1/streams', { name, subjects: [`${name}.>`] })
    return name
  }
  const makeConsumer = async (host: TestHost, stream: string, name: string, config: object = {}) =>
    await ask(host, 'PUT', `/v1/streams/${stream}/consumers/${name}`, { ack_wait_ms: MINUTES, ...config })
  const publish = async (host: TestHost, stream: string, payload: string) =>
    await fetch(`${host.url}/v1/subjects/${stream}.a/messages`, { method: 'POST', body: payload })
  const listen = (host: TestHost, path: string, lastEventId?: string) => {
    const reader = openEvents(host.url + path, lastEventId)
    ends.push(reader.close)
    return reader
  }
  const connections = async () =>
    ((await (await fetch(`${nats.monitorUrl}/connz`)).json()) as { num_connections: number }).num_connections
  const consumers = async (stream: string) => {
    const jsz = (await (
      await fetch(`${nats.monitorUrl}/jsz?consumers=true&streams=true&accounts=true`)
    ).json()) as {
      account_details: { stream_detail: { name: string; consumer_detail?: { name: string }[] }[] }[]
    }
    const { consumer_detail = [] } =
      jsz.account_details.flatMap(({ stream_detail }) => stream_detail).find(({ name }) => name === stream) ??
      {}
    return consumer_detail.map(({ name }) => name).sort()
  }
  /** Tells a host to end; answers how it did, and after how long. */
  const terminate = async (host: TestHost): Promise<Ending & { tookMs: number }> => {
    const toldAt = performance.now()
    process.kill(host.pid, 'SIGTERM')
    const ending = await host.ended
    return { ...ending, tookMs: performance.now() - toldAt }
  }

  beforeAll(async () => {
    nats = await startNats()
  })
  afterEach(async () => {
    for (const end of ends.splice(0)) end()
    for (const host of hosts.splice(0)) await host.stop()
  })
  afterAll(async () => {
    await nats.stop()
  })

  test('everyone who waits is answered, all that was begun is done, nothing is left, and readers miss nothing', async () => {
    const host = await start()
    const stream = await makeStream(host)
    await makeConsumer(host, stream, 'pushed')
    await makeConsumer(host, stream, 'pulled', { filter_subjects: [`${stream}.nothing`] })
    for (const n of range(1, 3)) await publish(host, stream, `m${n}`)

    const tail = listen(host, `/v1/streams/${stream}/messages?start=beginning`)
    const pushed = listen(host, `/v1/streams/${stream}/consumers/pushed/messages`)
    await until('what is there', async () => tail.messages.length === 3 && pushed.messages.length === 3)
    await until('the live end', async () => tail.events.includes('caught_up'))
    const end = await ask<{ cursor: string }>(host, 'GET', `/v1/streams/${stream}/messages`)
    const page = ask(
      host,
      'GET',
      `/v1/streams/${stream}/messages?wait_ms=30000&subject=${stream}.nothing&start=new`,
    )
    const pull = ask(host, 'POST', `/v1/streams/${stream}/consumers/pulled/pull`, {
      batch: 5,
      wait_ms: 30_000,
    })
    await until('both wait', async () => {
      const { text } = await metrics(host)
      return /sluice_waiting_requests 2\b/.test(text)
    })
    const lines = await openLines(host.url)
    const line = (n: number) =>
      `${JSON.stringify({ subject: `${stream}.a`, data: `m${n}`, id: `key-${n}` })}\n`
    await lines.write(range(4, 8).map(line).join(''))
    await lines.resultsCome(5)
    const half = await openHalfPublish(host.url, `${stream}.a`, 'm9')
    ends.push(half.close)
    const idle = connect(Number(new URL(host.url).port), '127.0.0.1')
    ends.push(() => idle.destroy())
    await once(idle, 'connect')

    const ended = terminate(host)
    await once(idle.resume(), 'close')
    // Everything that waits is answered before what is still being sent is there.
    expect(await page).toMatchObject({ status: 200, body: { messages: [], cursor: expect.any(String) } })
    expect(await pull).toEqual({ status: 200, body: { messages: [], num_pending: 0 } })
    expect(await lines.answered).toBe(200)
    expect(lines.results.slice(0, 5).map(({ seq }) => seq)).toEqual(range(4, 8))
    expect(lines.results.slice(5)).toMatchObject([
      { error: { code: 'jetstream_unavailable', retryable: true, side_effects: 'none' } },
    ])
    await Promise.all([tail.ended, pushed.ended])
    for (const { text } of [tail, pushed])
      expect(text()).toMatch(/\n\nretry: ?(\d{3,4})\r?\nid: ?\S+\r?\n\r?\n$/)
    await expect(fetch(`${host.url}/livez`)).rejects.toThrow()
    half.finish()
    expect(await half.answer()).toMatch(/^HTTP\/1.1 201 [\s\S]*Connection: close/i)
    const { code, tookMs } = await ended
    expect(code).toBe(0)
    expect(tookMs).toBeLessThan(BOUND_MS * 0.9)
    expect([await connections(), await consumers(stream)]).toEqual([0, ['pulled', 'pushed']])

    const next = await start()
    await publish(next, stream, 'm10')
    const again = listen(next, `/v1/streams/${stream}/messages`, tail.lastEventId())
    const pushedAgain = listen(next, `/v1/streams/${stream}/consumers/pushed/messages`, pushed.lastEventId())
    await until('the last message', async () => again.messages.at(-1)?.data === 'm10')
    await until('the last delivery', async () => pushed.messages.length + pushedAgain.messages.length >= 10)
    expect([...tail.messages, ...again.messages].map(({ data }) => data)).toEqual(
      range(1, 10).map((n) => `m${n}`),
    )
    expect([...pushed.messages, ...pushedAgain.messages].map(({ seq }) => seq)).toEqual(range(1, 10))
    expect(end.body.cursor).toEqual(expect.any(String))
  })

  test('out within the bound past clients that read nothing, and what they did not get goes to others at once', async () => {
    const host = await start({ SHUTDOWN_MS: '2000' })
    const stream = await makeStream(host)
    await makeConsumer(host, stream, 'pushed')
    const large = 'x'.repeat(500_000)
    for (const _ of range(1, 40)) await publish(host, stream, large)
    const stalled = await Promise.all(
      [
        `/v1/streams/${stream}/messages?start=beginning`,
        `/v1/streams/${stream}/consumers/pushed/messages`,
      ].map((target) =>
        openRaw(host.url, { method: 'GET', target, headers: { Accept: 'text/event-stream' } }),
      ),
    )
    ends.push(...stalled.map(({ vanish }) => vanish))
    for (const connection of stalled) await connection.head()
    await untilStalled(() => pendingOf(host, stream))

    const { code, tookMs } = await terminate(host)

    expect(code).toBe(0)
    expect(tookMs).toBeLessThan(2_000 + EXIT_MS)
    expect(await connections()).toBe(0)
    expect(await consumers(stream)).toEqual(['pushed'])
    const next = await start()
    const again: Delivered[] = []
    for (;;) {
      const { body } = await ask<{ messages: Delivered[] }>(
        next,
        'POST',
        `/v1/streams/${stream}/consumers/pushed/pull`,
        { batch: 50 },
      )
      if (body.messages.length === 0) break
      again.push(...body.messages)
    }
    const given = again.filter(({ delivery_count }) => delivery_count === 2)
    expect(given.length).toBeGreaterThan(0)
    // Nothing is missing in between: what had not been sent when it ended, and what nobody had asked for.
    expect(again.map(({ seq }) => seq).sort((a, b) => a - b)).toEqual(range(41 - again.length, 40))
  })

  test('out within the bound while NATS answers nothing, and publishes under way are told so', async () => {
    const host = await start({ SHUTDOWN_MS: '2000', REQUEST_TIMEOUT_MS: '30000' })
    const stream = await makeStream(host)
    await publish(host, stream, 'm1')
    const tail = listen(host, `/v1/streams/${stream}/messages?start=beginning`)
    await until('the live end', async () => tail.events.includes('caught_up'))
    await nats.pause()
    try {
      const publishing = publish(host, stream, 'm2')
      await until('it is under way', async () =>
        /sluice_http_requests_in_flight 2\b/.test((await metrics(host)).text),
      )

      const ended = terminate(host)
      await tail.ended
      expect(tail.text()).toMatch(/retry: ?\d+\nid: ?\S+\n\n$/)
      const answer = await publishing
      expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([
        504,
        'publish_unconfirmed',
      ])
      const { code, tookMs } = await ended
      expect([code, tookMs < 2_000 + EXIT_MS]).toEqual([0, true])
    } finally {
      nats.resume()
    }
    await until('its connection is gone', async () => (await connections()) === 0)
  })

  test('a second one ends it at once', async () => {
    const host = await start({ SHUTDOWN_MS: '60000' })
    // A publish whose body never comes to its end.
    const unfinished = await openRaw(host.url, {
      method: 'POST',
      target: '/v1/subjects/nobody.listens/messages',
      headers: { 'Content-Length': '10' },
      body: 'some',
    })
    ends.push(unfinished.vanish)
    await until('it is under way', async () =>
      /^sluice_http_requests_in_flight 2$/m.test((await metrics(host)).text),
    )
    process.kill(host.pid, 'SIGTERM')
    await until('the first one is heard', async () =>
      fetch(`${host.url}/livez`).then(
        () => false,
        () => true,
      ),
    )

    const { code, tookMs } = await terminate(host)

    expect([code, tookMs < EXIT_MS]).toEqual([1, true])
  })

  const pendingOf = async (host: TestHost, stream: string) =>
    (await ask<{ num_ack_pending: number }>(host, 'GET', `/v1/streams/${stream}/consumers/pushed`)).body
      .num_ack_pending
  const metrics = async (host: TestHost) => ({
    text: await (await fetch(`${host.url}/metrics`)).text(),
  })
})

/** A publish of which half the body has been sent, on a connection that is to be kept. */
async function openHalfPublish(url: string, subject: string, payload: string) {
  const socket: Socket = connect(Number(new URL(url).port), '127.0.0.1')
  let text = ''
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
  })
  const closed = once(socket, 'close')
  closed.catch(() => undefined)
  await once(socket, 'connect')
  const head = `POST /v1/subjects/${subject}/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${payload.length}\r\n`
  socket.write(`${head}Expect: 100-continue\r\n\r\n${payload[0]}`)
  await until('the request is there', async () => text.includes('100 Continue'))
  text = ''
  return {
    finish: () => void socket.write(payload.slice(1)),
    async answer() {
      await closed
      return text
    },
    close: () => socket.destroy(),
  }
}
