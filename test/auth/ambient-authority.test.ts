/** The proof that no page of another site has a browser do something by the bridge's own credential. */
import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, test } from 'vitest'
import { type ConsumerBody, publishPath, type StreamBody } from '../contract/client.ts'
import { openEvents } from '../contract/events.ts'
import { authorizationText, basic, createTicket, expectProblem, onEveryHost, pathOf } from './support.ts'
import { ADMIN, ALICE, BOB, makeStream, makeStreams } from './users.ts'

const LISTED = 'https://app.example.com'
/** What a browser says of a request of another page, and of one of another port of this machine. */
const FOREIGN = ['cross-site', 'same-site', 'cross-site, none', 'None', '']
const OWN = ['same-origin', 'none']

/** GETs that take nothing and change nothing: every other operation needs to know whose page it is. */
const ONLY_READ = new Set([
  'getCapabilities',
  'getConsumer',
  'getDocumentation',
  'getLastMessage',
  'getLiveness',
  'getMessage',
  'getMetrics',
  'getOpenApiDocument',
  'getReadiness',
  'getStream',
  'listConsumers',
  'listStreams',
  'listSubjects',
  'readMessages',
])

interface Operation {
  readonly operationId: string
  readonly request: string
}

const operations = (): Operation[] => {
  const { paths } = JSON.parse(
    readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8'),
  ) as { paths: Record<string, Record<string, { operationId: string }>> }
  const values: Record<string, string> = { stream: 'WORK', consumer: 'billing', subject: 'work.a', seq: '1' }
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId }]) => ({
      operationId,
      request: `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, (_, name: string) => values[name.replace('_name', '')] ?? name)}`,
    })),
  )
}

onEveryHost({ configText: '', env: { AUTH: 'none', CORS_ORIGINS: LISTED } }, (guarded) => {
  const send = (request: string, headers: Record<string, string>) =>
    guarded.bridge.send(request, {
      headers,
      ...(/^(POST|PUT)/.test(request) ? { json: {} } : {}),
      raw: true,
    })
  beforeAll(async () => {
    await makeStream(guarded.bridge, 'WORK', 'work.>')
    await guarded.bridge.publish('work.a', 'task')
    await guarded.bridge.ok('PUT /v1/streams/WORK/consumers/billing', { json: {} })
  })
  const untouched = async () => {
    const { state } = await guarded.bridge.ok<StreamBody>('GET /v1/streams/WORK')
    const consumer = await guarded.bridge.ok<ConsumerBody>('GET /v1/streams/WORK/consumers/billing')
    expect([state.last_seq, state.messages, consumer.num_pending, consumer.num_ack_pending]).toEqual([
      1, 1, 1, 0,
    ])
  }

  const acting = operations().filter(({ operationId }) => !ONLY_READ.has(operationId))
  describe.each(acting)('$operationId', ({ request }) => {
    test.each(FOREIGN)(
      '403 forbidden to a page, without an Origin, where Sec-Fetch-Site is "%s"',
      async (site) => {
        // An image, a form, a link: what a page has a browser do without asking first.
        for (const more of [
          {},
          { Accept: 'text/event-stream' },
          { Accept: 'image/avif,*/*;q=0.8' },
          { Authorization: basic(ALICE) },
        ]) {
          expectProblem(await send(request, { 'Sec-Fetch-Site': site, ...more }), 403, 'forbidden')
        }
        await untouched()
      },
    )

    test('403 forbidden to the origin of a sandbox', async () => {
      for (const site of [...FOREIGN, ...OWN])
        expectProblem(await send(request, { 'Sec-Fetch-Site': site, Origin: 'null' }), 403, 'forbidden')
      await untouched()
    })
  })

  test('however the path of the events of a consumer is spelled, and however it is asked for', async () => {
    for (const request of [
      'GET /v1/streams/WORK/consumers/billing/mess%61ges',
      'GET /v1/%73treams/WORK/consumers/billing/messages',
      'GET /v1/streams/WORK/consumers/billing/messages?payload=json',
      'GET /v1/streams/WORK/consumers/billing/messages?ticket=',
      'HEAD /v1/streams/WORK/consumers/billing/messages',
    ]) {
      const { status } = await send(request, { 'Sec-Fetch-Site': 'cross-site' })
      expect([request, [401, 403, 404].includes(status)]).toEqual([request, true])
    }
    await untouched()
  })

  const reading = operations().filter(({ operationId }) => ONLY_READ.has(operationId))
  test.each(reading)(
    '$operationId is answered to any browser, which shows it to no page of another site',
    async ({ request }) => {
      for (const site of ['cross-site', 'same-site', ...OWN]) {
        const { status, headers } = await send(request, { 'Sec-Fetch-Site': site })
        expect([site, status, request]).toEqual([site, 200, request])
        expect(headers.get('Access-Control-Allow-Origin')).toBeNull()
      }
    },
  )

  test("a listed page, the bridge's own, its user, a client that is no browser, and a ticket do all they may", async () => {
    const own = guarded.bridge.url
    for (const headers of [
      { 'Sec-Fetch-Site': 'cross-site', Origin: LISTED },
      { 'Sec-Fetch-Site': 'same-origin', Origin: own },
      { 'Sec-Fetch-Site': 'same-origin' },
      { 'Sec-Fetch-Site': 'none' },
      {},
    ] as Record<string, string>[]) {
      expect((await send('POST /v1/streams/WORK/purge', headers)).status).toBe(200)
      expect(
        (await guarded.bridge.send(`POST ${publishPath('work.a')}`, { headers, body: 'x' })).status,
      ).toBe(201)
      const path = '/v1/streams/WORK/consumers/billing/messages'
      const events = await openEvents(guarded.bridge, path, { headers })
      await events.take('message', 1)
      events.close()
      await guarded.bridge.ok('POST /v1/streams/WORK/purge', { json: {} })
    }
    const ticket = await createTicket(guarded.bridge, { stream: 'WORK', consumer: 'billing' })
    await guarded.bridge.publish('work.a', 'task')
    const events = await openEvents(guarded.bridge, pathOf(ticket), {
      headers: { 'Sec-Fetch-Site': 'cross-site' },
    })
    await events.take('message', 1)
    events.close()
  })
})

onEveryHost({ configText: authorizationText([ADMIN, ALICE, BOB]), prepare: makeStreams }, (guarded) => {
  test('a credential of its own is no ambient authority', async () => {
    const answer = await guarded.caller(ALICE).send(`POST ${publishPath('orders.eu')}`, {
      headers: { 'Sec-Fetch-Site': 'cross-site' },
      body: 'x',
    })
    expect(answer.status).toBe(201)
  })
})
