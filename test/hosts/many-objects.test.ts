/** What a Durable Object takes before it has done anything: one is made for each credential, also for made-up ones. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { SluiceHost } from '../../src/worker.ts'
import { newTokenKey } from '../support/host.ts'

const OBJECTS = 200
const MOST_BYTES_EACH = 60_000

test('a Durable Object is small: an isolate has one app for all of them', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const env = { AUTH: 'nats', NATS_URL: 'ws://127.0.0.1:1', TOKEN_KEYS: newTokenKey(), LOG: 'off' }
  const make = () => new SluiceHost({}, env as never)
  const first = make()
  collect()
  const before = process.memoryUsage().heapUsed

  const objects = Array.from({ length: OBJECTS }, make)
  collect()
  const grown = process.memoryUsage().heapUsed - before

  expect(objects).not.toContain(first)
  expect(grown / OBJECTS).toBeLessThan(MOST_BYTES_EACH)
})
