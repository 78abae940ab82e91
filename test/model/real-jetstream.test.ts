/** The check of the simulated JetStream: the same calls of the port, on it and on a real one, answer the same. */

import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openJetStream } from '../../src/adapters/nats/index.ts'
import type { JetStream, JetStreamConnection } from '../../src/jetstream.ts'
import { readSettings } from '../../src/settings.ts'
import { randomFor } from '../publishing/seeded.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { type Call, callArbitrary, configArbitrary, createCaller, type Place } from './port-calls.ts'
import { SimulatedJetStream } from './simulated-jetstream.ts'
import { VirtualClock } from './virtual-clock.ts'

const RUNS = Number(process.env.SLUICE_MODEL_REAL_RUNS ?? 200)
const SEED = Number(process.env.SLUICE_MODEL_SEED ?? 1)
const MAX_CALLS = 25
const MS_PER_RUN = 500
const OWN = { kind: 'own' } as const
const LONG_MS = 60_000
const ACK_WAIT_MS = 600

describe('the simulated JetStream', () => {
  let nats: TestNats
  let connection: JetStreamConnection
  let streams = 0

  beforeAll(async () => {
    nats = await startNats()
    const env = {
      AUTH: 'none',
      NATS_URL: nats.wsUrl,
      TOKEN_KEYS: `a:${'A'.repeat(43)}`,
      REQUEST_TIMEOUT_MS: '500',
    }
    connection = openJetStream(readSettings(env), OWN)
  })
  afterAll(async () => {
    await connection?.close()
    await nats?.stop()
  })

  it(`answers as nats-server does in ${RUNS} sequences from seed ${SEED}`, {
    timeout: RUNS * MS_PER_RUN,
  }, async () => {
    const calls = fc.array(callArbitrary, { minLength: 1, maxLength: MAX_CALLS, size: 'max' })
    const property = fc.asyncProperty(configArbitrary, calls, async (config, made) => {
      streams += 1
      const place = { name: `R${streams}`, config, wait: delay }
      expect(await playSimulated(place, made)).toEqual(await playOn(connection.jetstream, place, made))
    })
    await fc.assert(property, { numRuns: RUNS, seed: SEED })
  })

  it.concurrent.each(Object.entries(LATE))('%s, as on nats-server', async (_, calls) => {
    streams += 1
    const place = { name: `R${streams}`, config: { storage: 'memory' }, ackWaitMs: ACK_WAIT_MS, wait: delay }
    expect(await playSimulated(place, calls)).toEqual(await playOn(connection.jetstream, place, calls))
  })
})

/** What each call answers; the stream is gone at the end. */
async function playOn(jetstream: JetStream, place: Place, calls: readonly Call[]): Promise<unknown[]> {
  const { name, config } = place
  await jetstream.createStream({ name, subjects: [`${name}.>`], ...config })
  const answers: unknown[] = []
  const make = createCaller(jetstream, place)
  for (const call of calls) answers.push(await make(call))
  await jetstream.deleteStream(name).catch(() => undefined)
  return answers
}

async function playSimulated(place: Place, calls: readonly Call[]): Promise<unknown[]> {
  const clock = new VirtualClock()
  let answers: unknown[] | undefined
  const simulated = new SimulatedJetStream(clock, randomFor('real', 1))
  const playing = playOn(simulated, { ...place, wait: (ms) => clock.delay(ms) }, calls).then((done) => {
    answers = done
  })
  await clock.until(() => answers !== undefined, calls.length * LONG_MS)
  await playing
  return answers ?? []
}

const publish: Call = { kind: 'publish', subject: 'a', conditions: {} }
const pull: Call = { kind: 'pull', batch: 100 }
const settle = (action: 'ack' | 'nak' | 'progress' | 'term', at: number): Call => ({
  kind: 'settle',
  action,
  at,
})
const wait = (shares: number): Call => ({ kind: 'wait', ms: shares * ACK_WAIT_MS })

/** Between the waits there is little time: what is due is due after the next wait. */
const LATE: Readonly<Record<string, readonly Call[]>> = {
  'what is not settled comes again': [publish, publish, pull, settle('ack', 0), wait(2), pull, wait(2), pull],
  'an ack that is late settles the next delivery': [
    publish,
    pull,
    wait(2),
    pull,
    settle('ack', 0),
    wait(2),
    pull,
  ],
  'a nak that is late gives the next delivery back': [publish, pull, wait(2), pull, settle('nak', 0), pull],
  'progress begins the wait anew': [
    publish,
    pull,
    wait(0.6),
    settle('progress', 0),
    wait(0.6),
    pull,
    wait(2),
    pull,
  ],
  'what is terminated never comes again': [publish, publish, pull, settle('term', 1), wait(2), pull],
  'what is deleted does not come again': [publish, publish, pull, { kind: 'delete', seq: 1 }, wait(2), pull],
}
