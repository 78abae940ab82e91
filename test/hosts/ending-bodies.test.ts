/** The registry of bodies that end with the host: it keeps none that has ended by itself. */
import { EventEmitter } from 'node:events'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { createEndingBodies } from '../../src/hosts/ending-bodies.ts'

class Incoming extends EventEmitter {
  readonly method = 'POST'
  readonly headers = { 'content-type': 'application/x-ndjson' }
}

/** A body, and how its sender goes on with it. */
function begin() {
  const bodies = createEndingBodies()
  const incoming = new Incoming()
  let sender: ReadableStreamDefaultController<Uint8Array> | undefined
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      sender = controller
    },
  })
  const request = new Request('http://host.example/v1/messages', {
    method: 'POST',
    body,
    duplex: 'half',
  } as RequestInit)
  bodies.watch(request, incoming)
  return { bodies, incoming, request, sender }
}

afterEach(() => vi.restoreAllMocks())

/** How many bodies are still there to be ended: each is read to its end then. */
function countEnded({ bodies }: ReturnType<typeof begin>): number {
  const read = vi.spyOn(ReadableStreamDefaultReader.prototype, 'read')
  bodies.end()
  return read.mock.calls.length
}

describe('createEndingBodies', () => {
  test('ends a body that is being read', async () => {
    const begun = begin()
    const reading = begun.request.body?.getReader().read()
    expect(countEnded(begun)).toBe(1)
    await expect(reading).rejects.toThrow('shutting down')
  })

  test('keeps none that breaks off', async () => {
    const begun = begin()
    const reading = begun.request.body?.getReader().read()
    begun.sender?.error(new Error('The client has left.'))
    await expect(reading).rejects.toThrow('The client has left.')
    expect(countEnded(begun)).toBe(0)
  })

  test('keeps none that has come whole', async () => {
    const begun = begin()
    const reading = begun.request.body?.getReader().read()
    begun.sender?.close()
    expect(await reading).toMatchObject({ done: true })
    expect(countEnded(begun)).toBe(0)
  })

  test('keeps none that nobody has read, since its request was refused', () => {
    const begun = begin()
    begun.incoming.emit('close')
    expect(countEnded(begun)).toBe(0)
  })

  test('keeps none that was given up', async () => {
    const begun = begin()
    await begun.request.body?.cancel()
    expect(countEnded(begun)).toBe(0)
  })
})
