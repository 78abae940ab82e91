/** What callers see while NATS is away, and that nothing needs a restart when it is back. */

import { createParser } from 'eventsource-parser'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats } from '../support/nats.ts'
import { pacedNow } from '../support/pace.ts'

const JSON_TYPE = { 'Content-Type': 'application/json' }

describe.each(HOSTS)('%s while NATS is away', (name) => {
  let nats: Awaited<ReturnType<typeof startNats>>
  let host: TestHost

  beforeAll(async () => {
    nats = await startNats()
    host = await startHost(name, {
      natsUrl: nats.wsUrl,
      env: { REQUEST_TIMEOUT_MS: '1500', CONNECT_TIMEOUT_MS: '1000', HEARTBEAT_MS: '500' },
    })
    await fetch(`${host.url}/v1/streams`, {
      method: 'POST',
      headers: JSON_TYPE,
      body: JSON.stringify({ name: 'OUT', subjects: ['out.>'] }),
    })
  })
  afterAll(async () => {
    await host.stop()
    await nats.stop()
  })

  const publish = (payload: string) =>
    fetch(`${host.url}/v1/subjects/out.a/messages`, { method: 'POST', body: payload })

  it('answers 503 jetstream_unavailable within the deadline, and serves the next request once it is back', async () => {
    expect((await publish('before')).status).toBe(201)
    await nats.kill()
    for (const path of ['/readyz', '/v1/streams', '/v1/streams/OUT/messages', '/v1/capabilities']) {
      const asked = pacedNow()
      const answer = await fetch(host.url + path)
      const problem = (await answer.json()) as Record<string, unknown>
      expect([path, answer.status, problem.code, problem.retryable]).toEqual([
        path,
        503,
        'jetstream_unavailable',
        true,
      ])
      expect(answer.headers.get('Retry-After')).toBe('1')
      expect(pacedNow() - asked).toBeLessThan(3_800)
    }
    const refused = await publish('lost')
    expect(await refused.json()).toMatchObject({
      status: 503,
      code: 'jetstream_unavailable',
      side_effects: 'none',
    })
    expect((await fetch(`${host.url}/livez`)).status).toBe(200)

    await nats.restart()
    expect((await publish('after')).status).toBe(201)
    const page = (await (await fetch(`${host.url}/v1/streams/OUT/messages`)).json()) as {
      messages: { data: string }[]
    }
    expect(page.messages.map(({ data }) => data)).toEqual(['before', 'after'])
  })

  it('keeps server-sent events open and goes on without a gap or a repeat', async () => {
    const gone = new AbortController()
    const received: string[] = []
    let caughtUp: () => void = () => {}
    const live = new Promise<void>((resolve) => {
      caughtUp = resolve
    })
    let gotLast: () => void = () => {}
    const last = new Promise<void>((resolve) => {
      gotLast = resolve
    })
    const reading = readEvents(
      `${host.url}/v1/streams/OUT/messages?start=new`,
      gone.signal,
      (event, data) => {
        if (event === 'caught_up') caughtUp()
        if (event === 'message') received.push((JSON.parse(data) as { data: string }).data)
        if (received.at(-1) === 'e') gotLast()
        if (event === 'error') received.push(`error ${data}`)
      },
    )
    await live
    await publish('a')
    await publish('b')
    await nats.kill()
    // Where the loss has not shown yet, the publish is on its way and nobody knows how far it came.
    expect([503, 504]).toContain((await publish('lost')).status)
    await nats.restart()
    for (const payload of ['c', 'd', 'e']) expect((await publish(payload)).status).toBe(201)
    await last
    expect(received).toEqual(['a', 'b', 'c', 'd', 'e'])
    gone.abort()
    await reading
  })
})

async function readEvents(url: string, signal: AbortSignal, take: (event: string, data: string) => void) {
  const parser = createParser({ onEvent: ({ event, data }) => take(event ?? 'message', data) })
  const decoder = new TextDecoder()
  try {
    const answer = await fetch(url, { headers: { Accept: 'text/event-stream' }, signal })
    for await (const chunk of answer.body ?? []) parser.feed(decoder.decode(chunk, { stream: true }))
  } catch (failure) {
    if (!signal.aborted) throw failure
  }
}
