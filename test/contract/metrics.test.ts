/** The contract of a host's figures: their format, what they count, and that their labels are bounded. */
import { expect, test } from 'vitest'
import { parseExposition } from '../support/prometheus.ts'
import { openEvents } from './events.ts'
import { at, range, refusal, until } from './expectations.ts'
import { onEveryTarget, type Target } from './target.ts'

const read = async ({ bridge }: Target) => {
  const { bytes } = await bridge.send('GET /metrics')
  return parseExposition(Buffer.from(bytes).toString())
}

onEveryTarget(
  (target) => {
    /** How much a figure has grown since it was read before. */
    const growing = async (name: string, labels: Record<string, string> = {}) => {
      const before = (await read(target)).total(name, labels)
      return async () => (await read(target)).total(name, labels) - before
    }

    test('200 in the text format of Prometheus, with what it is about', async () => {
      const { status, headers, bytes } = await target.bridge.send('GET /metrics')

      expect(status).toBe(200)
      expect(headers.get('Content-Type')).toBe('text/plain; version=0.0.4; charset=utf-8')
      expect(headers.get('Cache-Control')).toBe('no-store')
      const { families, total } = parseExposition(Buffer.from(bytes).toString())
      expect(families.every(({ help }) => help !== '')).toBe(true)
      expect(total('sluice_build_info')).toBe(1)
    })

    test('400 naming an unknown query parameter, and a shard that there is not', async () => {
      expect(await target.bridge.send('GET /metrics?deep=1')).toMatchObject(refusal('deep'))
      expect(await target.bridge.send('GET /metrics?shard=63')).toMatchObject(refusal('shard'))
    })

    test('requests by the pattern of their route, never by their path', async () => {
      const labels = { route: '/v1/streams/{stream}', method: 'GET', status: '404' }
      const grown = await growing('sluice_http_requests_total', labels)
      const timed = await growing('sluice_http_request_duration_seconds_count', { route: labels.route })

      await target.bridge.send('GET /v1/streams/no-such-stream-b3a')
      await target.bridge.send('GET /v1/no-such-path-b3a')

      expect([await grown(), await timed()]).toEqual([1, 1])
      const { bytes } = await target.bridge.send('GET /metrics')
      expect(Buffer.from(bytes).toString()).not.toContain('b3a')
      expect(
        parseExposition(Buffer.from(bytes).toString()).total('sluice_http_requests_total', {
          route: 'unmatched',
        }),
      ).toBeGreaterThan(0)
    })

    test('every odd method as one', async () => {
      const grown = await growing('sluice_http_requests_total', { method: 'other' })

      for (const method of ['PROPFIND', 'LOCK']) await fetch(`${target.bridge.url}/v1/streams`, { method })

      expect(await grown()).toBe(2)
    })

    test('publishes, and deliveries by the way they took', async () => {
      const stream = await target.makeStream()
      const grown = {
        publishes: await growing('sluice_publishes_total'),
        page: await growing('sluice_deliveries_total', { via: 'page' }),
        lines: await growing('sluice_deliveries_total', { via: 'lines' }),
        pull: await growing('sluice_deliveries_total', { via: 'pull' }),
        push: await growing('sluice_deliveries_total', { via: 'push' }),
      }
      for (const index of range(1, 5)) await target.bridge.publish(stream.subject('a'), `${index}`)
      await target.bridge.page(stream.name, { limit: 2 })
      await target.bridge.send(`GET ${stream.path}/messages?limit=3`, {
        headers: { Accept: 'application/x-ndjson' },
      })
      await target.bridge.pull(await target.makeConsumer(stream), { batch: 4 })
      const events = await openEvents(target.bridge, `${await target.makeConsumer(stream)}/messages`)
      await events.take('message', 5)
      await until('all to be counted', async () => (await grown.push()) === 5)
      events.close()

      expect([await grown.publishes(), await grown.page(), await grown.lines(), await grown.pull()]).toEqual([
        5, 2, 3, 4,
      ])
    })

    test('redeliveries', async () => {
      const stream = await target.makeStream()
      const consumer = await target.makeConsumer(stream)
      await target.bridge.publish(stream.subject('a'))
      const grown = await growing('sluice_redeliveries_total')

      const first = await target.bridge.pull(consumer)
      expect(await grown()).toBe(0)
      await target.bridge.settle({ token: at(first.messages, 0).ack_token, action: 'nak' })
      await target.bridge.pull(consumer, { wait_ms: 5_000 })

      expect(await grown()).toBe(1)
    })

    test('open streams of events, those who wait, and the connection to NATS', async () => {
      const stream = await target.makeStream()
      const open = async () => (await read(target)).total('sluice_event_streams')
      const waiting = async () => (await read(target)).total('sluice_waiting_requests')
      await until('those of before to be gone', async () => (await open()) === 0 && (await waiting()) === 0)
      const events = await openEvents(target.bridge, `${stream.path}/messages`)
      const abort = new AbortController()
      const pulled = target.bridge
        .open(`POST ${await target.makeConsumer(stream)}/pull`, {
          json: { wait_ms: 20_000 },
          signal: abort.signal,
        })
        .catch(() => undefined)

      expect(await open()).toBe(1)
      expect((await read(target)).total('sluice_nats_connections')).toBeGreaterThan(0)
      await until('the pull to wait', async () => (await waiting()) === 1)
      events.close()
      abort.abort()
      await pulled
      await until('both to be gone', async () => (await open()) === 0 && (await waiting()) === 0)
    })

    test('nothing left in flight but the one that asks', async () => {
      await until('quiet', async () => (await read(target)).total('sluice_http_requests_in_flight') === 1)
    })
  },
  // All figures are those of one host.
  { CONNECTION_SHARDS: '1', READER_SHARDS: '1' },
)
