/** The tests of bodies that are read as they come. */
import { expect, test } from 'vitest'
import { withoutSilence } from '../src/read-body.ts'
import { createTimers } from '../src/timers.ts'

const startTimer = createTimers()

test('what a body comes from is let go of, also when it is left before its end', async () => {
  let isOpen = true
  async function* body() {
    try {
      for (;;) yield new Uint8Array(1)
    } finally {
      isOpen = false
    }
  }
  for await (const chunk of withoutSilence(body(), { silenceMs: () => 60_000, startTimer }))
    if (chunk.length > 0) break
  expect(isOpen).toBe(false)
})

test('body_timeout when it is silent, also where it fails after that', async () => {
  const { promise: silence, reject } = Promise.withResolvers<never>()
  async function* body() {
    yield new Uint8Array(1)
    await silence
  }
  const chunks = withoutSilence(body(), { silenceMs: () => 20, startTimer })
  await chunks.next()
  await expect(chunks.next()).rejects.toMatchObject({ code: 'body_timeout' })
  reject(new Error('The connection is gone.'))
  await expect(silence).rejects.toThrow()
})
