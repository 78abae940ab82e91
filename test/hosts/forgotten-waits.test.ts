import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openInspector } from '../../scripts/inspector.ts'
import { freePort } from '../../scripts/ports.ts'
import { makeStream } from '../publishing/stored.ts'
import { startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const WAITS = 300
/** What is under way, and what the runtime keeps for itself. */
const FEW = 30

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

describe('who waited and left again', () => {
  let nats: TestNats
  let host: TestHost
  let inspectorPort: number

  beforeAll(async () => {
    nats = await startNats()
    inspectorPort = await freePort()
    host = await startHost('node', { natsUrl: nats.wsUrl, inspectorPort })
    await makeStream(host.url, 'WAITS')
    const made = await fetch(`${host.url}/v1/streams/WAITS/consumers/work`, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/json' },
      body: '{}',
    })
    expect(made.ok).toBe(true)
  })

  afterAll(async () => {
    await host?.stop()
    await nats?.stop()
  })

  const publish = () => fetch(`${host.url}/v1/subjects/waits.one/messages`, { method: 'POST', body: 'x' })
  const read = async (signal?: AbortSignal) => {
    const answer = await fetch(`${host.url}/v1/streams/WAITS/messages?start=new&wait_ms=5000`, {
      ...(signal ? { signal } : {}),
    })
    expect(answer.status).toBe(200)
    await answer.text()
  }
  const pull = async (signal?: AbortSignal) => {
    const answer = await fetch(`${host.url}/v1/streams/WAITS/consumers/work/pull`, {
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
    for (let round = 0; round < WAITS / 30; round += 1) {
      const waits = Array.from({ length: 30 }, wait)
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
    for (let round = 0; round < WAITS / 30; round += 1) {
      const left = new AbortController()
      const waits = Array.from({ length: 30 }, () => wait(left.signal).catch(() => undefined))
      setTimeout(() => left.abort(), 30)
      await Promise.all(waits)
    }
  }

  it.each([
    ['for a page that a message ends', () => waitForMessages(read)],
    ['for a pull that a message ends', () => waitForMessages(pull)],
    ['for a page, and left', () => leaveWaits(read)],
    ['for a pull, and left', () => leaveWaits(pull)],
  ])('%s is forgotten by the host', async (_, wait) => {
    const before = await signalsOf(inspectorPort)
    await wait()
    await expect
      .poll(async () => (await signalsOf(inspectorPort)) - before, { timeout: 10_000 })
      .toBeLessThan(FEW)
  })
})
