/** The log's contract on every host: one line of JSON a request, in time, and nothing of what was sent. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../contract/expectations.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const linesOf = (host: TestHost, requestId: string) =>
  readFileSync(host.logPath, 'utf8')
    .split('\n')
    .filter((line) => line.includes(`"${requestId}"`))
    .map((line) => JSON.parse(line) as Record<string, unknown>)

describe.each(HOSTS)('on %s', (name) => {
  let nats: TestNats
  const hosts: TestHost[] = []

  const start = async (LOG: string) => {
    const host = await startHost(name, { natsUrl: nats.wsUrl, env: { LOG } })
    hosts.push(host)
    return host
  }
  const get = async (host: TestHost, path: string, id: string) => {
    const answer = await fetch(`${host.url}${path}`, { headers: { 'X-Request-Id': id } })
    await answer.arrayBuffer()
  }

  beforeAll(async () => {
    nats = await startNats()
  })
  afterAll(async () => {
    for (const host of hosts) await host.stop()
    await nats.stop()
  })

  test.each(['all', 'on'])(
    'LOG=%s: one line for each request, with the pattern of its route',
    async (LOG) => {
      const host = await start(LOG)

      await get(host, '/v1/streams/secret-name/messages?cursor=secret-cursor', 'refused-1')
      await get(host, '/v1/streams', 'fine-1')
      await get(host, '/nothing/secret-path', 'missing-1')
      await until('three lines', async () =>
        ['refused-1', 'fine-1', 'missing-1'].every((id) => linesOf(host, id).length === 1),
      )

      const line = {
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        method: 'GET',
        duration_ms: expect.any(Number),
      }
      expect(linesOf(host, 'refused-1')).toEqual([
        {
          ...line,
          level: 'info',
          request_id: 'refused-1',
          route: '/v1/streams/{stream}/messages',
          status: 400,
          code: 'cursor_invalid',
        },
      ])
      expect(linesOf(host, 'fine-1')).toEqual([
        { ...line, level: 'info', request_id: 'fine-1', route: '/v1/streams', status: 200 },
      ])
      expect(linesOf(host, 'missing-1')).toEqual([
        {
          ...line,
          level: 'info',
          request_id: 'missing-1',
          route: 'unmatched',
          status: 404,
          code: 'not_found',
        },
      ])
      expect(host.logTail(1_000)).not.toMatch(/secret/)
    },
  )

  test('LOG=failures: refused requests alone; LOG=off: none', async () => {
    const [failures, off] = [await start('failures'), await start('off')]

    for (const host of [failures, off]) {
      await get(host, '/v1/streams', 'fine-2')
      await get(host, '/v1/streams/nothing', 'refused-2')
    }
    await until('the refused one', async () => linesOf(failures, 'refused-2').length === 1)

    expect([linesOf(failures, 'fine-2'), linesOf(off, 'refused-2')]).toEqual([[], []])
  })

  test('nothing lost that was answered right before the end', async () => {
    const host = await start('all')
    const ids = Array.from({ length: 200 }, (_, index) => `last-${index}`)

    await Promise.all(ids.map((id) => get(host, '/v1/nothing', id)))
    await host.stop()

    expect(ids.filter((id) => linesOf(host, id).length !== 1)).toEqual([])
  })
})
