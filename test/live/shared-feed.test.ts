/** The readers of a stream beside each other: one consumer for all, history only for whoever fell behind, and bounded memory. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { range, until } from '../contract/expectations.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { EventReader } from './event-reader.ts'
import { type Native, openNative, StreamLog } from './native.ts'
import { complaintsAbout } from './oracle.ts'
import { type Relay, startRelay } from './relay.ts'

const SETTINGS = { REQUEST_TIMEOUT_MS: '1000', CONNECT_TIMEOUT_MS: '1000', HEARTBEAT_MS: '300' }
const LARGE_BYTES = 65_536
/** So many are on their way at once: less than a reader's buffer. */
const AT_ONCE = 8
/** Much more than what a reader's buffer, the sockets and their kernel hold. */
const MANY_LARGE = 320
const VOLUME_BYTES = MANY_LARGE * LARGE_BYTES
/** A runtime's own memory grows for a while before it is flat. */
const MOST_ROUNDS = 8

const TANGLED = ['a', 'b', 'c', '*', 'a.>', '>', '>']
const MANY = range(1, 30).flatMap(() => ['a', 'b', 'a.b', 'c'])

describe.each(HOSTS)('readers that share a feed, on %s', (hostName) => {
  let nats: TestNats
  let native: Native
  let relay: Relay
  let host: TestHost
  let made = 0
  const opened: EventReader[] = []

  beforeAll(async () => {
    nats = await startNats()
    native = await openNative(nats.wsUrl)
    relay = await startRelay(nats.wsUrl)
    host = await startHost(hostName, { natsUrl: relay.wsUrl, env: SETTINGS })
  })
  afterAll(async () => {
    for (const reader of opened) reader.close()
    await host?.stop()
    await relay?.close()
    await native?.close()
    await nats?.stop()
  })

  /** A stream of its own, and what a test does with it. */
  const makeStream = async () => {
    made += 1
    const name = `F${made}`
    await native.ask(`STREAM.CREATE.${name}`, {
      name,
      subjects: [`${name}.>`],
      retention: 'limits',
      storage: 'file',
      allow_direct: true,
    })
    return useStream(new StreamLog(native, name, -1))
  }
  const useStream = (log: StreamLog) => {
    const lastOf = async ({ wish }: EventReader) => (await log.present(wish.filters)).at(-1) ?? 0
    const stream = {
      log,
      /** Readers of the live end, one for each filter. */
      openLive: async (tails: readonly string[]) => {
        const url = `${host.url}/v1/streams/${log.name}/messages`
        const wish = { start: 'new', onGap: 'skip', payload: 'text' } as const
        const readers = tails.map(
          (tail) => new EventReader(url, { ...wish, filters: [`${log.name}.${tail}`] }),
        )
        opened.push(...readers)
        await Promise.all(readers.map((reader) => reader.open()))
        await until('all readers to be live', async () => readers.every(({ caughtUp }) => caughtUp))
        return readers
      },
      publish: (tails: readonly string[], payload = '') =>
        log.publish(
          tails.map((tail) => ({
            subject: `${log.name}.${tail}`,
            payload: Buffer.from(payload),
            headers: {},
          })),
        ),
      /** Publishes as fast as `readers` read, so that none of them falls behind. */
      publishLarge: async (count: number, readers: readonly EventReader[]) => {
        for (let left = count; left > 0; left -= AT_ONCE) {
          await stream.publish(Array(AT_ONCE).fill('large'), 'x'.repeat(LARGE_BYTES))
          const { last_seq } = await log.state()
          await Promise.all(readers.map((reader) => reader.reach(last_seq)))
        }
      },
      reachEnd: async (readers: readonly EventReader[]) => {
        await Promise.all(readers.map(async (reader) => reader.reach(await lastOf(reader))))
      },
      /** All that was ever published, once and in order, and no gap. */
      expectAll: async (readers: readonly EventReader[]) => {
        for (const reader of readers) {
          expect(await complaintsAbout(reader, { may: 1, must: 1 }, log)).toEqual([])
          expect(reader.seen.filter(({ kind }) => kind === 'gap')).toEqual([])
          expect(reader.position).toBe(await lastOf(reader))
        }
      },
      consumers: async () =>
        (await native.ask<{ consumers: string[] | null }>(`CONSUMER.NAMES.${log.name}`)).consumers ?? [],
    }
    return stream
  }
  const residentBytes = () =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${host.pid}/status`, 'utf8'))?.[1] ?? 0) * 1_024

  it('one that falls behind reads history and is live again, with all in order and memory bounded', async () => {
    const { log, openLive, publish, publishLarge, reachEnd, expectAll, consumers } = await makeStream()
    const [fast, slow] = (await openLive(['>', 'large'])) as [EventReader, EventReader]
    let historyReads = 0
    native.client.subscribe(`$JS.API.DIRECT.GET.${log.name}`, {
      callback: () => {
        historyReads += 1
      },
    })
    await native.client.flush()

    await publishLarge(AT_ONCE, [fast, slow])
    slow.pace = 'stopped'
    const resident: number[] = []
    const grown = () => (resident.at(-1) ?? 0) - (resident.at(-3) ?? 0)
    while (resident.length < 3 || (grown() > VOLUME_BYTES / 2 && resident.length < MOST_ROUNDS)) {
      await publishLarge(MANY_LARGE, [fast])
      resident.push(residentBytes())
    }
    // Live readers never ask for history, and one that does not read asks for nothing.
    expect(historyReads).toBe(0)

    slow.pace = 'fast'
    await reachEnd([slow])
    await native.client.flush()
    expect(historyReads).toBeGreaterThan(0)
    await until('the slow reader to be live again', async () => {
      const before = historyReads
      await publish(['large'])
      await reachEnd([slow])
      await native.client.flush()
      return historyReads === before
    })
    await reachEnd([fast])
    await expectAll([fast, slow])
    // Two volumes more, and not half of one in memory.
    expect(grown()).toBeLessThan(VOLUME_BYTES / 2)
    expect(await consumers()).toHaveLength(1)
    for (const reader of [fast, slow]) reader.close()
  })

  it.concurrent('hold one consumer, which outlives the last of them by some seconds and serves whoever comes back', async () => {
    const { openLive, publish, reachEnd, expectAll, consumers } = await makeStream()
    const tails = range(1, 40).map((index) => `of.${index}`)
    const readers = await openLive([...tails, 'of.*', '>'])
    const names = await consumers()
    expect(names).toHaveLength(1)
    await publish([...tails, ...tails])
    await reachEnd(readers)
    await expectAll(readers)

    for (const reader of readers) reader.close()
    const again = await openLive(['>'])
    expect(await consumers()).toEqual(names)
    for (const reader of again) reader.close()
    const closedAt = performance.now()
    await until('the consumer to be gone', async () => (await consumers()).length === 0)
    expect(performance.now() - closedAt).toBeGreaterThan(3_000)
  })

  it.concurrent('go on without a gap or a repeat when their consumer is deleted', async () => {
    const { log, openLive, publish, reachEnd, expectAll, consumers } = await makeStream()
    const readers = await openLive(TANGLED)
    const [name] = await consumers()
    const publishing = publish(MANY, 'during')
    await native.ask(`CONSUMER.DELETE.${log.name}.${name}`)
    await publishing
    await reachEnd(readers)
    const [next, ...others] = await consumers()
    expect([next === name, others]).toEqual([false, []])
    await publish(MANY, 'after')
    await reachEnd(readers)
    await expectAll(readers)
    for (const reader of readers) reader.close()
  })

  it('go on without a gap or a repeat when their connection is cut, again and again', async () => {
    const { openLive, publish, reachEnd, expectAll } = await makeStream()
    const readers = await openLive(TANGLED)
    for (const round of range(1, 5)) {
      const publishing = publish(MANY, `round ${round}`)
      relay.cut()
      await publishing
      await reachEnd(readers)
    }
    await publish(MANY, 'after')
    await reachEnd(readers)
    await expectAll(readers)
    for (const reader of readers) reader.close()
  })
})
