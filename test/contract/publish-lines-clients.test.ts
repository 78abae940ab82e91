/** The contract of lines from clients that do not do their part: they leave, are killed, or do not read. */
import { describe, expect, test } from 'vitest'
import { parseExposition } from '../support/prometheus.ts'
import { range, until } from './expectations.ts'
import { linesTo, MANY, STALLED_MS, toLine } from './lines.ts'
import { stored, storedOn } from './results.ts'
import { onEveryTarget } from './target.ts'

/** More than all that lies between a client and a bridge can hold. */
const MOST_UNREAD_BYTES = 128 * 1_048_576

onEveryTarget((target) => {
  const { begin } = linesTo(target)
  const { readAll, countOf } = storedOn(target)
  /** Resolves once no request that publishes many messages is under way, as far as the bridge says so. */
  const allOver = async () => {
    await target.bridge.ok('GET /v1/capabilities')
    if (!target.isOwn) return
    await until('the request to be over', async () => {
      const { bytes } = await target.bridge.send('GET /metrics')
      return parseExposition(Buffer.from(bytes).toString()).total('sluice_publishing_requests') === 0
    })
  }

  describe('publishMessages in lines', () => {
    describe('clients that do not do their part', () => {
      test.each([
        ['leaves', false],
        ['is killed', true],
      ])('nothing stored of a line that has not ended when its client %s', async (_, withReset) => {
        const orders = await target.makeStream()
        const line = (data: string) => toLine({ subject: orders.subject('a'), data })
        const conversation = begin()
        // The last one is whole JSON, but for the end of the line.
        conversation.say(line('0') + line('1') + line('half').trimEnd())
        for (const index of [0, 1]) expect(await conversation.next()).toMatchObject(stored(index))

        conversation.vanish(withReset)
        await allOver()

        expect((await readAll(orders)).map(({ data }) => data)).toEqual(['0', '1'])
      })

      test('the first lines stored and no later one without them when its client is killed', async () => {
        const orders = await target.makeStream()
        const conversation = begin()
        const lines = range(0, MANY).map((n) => toLine({ subject: orders.subject('a'), data: `${n}` }))
        conversation.say(lines.join(''))
        expect(await conversation.next()).toMatchObject(stored(0, 1))

        conversation.vanish(true)
        await allOver()

        const payloads = (await readAll(orders)).map(({ data }) => data)
        expect(payloads.length).toBeGreaterThan(0)
        expect(payloads).toEqual(range(0, payloads.length - 1).map((n) => `${n}`))
      })

      test('no more lines taken than results are, and none missing once they are read', async () => {
        const orders = await target.makeStream()
        const message = toLine({ subject: orders.subject('a') })
        // The refusal names it, so results outgrow lines, and fill all that lies between.
        const refusedLine = toLine({ subject: 'a', ['x'.repeat(20_000)]: 1 })
        const conversation = begin()
        let pairs = 0
        do {
          conversation.say(message + refusedLine)
          pairs += 1
          expect(pairs * refusedLine.length).toBeLessThan(MOST_UNREAD_BYTES)
        } while (await conversation.room(STALLED_MS))
        expect(await countOf(orders)).toBeLessThan(pairs)

        conversation.end()
        for (const pair of range(0, pairs - 1)) {
          expect(await conversation.next()).toMatchObject(stored(2 * pair, pair + 1))
          expect(await conversation.next()).toMatchObject({ index: 2 * pair + 1, error: { status: 400 } })
        }
        expect(await conversation.next()).toBe(undefined)
        expect(await countOf(orders)).toBe(pairs)
      })
    })
  })
})
