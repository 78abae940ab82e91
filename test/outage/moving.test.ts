/** NATS moves, and connections to it go dead without a word: nothing needs a restart, and nobody who reads misses anything. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { range, until } from '../contract/expectations.ts'
import { openEvents } from '../operating/event-client.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { pacedNow } from '../support/pace.ts'
import { type MovingRelay, startMovingRelay } from './moving-relay.ts'

const REQUEST_TIMEOUT_MS = 1_000
const CONNECT_TIMEOUT_MS = 1_000
/** A request finds out, a probe confirms it, the next try dials. */
const FOUND_OUT_MS = REQUEST_TIMEOUT_MS + 1_000 + CONNECT_TIMEOUT_MS + REQUEST_TIMEOUT_MS

describe.each(HOSTS)('%s before a NATS that moves', (name) => {
  const storeDir = mkdtempSync(join(process.env.SLUICE_TEST_FOLDER ?? tmpdir(), 'moving-'))
  let nats: TestNats
  let relay: MovingRelay
  let host: TestHost
  let published = 0

  const publish = async () => {
    published += 1
    const n = published
    return await fetch(`${host.url}/v1/subjects/moves.a/messages`, {
      method: 'POST',
      headers: { 'Idempotency-Key': `key-${n}` },
      body: `m${n}`,
    })
  }

  beforeAll(async () => {
    nats = await startNats({ storeDir })
    relay = await startMovingRelay(nats.wsUrl)
    host = await startHost(name, {
      natsUrl: relay.wsUrl,
      env: {
        REQUEST_TIMEOUT_MS: String(REQUEST_TIMEOUT_MS),
        CONNECT_TIMEOUT_MS: String(CONNECT_TIMEOUT_MS),
        HEARTBEAT_MS: '500',
      },
    })
    await fetch(`${host.url}/v1/streams`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'MOVES', subjects: ['moves.>'] }),
    })
  })
  afterAll(async () => {
    await host?.stop()
    await relay?.close()
    await nats?.stop()
    rmSync(storeDir, { recursive: true, force: true })
  })

  it('dead connections are found out by a request, and publishes with a key and readers go on', async () => {
    const reader = openEvents(`${host.url}/v1/streams/MOVES/messages?start=beginning`)
    expect((await publish()).status).toBe(201)
    await until('the first message', async () => reader.messages.length === 1)

    relay.swallow()
    const askedAt = pacedNow()
    expect((await publish()).status).toBe(201)

    expect(pacedNow() - askedAt).toBeLessThan(FOUND_OUT_MS + 4_000)
    await until('the message behind it', async () => reader.messages.length === 2)
    expect(reader.messages.map(({ data }) => data)).toEqual(['m1', 'm2'])
    reader.close()
  })

  it('a server that comes back at another address behind the same name is found there', async () => {
    const reader = openEvents(`${host.url}/v1/streams/MOVES/messages?start=beginning`)
    await until('what is there', async () => reader.messages.length === published)
    await nats.stop()
    expect((await fetch(`${host.url}/readyz`)).status).toBe(503)
    nats = await startNats({ storeDir })
    relay.moveTo(nats.wsUrl)

    for (const _ of range(1, 3)) expect((await publish()).status).toBe(201)

    await until('the last message', async () => reader.messages.at(-1)?.data === `m${published}`)
    expect(reader.messages.map(({ data }) => data)).toEqual(range(1, published).map((n) => `m${n}`))
    expect((await fetch(`${host.url}/readyz`)).status).toBe(200)
    reader.close()
  })
})
