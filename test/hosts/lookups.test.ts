/** Lookups of single messages: how many at once, by how large they are. */
import { expect, test } from 'vitest'
import { lookUpInTurn } from '../../src/hosts/lookups.ts'
import type { StoredMessage } from '../../src/jetstream.ts'
import { createTimers } from '../../src/timers.ts'
import { range } from '../contract/expectations.ts'

const MIB = 1_048_576

/** A JetStream whose answers come when a test says so. */
function open(bytes: number, waitMs = 60_000) {
  const asked: (() => void)[] = []
  const message: StoredMessage = {
    subject: 's',
    seq: 1,
    time: '2026-11-20T10:00:00Z',
    headers: {},
    payload: new Uint8Array(bytes),
  }
  const getMessage = lookUpInTurn(() => new Promise((resolve) => asked.push(() => resolve(message))), {
    startTimer: createTimers(),
    waitMs,
  })
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
  const lookUp = (count: number) => range(1, count).map(() => getMessage('ORDERS', { seq: 1 }))
  return { asked, settle, lookUp }
}

test('large messages are looked up few at once, and all in the end', async () => {
  const { asked, settle, lookUp } = open(MIB)
  const found = lookUp(200)
  let most = 0
  let answered = 0
  for (; answered < found.length; await settle()) {
    most = Math.max(most, asked.length)
    asked.shift()?.()
    answered += 1
  }
  expect(most).toBeLessThanOrEqual(16)
  expect(await Promise.all(found)).toHaveLength(200)
})

test('small messages do not wait for each other', async () => {
  const { asked, settle, lookUp } = open(100)
  const [first] = lookUp(1)
  asked.shift()?.()
  await first
  lookUp(32)
  await settle()
  expect(asked).toHaveLength(32)
})

test('a message larger than all that may be under way is looked up alone', async () => {
  const { asked, settle, lookUp } = open(64 * MIB)
  const [first] = lookUp(1)
  asked.shift()?.()
  await first
  lookUp(2)
  await settle()
  expect(asked).toHaveLength(1)
})

test('504 jetstream_timeout where no turn comes', async () => {
  const { lookUp } = open(MIB, 20)
  const [last] = lookUp(17).slice(-1)
  await expect(last).rejects.toMatchObject({ code: 'jetstream_timeout' })
})
