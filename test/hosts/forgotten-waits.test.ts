import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openInspector } from '../../scripts/inspector.ts'
import { freePort } from '../../scripts/ports.ts'
import { makeStream } from '../publishing/stored.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const ROUNDS = 10
const AT_ONCE = 30
const LEFT_AFTER_MS = 50
/** A connection that is kept open has its last request at hand, and what that ended with. */
const FEW = 3 * AT_ONCE

interface Remote {
  readonly result: { readonly objectId: string; readonly value?: number }
}

/** How many AbortSignals a Node host still has in use. */
async function signalsOf(inspectorPort: number): Promise<number> {
  const inspector = await openInspector(inspectorPort)
  try {
    const expression = 'AbortSignal.prototype'
    const { result } = await inspector.ask<Remote>('Runtime.evaluate', { expression })
    const { objects } = await inspector.ask<{ objects: Remote['result'] }>('Runtime.queryObjects', {
      prototypeObjectId: result.objectId,
    })
    const counted = await inspector.ask<Remote>('Runtime.callFunctionOn', {
      objectId: objects.objectId,
      functionDeclaration: 'function () { return this.length }',
      returnByValue: true,
    })
    return counted.result.value ?? Number.NaN
  } finally {
    inspector.close()
  }
}

describe.runIf(HOSTS.includes('node'))('who waited and left again', () => {
  let nats: TestNats
  let host: TestHost
  let inspectorPort: number

  beforeAll(async () => {
    nats = await startNats()
    inspectorPort = await freePort()
    host = await startHost('node', { natsUrl: nats.wsUrl, inspectorPort })
    await makeStream(host.url, 'WAITS')
    await makeConsumer('busy', {})
    await makeConsumer('idle', { filter_subjects: ['waits.never'] })
  })

  afterAll(async () => {
    await host?.stop()
    await nats?.stop()
  })

  const makeConsumer = async (name: string, config: object) => {
    const made = await fetch(`${host.url}/v1/streams/WAITS/consumers/${name}`, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(config),
    })
    expect(made.ok).toBe(true)
  }
  const publish = () => fetch(`${host.url}/v1/subjects/waits.one/messages`, { method: 'POST', body: 'x' })
  const read = async (signal?: AbortSignal) => {
    const answer = await fetch(`${host.url}/v1/streams/WAITS/messages?start=new&wait_ms=5000`, {
      ...(signal ? { signal } : {}),
    })
    expect(answer.status).toBe(200)
    await answer.text()
  }
  const pull = async (consumer: string, signal?: AbortSignal) => {
    const answer = await fetch(`${host.url}/v1/streams/WAITS/consumers/${consumer}/pull`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{"batch":1,"wait_ms":5000}',
      ...(signal ? { signal } : {}),
    })
    expect(answer.status).toBe(200)
    await answer.text()
  }
  /** Many waits, one after the other, each of which a message ends. */
  const waitForMessages = async (wait: () => Promise<void>) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const waits = Array.from({ length: AT_ONCE }, wait)
      const all = Promise.all(waits)
      let isOver = false
      void all.finally(() => {
        isOver = true
      })
      while (!isOver) await publish()
      await all
    }
  }
  const leaveWaits = async (wait: (signal: AbortSignal) => Promise<void>) => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const left = new AbortController()
      const waits = Array.from({ length: AT_ONCE }, () => wait(left.signal))
      setTimeout(() => left.abort(), LEFT_AFTER_MS)
      for (const end of await Promise.allSettled(waits))
        expect(end).toMatchObject({ status: 'rejected', reason: { name: 'AbortError' } })
    }
  }

  it.each([
    ['for a page that a message ends', () => waitForMessages(read)],
    ['for a pull that a message ends', () => waitForMessages(() => pull('busy'))],
    ['for a page, and left', () => leaveWaits(read)],
    ['for a pull, and left', () => leaveWaits((signal) => pull('idle', signal))],
  ])('%s is forgotten by the host', async (_, wait) => {
    const before = await signalsOf(inspectorPort)
    await wait()
    await expect
      .poll(async () => (await signalsOf(inspectorPort)) - before, { timeout: 10_000 })
      .toBeLessThan(FEW)
  })
})
