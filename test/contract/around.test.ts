/** The contract of what lies around the operations: health, capabilities, documents, request ids. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { at, problem, range, refusal } from './expectations.ts'
import { onEveryTarget } from './target.ts'

const PUBLISHED = readFileSync(new URL('../../openapi/openapi.json', import.meta.url), 'utf8')

onEveryTarget((target) => {
  const send = (request: string, headers: Record<string, string> = {}) =>
    target.bridge.send(request, { headers })

  describe.each([
    ['getLiveness', '/livez'],
    ['getReadiness', '/readyz'],
  ])('%s', (_, path) => {
    test('200 when all is well', async () => {
      expect((await send(`GET ${path}`)).status).toBe(200)
    })

    test('400 naming an unknown query parameter', async () => {
      expect(await send(`GET ${path}?deep=1`)).toMatchObject(refusal('deep'))
    })
  })

  describe('getCapabilities', () => {
    test('200 with the version of the server, what it supports, and the limits in force', async () => {
      const { status, body } = await send('GET /v1/capabilities')

      expect(status).toBe(200)
      expect(body).toMatchObject({
        server: { version: expect.stringMatching(/^\d+\.\d+\.\d+/) },
        supports: { message_ttl: expect.any(Boolean), consumer_pause: expect.any(Boolean) },
        limits: { max_payload_bytes: expect.any(Number) },
      })
    })

    test('a longest wait below the 50 s after which common proxies give up, and a wait_ms of 60000 accepted', async () => {
      const stream = await target.makeStream()
      await target.bridge.publish(stream.subject('a'))

      expect(target.limits.max_wait_ms).toBeLessThanOrEqual(45_000)
      expect((await target.bridge.page(stream.name, { wait_ms: 60_000 })).messages).toHaveLength(1)
    })

    test('200 with no feature that a release before it does not have', async () => {
      const { body } = await send('GET /v1/capabilities')
      const { server, supports } = body as { server: { version: string }; supports: Record<string, boolean> }
      const minor = Number(server.version.split('.')[1])

      expect(supports).toMatchObject({
        message_ttl: minor >= 11,
        consumer_pause: minor >= 11,
        consumer_reset: minor >= 14,
        counters: minor >= 12,
        atomic_batches: minor >= 12,
        message_schedules: minor >= 12,
        cron_schedules: minor >= 14,
      })
    })
  })

  describe('getOpenApiDocument', () => {
    test('200 with the published contract, in its order', async () => {
      const { bytes } = await send('GET /openapi.json')

      expect(Buffer.from(bytes).toString()).toBe(JSON.stringify(JSON.parse(PUBLISHED)))
    })

    test('200 with OpenAPI 3.1, in which every operation has an id, a summary and its failures', async () => {
      const { status, body } = await send('GET /openapi.json')
      const { openapi, paths } = body as {
        openapi: string
        paths: Record<string, Record<string, Record<string, unknown>>>
      }

      expect(status).toBe(200)
      expect(openapi).toMatch(/^3\.1\./)
      const operations = Object.values(paths).flatMap((path) => Object.values(path))
      expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length)
      for (const { operationId, summary, responses } of operations) {
        expect([
          operationId,
          typeof summary,
          Object.keys(responses as object).some((status) => status >= '400'),
        ]).toEqual([operationId, 'string', true])
      }
    })
  })

  describe('getDocumentation', () => {
    test('200 with the contract as a page', async () => {
      const { status, headers, bytes } = await send('GET /docs')

      expect(status).toBe(200)
      expect(headers.get('Content-Type')).toMatch(/^text\/html/)
      expect(Buffer.from(bytes).toString()).toContain('publishMessage')
    })

    test('a page that explains every code, where the type of a problem leads', async () => {
      const { body } = await send('GET /v1/streams/nothing-here')
      const { type } = body as { type: string }
      const place = new URL(type, target.bridge.url)

      const page = Buffer.from((await send(`GET ${place.pathname}`)).bytes).toString()

      expect(page).toContain(`id="${place.hash.slice(1)}"`)
    })
  })

  describe('X-Request-Id', () => {
    test.each(['abc-123', '01980f2e-5c1b-7cc2-9d0e-3b2a7f6e4c11'])(
      'the one of the request when it is sane: %s',
      async (id) => {
        expect((await send('GET /livez', { 'X-Request-Id': id })).headers.get('X-Request-Id')).toBe(id)

        const refused = await send('GET /v1/streams/nothing-here', { 'X-Request-Id': id })
        expect([
          refused.headers.get('X-Request-Id'),
          (refused.body as { request_id: string }).request_id,
        ]).toEqual([id, id])
      },
    )

    test.each(['x'.repeat(5_000), 'a b', '<script>', 'a,b', '"'])('a new one when it is %j', async (id) => {
      const { headers } = await send('GET /livez', { 'X-Request-Id': id })

      expect(headers.get('X-Request-Id')).not.toBe(id)
      expect(headers.get('X-Request-Id')).toMatch(/^[\w-]{1,255}$/)
    })

    test('another one for each request when none is sent', async () => {
      const ids = await Promise.all(
        range(1, 20).map(async () => (await send('GET /livez')).headers.get('X-Request-Id')),
      )

      expect(new Set(ids).size).toBe(20)
    })
  })

  describe('paths and methods', () => {
    test.each([
      '/nothing',
      '/v1',
      '/v1/',
      '/v1/nothing',
      '/v2/streams',
      '/v1/streams/a/b/c',
      '/v1/streams/x/',
      '/.env',
    ])('404 not_found for %s', async (path) => {
      expect(await send(`GET ${path}`)).toMatchObject(problem(404, 'not_found'))
    })

    test.each([
      ['PATCH', '/v1/streams', ['GET', 'POST']],
      ['DELETE', '/v1/streams', ['GET', 'POST']],
      ['GET', '/v1/acks', ['POST']],
      ['GET', '/v1/subjects/a/messages', ['POST']],
      ['PUT', '/v1/streams/x/messages', ['GET']],
      ['POST', '/livez', ['GET']],
      ['PATCH', '/v1/streams/x', ['GET', 'PUT', 'DELETE']],
    ])('405 method_not_allowed for %s %s, with Allow', async (method, path, allowed) => {
      const answer = await send(`${method} ${path}`)

      expect(answer).toMatchObject(problem(405, 'method_not_allowed', { side_effects: 'none' }))
      const allow = (answer.headers.get('Allow') ?? '').split(',').map((name) => name.trim())
      expect(allow).toEqual(expect.arrayContaining(allowed))
      expect(allow).not.toContain(method)
    })

    test.each(['/livez', '/docs', '/v1/streams'])('HEAD %s as GET, without a body', async (path) => {
      const [head, get] = [await send(`HEAD ${path}`), await send(`GET ${path}`)]

      expect([head.status, head.bytes.length]).toEqual([get.status, 0])
      expect(head.headers.get('Content-Type')).toBe(get.headers.get('Content-Type'))
    })

    test('the start page leads to the documentation or is a page', async () => {
      const response = await fetch(`${target.bridge.url}/`)

      expect(response.status).toBe(200)
      expect(response.headers.get('Content-Type')).toMatch(/^text\/html/)
    })
  })

  describe('problems', () => {
    test('the same members everywhere, the status in it that of the answer, and a request id of its own', async () => {
      const answers = await Promise.all(
        ['GET /nothing', 'PATCH /v1/streams', 'GET /v1/streams/nothing-here', 'GET /v1/streams?x=1'].map(
          (request) => send(request),
        ),
      )

      for (const { body, status, headers } of answers) {
        expect(body).toMatchObject({
          type: expect.any(String),
          title: expect.any(String),
          status,
          detail: expect.any(String),
          code: expect.stringMatching(/^[a-z_]+$/),
          request_id: headers.get('X-Request-Id'),
          retryable: false,
          side_effects: 'none',
        })
      }
      expect(at(answers, 3).body).toHaveProperty('errors')
    })
  })
})
