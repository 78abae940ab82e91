import { describe, expect, it } from 'vitest'
import { type Pieces, streamPieces } from '../src/pieces.ts'
import type { StartTimer } from '../src/timers.ts'

/** Timers that fire when they are told to, by how long they were set. */
function manualTimers() {
  const running = new Map<() => void, number>()
  const startTimer: StartTimer = (act, ms) => {
    running.set(act, ms)
    return () => running.delete(act)
  }
  const fire = () => {
    const due = [...running.keys()]
    running.clear()
    for (const act of due) act()
  }
  return { startTimer, fire, delays: () => [...running.values()] }
}

/** Pieces that note what becomes of them. */
function noted(texts: readonly string[]) {
  const notes: string[] = []
  async function* write(): Pieces {
    let taken = false
    try {
      for (const text of texts) yield text
      taken = true
    } finally {
      notes.push(taken ? 'taken' : 'given back')
    }
  }
  return { pieces: write(), notes }
}

const open = async (texts: readonly string[], content?: Promise<unknown>) => {
  const { startTimer, fire, delays } = manualTimers()
  const { pieces, notes } = noted(texts)
  const gone = new AbortController()
  const body = await streamPieces(pieces, { startTimer, gone, content })
  const fireAll = async () => {
    fire()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { body, notes, gone, delays, fire: fireAll }
}

describe('a body that is written piece by piece', () => {
  it('read in time: each piece, then its end, and no timer left', async () => {
    const { body, notes, delays, gone } = await open(['a', 'b'])
    expect(await new Response(body).text()).toBe('ab')
    expect([notes, delays(), gone.signal.aborted]).toEqual([['taken'], [], false])
  })

  it('not read in time: given back, and a late read gets nothing of it', async () => {
    const { body, notes, fire, gone } = await open(['ack_token', 'rest'])
    await fire()
    expect([notes, gone.signal.aborted]).toEqual([['given back'], true])
    await expect(new Response(body).text()).rejects.toThrow('too late')
  })

  it('not read soon after its content is there: the same', async () => {
    const content = Promise.withResolvers<void>()
    const { body, notes, fire, delays } = await open([' ', 'ack_token'], content.promise)
    const before = delays()
    content.resolve()
    await content.promise
    expect(delays()[0]).toBeLessThan(before[0] ?? 0)
    await fire()
    expect(notes).toEqual(['given back'])
    await expect(body.getReader().read()).rejects.toThrow('too late')
  })

  it('content that comes when nobody is waited for any more sets no timer', async () => {
    const content = Promise.withResolvers<void>()
    const { notes, fire, delays } = await open([' ', 'ack_token'], content.promise)
    await fire()
    content.resolve()
    await content.promise
    expect([notes, delays()]).toEqual([['given back'], []])
  })

  it('left in the middle: given back', async () => {
    const { body, notes, gone } = await open(['a', 'b'])
    const reader = body.getReader()
    await reader.read()
    await reader.cancel()
    expect([notes, gone.signal.aborted]).toEqual([['given back'], true])
  })

  it('a piece that fails is the end of the body', async () => {
    const { startTimer } = manualTimers()
    async function* failing(): Pieces {
      yield 'a'
      throw new Error('gone')
    }
    const body = await streamPieces(failing(), { startTimer, gone: new AbortController() })
    await expect(new Response(body).text()).rejects.toThrow('gone')
  })
})
