/** Generated clients: they compile under strict, and work against the running bridge on each host. */
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ROOT } from '../../scripts/paths.ts'
import { run } from '../../scripts/processes.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { generateClients } from './generate.ts'
import type { CreateClient, GeneratedClient } from './usage/client.ts'

const GENERATORS = ['openapi-fetch', 'hey-api'] as const
const COMPILE_MS = 120_000

const TSC = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')

let nats: TestNats

beforeAll(async () => {
  await generateClients()
  nats = await startNats()
})
afterAll(() => nats.stop())

test('they and their use compile under strict', { timeout: COMPILE_MS }, async () => {
  const compiled = await run(process.execPath, [TSC, '-p', import.meta.dirname])

  expect(compiled.stdout).toBe('')
  expect(compiled.ok).toBe(true)
})

describe.each(HOSTS)('on %s', (hostName) => {
  let host: TestHost

  beforeAll(async () => {
    host = await startHost(hostName, { natsUrl: nats.wsUrl })
  })
  afterAll(() => host.stop())

  describe.each(GENERATORS)('%s', (generator) => {
    const stream = `${generator}-${hostName}`
    const subject = (tail: string) => `${stream}.${tail}`
    const payloads = ['one', 'two', 'three', 'four', 'five']
    let client: GeneratedClient

    beforeAll(async () => {
      // By a name: types must not lead from here to what is generated only now.
      const { create } = (await import(`./usage/${generator}.ts`)) as { create: CreateClient }
      client = create(host.url)
      await client.makeStream(stream, 'worker')
      for (const payload of payloads) await client.publish(subject('a'), payload, payload)
    })

    test('publishes, and hears of a duplicate', async () => {
      expect(await client.publish(subject('a'), 'one', 'one')).toMatchObject({ seq: 1, duplicate: true })
    })

    test('reads page after page by following the cursor', async () => {
      expect(await client.readPages(stream, subject('*'), 2)).toEqual(payloads)
      expect(await client.readPages(stream, subject('nothing'), 2)).toEqual([])
    })

    test('reads lines, told apart by their types', async () => {
      expect(await client.readLines(stream)).toEqual(payloads)
    })

    test('reads server-sent events, told apart by their names', async () => {
      expect(await client.readEvents(stream, 'caught_up')).toEqual([
        ...payloads.map((_, index) => ({ event: 'message', seq: index + 1 })),
        { event: 'caught_up', seq: undefined },
      ])
    })

    test('pulls and acknowledges', async () => {
      const settled = await client.pullAndAck(stream, 'worker')

      expect(settled).toEqual(payloads.map((data) => ({ data, deliveryCount: 1, result: 'ok' })))
    })

    test('publishes many: in a batch, as lines with conditions, and as a CloudEvent', async () => {
      const many = `many-${stream}`
      await client.makeStream(many, 'worker')
      const on = (tail: string) => `${many}.${tail}`

      expect(await client.publishBatch(on('a'), ['one', 'two'], false)).toEqual([1, 2])
      expect(await client.publishBatch(on('a'), ['three', 'four'], true)).toEqual([3, 4])
      const conditional = [
        [{ id: 7 }, 4],
        [{ id: 8 }, 4],
      ] as const
      expect(await client.publishLines(on('a'), conditional)).toEqual([5, 'precondition_failed'])
      expect(await client.publishEvent(on('event'), 'com.example.order', { id: 9 })).toBe(false)
      expect(await client.publishEvent(on('event'), 'com.example.order', { id: 9 })).toBe(true)
      expect(await client.readEventTypes(many)).toEqual([
        ...Array(5).fill('io.nats.jetstream.message'),
        'com.example.order',
      ])
    })

    test('meets a problem as a typed error', async () => {
      expect(await client.publishOnto(subject('a'), 3)).toEqual({
        status: 412,
        code: 'precondition_failed',
        retryable: false,
        currentSeq: 5,
      })
    })
  })
})
