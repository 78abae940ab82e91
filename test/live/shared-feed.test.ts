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
/** Much more than what a reader's buffer, the sockets and their kernel hold. */
const MANY_LARGE = 640
const VOLUME_BYTES = MANY_LARGE * LARGE_BYTES

describe.each(HOSTS)('readers that share a feed, on %s', (hostName) => {
  let nats: TestNats
  let native: Native
  let relay: Relay
  let host: TestHost
  let log: StreamLog
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
    log = new StreamLog(native, name, -1)
  }
  /** Readers of the live end, one for each filter. */
  const openLive = async (tails: readonly string[]) => {
    const readers = tails.map(
      (tail) =>
        new EventReader(`${host.url}/v1/streams/${log.name}/messages`, {
          filters: [`${log.name}.${tail}`],
          start: 'new',
          onGap: 'skip',
          payload: 'text',
        }),
    )
    opened.push(...readers)
    await Promise.all(readers.map((reader) => reader.open()))
    await until('all readers to be live', async () => readers.every(({ caughtUp }) => caughtUp))
    return readers
  }
  const publish = (tails: readonly string[], payload = '', safely = false) =>
    log.publish(
      tails.map((tail) => ({ subject: `${log.name}.${tail}`, payload: Buffer.from(payload), headers: {} })),
      safely,
    )
  /** Publishes as fast as `readers` read, so that none of them falls behind. */
  const publishLarge = async (readers: readonly EventReader[]) => {
    const few = 8
    for (const _ of range(1, MANY_LARGE / few)) {
      await publish(Array(few).fill('large'), 'x'.repeat(LARGE_BYTES))
      const { last_seq } = await log.state()
      await Promise.all(readers.map((reader) => reader.reach(last_seq)))
    }
  }
  const reachEnd = async (readers: readonly EventReader[]) => {
    await Promise.all(
      readers.map(async (reader) => reader.reach((await log.present(reader.wish.filters)).at(-1) ?? 0)),
    )
  }
  /** Everything from `first` on, once and in order, and no gap. */
  const expectAll = async (readers: readonly EventReader[], first: number) => {
    for (const reader of readers) {
      expect(await complaintsAbout(reader, { may: first, must: first }, log)).toEqual([])
      expect(reader.seen.filter(({ kind }) => kind === 'gap')).toEqual([])
      expect(reader.position).toBe((await log.present(reader.wish.filters)).at(-1) ?? 0)
    }
  }
  const consumers = async () =>
    (await native.ask<{ consumers: string[] | null }>(`CONSUMER.NAMES.${log.name}`)).consumers ?? []
  const countConsumers = async () => (await log.state()).consumer_count
  const residentBytes = () =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${host.pid}/status`, 'utf8'))?.[1] ?? 0) * 1_024

  it('one that falls behind reads history and is live again, with all in order and memory bounded', async () => {
    await makeStream()
    const [fast, slow] = (await openLive(['>', 'large'])) as [EventReader, EventReader]
    let historyReads = 0
    native.client.subscribe(`$JS.API.DIRECT.GET.${log.name}`, {
      callback: () => {
        historyReads += 1
      },
    })
    await native.client.flush()

    // Both live: what memory this volume takes at any rate, and no read of history.
    await publishLarge([fast, slow])
    expect(historyReads).toBe(0)
    const residentBefore = residentBytes()

    slow.pace = 'stopped'
    await publishLarge([fast])
    expect(historyReads).toBe(0)
    const grown = residentBytes() - residentBefore
    expect(slow.position).toBeLessThan(2 * MANY_LARGE)

    slow.pace = 'fast'
    await slow.reach(2 * MANY_LARGE)
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
    await expectAll([fast, slow], 1)
    expect(grown).toBeLessThan(VOLUME_BYTES / 2)
    expect(await countConsumers()).toBe(1)
    for (const reader of [fast, slow]) reader.close()
  })

  it('hold one consumer, which outlives the last of them by some seconds and serves whoever comes back', async () => {
    await makeStream()
    const tails = range(1, 40).map((index) => `of.${index}`)
    const readers = await openLive([...tails, 'of.*', '>'])
    expect(await countConsumers()).toBe(1)
    const names = await consumers()
    await publish(tails)
    await publish(tails)
    await reachEnd(readers)
    await expectAll(readers, 1)

    for (const reader of readers) reader.close()
    const again = await openLive(['>'])
    expect(await consumers()).toEqual(names)
    for (const reader of again) reader.close()
    const closedAt = performance.now()
    await until('the consumer to be gone', async () => (await countConsumers()) === 0)
    expect(performance.now() - closedAt).toBeGreaterThan(3_000)
    expect(performance.now() - closedAt).toBeLessThan(10_000)
  })

  it('go on without a gap or a repeat when their consumer is deleted, or their connection cut, again and again', async () => {
    await makeStream()
    const tails = ['a', 'b', 'a.b', 'c']
    const readers = await openLive(['a', 'b', 'c', '*', 'a.>', '>', '>'])
    const many = range(1, 30).flatMap(() => tails)
    for (const round of range(1, 3)) {
      const publishing = publish(many, `round ${round}`, true)
      for (const name of await consumers())
        await native.ask(`CONSUMER.DELETE.${log.name}.${name}`).catch(() => undefined)
      await publishing
      await reachEnd(readers)
      await until('one consumer again', async () => (await countConsumers()) === 1)
    }
    for (const round of range(4, 6)) {
      const publishing = publish(many, `round ${round}`, true)
      relay.cut()
      await publishing
      await reachEnd(readers)
    }
    await publish(tails)
    await reachEnd(readers)
    await expectAll(readers, 1)
    for (const reader of readers) reader.close()
  })
})
