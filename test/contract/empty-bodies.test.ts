/** Requests without a body, as clients of many languages send them: whatever type and framing they name for it. */
import { beforeAll, describe, expect, test } from 'vitest'
import { openRaw } from './raw.ts'
import { onEveryTarget, type TestStream } from './target.ts'

/** What clients say of a body that they do not send. */
const TYPES = [
  undefined,
  'application/json',
  'application/json;charset=utf-8',
  'application/x-www-form-urlencoded',
  'text/plain;charset=UTF-8',
  'application/octet-stream',
  'multipart/form-data; boundary=x',
  '',
]
const FRAMINGS = {
  'Content-Length: 0': { headers: ['Content-Length: 0'], body: '' },
  'an empty chunked body': { headers: ['Transfer-Encoding: chunked'], body: '0\r\n\r\n' },
  'no framing': { headers: [], body: '' },
}
type Framing = keyof typeof FRAMINGS

onEveryTarget((target) => {
  let stream: TestStream
  let consumer: string
  beforeAll(async () => {
    stream = await target.makeStream()
    consumer = await target.makeConsumer(stream)
  })

  const send = async (request: string, framing: Framing, type: string | undefined, more: string[] = []) => {
    const [method = '', path = ''] = request.split(' ')
    const { headers, body } = FRAMINGS[framing]
    const lines = [...headers, ...(type === undefined ? [] : [`Content-Type: ${type}`]), ...more]
    const connection = await openRaw(target.bridge.url, {
      method,
      target: path,
      headers: { Connection: 'close' },
      framing: lines,
      body,
    })
    try {
      return (await connection.head()).status
    } finally {
      connection.vanish()
    }
  }

  describe.each(Object.keys(FRAMINGS) as Framing[])('a body that is not there, with %s', (framing) => {
    test('taken by every operation that needs none, whatever its type', async () => {
      const requests = [
        [`PUT ${stream.path}/consumers/of-nothing`, [200, 201]],
        [`POST ${stream.path}/purge`, [200]],
        [`POST ${consumer}/pull`, [200]],
        // Older servers do not have these two.
        [`POST ${consumer}/resume`, target.supports.consumer_pause ? [200] : [501]],
        [`POST ${consumer}/reset`, target.supports.consumer_reset ? [200] : [501]],
      ] as const
      for (const [request, expected] of requests)
        for (const type of TYPES) {
          const status = await send(request, framing, type)
          expect({ request, type, status, taken: expected.some((one) => one === status) }).toMatchObject({
            taken: true,
          })
        }
    })

    test('400, not 415, by every operation that needs one', async () => {
      for (const request of [
        'POST /v1/streams',
        'POST /v1/tickets',
        'POST /v1/acks',
        `POST ${consumer}/pause`,
      ])
        for (const type of TYPES)
          expect({ request, type, status: await send(request, framing, type) }).toEqual({
            request,
            type,
            status: 400,
          })
    })

    test('taken when it names a compression', async () => {
      expect(await send(`POST ${consumer}/pull`, framing, undefined, ['Content-Encoding: gzip'])).toBe(200)
    })

    test('an empty message where a message is published', async () => {
      const request = `POST /v1/subjects/${stream.subject('empty')}/messages`
      for (const type of [undefined, 'application/json', 'text/plain'])
        expect(await send(request, framing, type)).toBe(201)
    })
  })

  test('400 naming the fields that are missing, when there is no body', async () => {
    const lacking = async (request: string) => {
      const { status, body } = await target.bridge.send<{ errors: { field: string }[] }>(request)
      return { status, fields: body.errors.map(({ field }) => field) }
    }
    expect(await lacking('POST /v1/streams')).toEqual({ status: 400, fields: ['name'] })
    expect(await lacking('POST /v1/tickets')).toEqual({ status: 400, fields: ['stream'] })
    expect(await lacking('POST /v1/acks')).toEqual({ status: 400, fields: ['acks'] })
  })

  test('{} taken where no body is needed, and white space refused, since it is no JSON', async () => {
    const send = (body: string, type = 'application/json') =>
      target.bridge.send(`POST ${consumer}/pull`, { body, headers: { 'Content-Type': type } })
    expect((await send('{}')).status).toBe(200)
    expect((await send(' \r\n')).status).toBe(400)
    expect((await send(' ', 'text/plain')).status).toBe(415)
  })

  test('415 when there is a body of another type, also where none is needed', async () => {
    for (const request of [
      `POST ${consumer}/resume`,
      `POST ${consumer}/reset`,
      `POST ${stream.path}/purge`,
    ]) {
      const answer = await target.bridge.send(request, {
        body: 'x',
        headers: { 'Content-Type': 'text/plain' },
      })
      expect({ request, status: answer.status }).toEqual({ request, status: 415 })
    }
  })

  test('400 naming a field of a body where no operation reads one', async () => {
    const { status, body } = await target.bridge.send(`POST ${consumer}/resume`, { json: { until: 1 } })
    expect({ status, body }).toMatchObject({ status: 400, body: { errors: [{ field: 'until' }] } })
  })
})
