/** The contract of paths: what is not percent-encoded UTF-8, or is not plain, is refused, and never taken for something else. */
import { beforeAll, describe, expect, test } from 'vitest'
import type { Problem } from './client.ts'
import { problem } from './expectations.ts'
import { openRaw } from './raw.ts'
import { onEveryTarget, type TestStream } from './target.ts'

onEveryTarget((target) => {
  let stream: TestStream
  beforeAll(async () => {
    // Whatever a path is taken for, this stream would store it.
    stream = await target.makeStream()
  })

  /** The status and problem of a request whose target is sent as it is. */
  const send = async (method: string, path: string, body = '') => {
    const connection = await openRaw(target.bridge.url, {
      method,
      target: path,
      body,
      headers: { 'Content-Type': 'application/json' },
    })
    try {
      const { status, text } = await connection.head()
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
      const start = text.indexOf('\r\n\r\n') + 4
      const whole = await connection.take(start + length)
      const answer = whole.subarray(start).toString()
      return {
        status,
        body: (answer.startsWith('{') ? JSON.parse(answer) : undefined) as Problem | undefined,
      }
    } finally {
      connection.vanish()
    }
  }

  /** Every parameter of every path, as `X` stands for it. */
  const parameters: readonly (readonly [string, string, string])[] = [
    ['subject', 'POST', '/v1/subjects/X/messages'],
    ['stream', 'GET', '/v1/streams/X'],
    ['stream', 'PUT', '/v1/streams/X'],
    ['stream', 'DELETE', '/v1/streams/X'],
    ['stream', 'POST', '/v1/streams/X/purge'],
    ['stream', 'GET', '/v1/streams/X/subjects'],
    ['stream', 'GET', '/v1/streams/X/messages'],
    ['stream', 'GET', '/v1/streams/X/messages/last'],
    ['stream', 'GET', '/v1/streams/X/messages/1'],
    ['stream', 'GET', '/v1/streams/X/consumers'],
    ['stream', 'GET', '/v1/streams/X/consumers/c/messages'],
    ['seq', 'GET', '/v1/streams/STREAM/messages/X'],
    ['seq', 'DELETE', '/v1/streams/STREAM/messages/X'],
    ['consumer', 'GET', '/v1/streams/STREAM/consumers/X'],
    ['consumer', 'PUT', '/v1/streams/STREAM/consumers/X'],
    ['consumer', 'DELETE', '/v1/streams/STREAM/consumers/X'],
    ['consumer', 'POST', '/v1/streams/STREAM/consumers/X/pause'],
    ['consumer', 'POST', '/v1/streams/STREAM/consumers/X/resume'],
    ['consumer', 'POST', '/v1/streams/STREAM/consumers/X/reset'],
    ['consumer', 'POST', '/v1/streams/STREAM/consumers/X/pull'],
    ['consumer', 'GET', '/v1/streams/STREAM/consumers/X/messages'],
  ]
  const pathOf = (path: string, value: string) => path.replace('STREAM', stream.name).replace('X', value)

  // workerd resolves these before the bridge sees them.
  const literalDots = target.name.startsWith('node') ? ['..', '.'] : []

  describe.each(parameters)('%s of %s %s', (name, method, path) => {
    test.each(['%A4%A2', '%F0%27', '%a', '%', '%zz', 'a%ff', '%c0%af', '%ed%a0%80'])(
      `400 naming ${name} when it is %s`,
      async (value) => {
        const answer = await send(method, pathOf(path, value), '{}')
        expect(answer).toMatchObject(problem(400, 'invalid_request', { side_effects: 'none' }))
        expect(answer.body?.errors?.[0]?.field).toBe(name)
      },
    )

    test.each(literalDots)('404 not_found when it is %s', async (value) => {
      expect(await send(method, pathOf(path, value), '{}')).toMatchObject(problem(404, 'not_found'))
    })

    test.each(['%2e%2e', '%2E%2e', '.%2e', '%2e'])('404 not_found when it is %s', async (value) => {
      const answer = await send(method, pathOf(path, value), '{}')
      expect(answer).toMatchObject(problem(404, 'not_found', { side_effects: 'none' }))
    })
  })

  test.each(['/v1/%2e%2e/v1/streams', '/%2e/readyz', '/v1/streams/x/%2e%2e?limit=1', '/v1/streams/%2e'])(
    '404 not_found for the path %s, which other servers would resolve',
    async (path) => {
      expect(await send('GET', path)).toMatchObject(problem(404, 'not_found'))
    },
  )

  describe.each([
    ['subject', `/v1/streams/STREAM/messages?limit=1&subject=X`],
    ['subject', `/v1/streams/STREAM/messages/last?subject=X`],
    ['subject', `/v1/streams/STREAM/subjects?subject=X`],
    ['cursor', `/v1/streams/STREAM/messages?cursor=X`],
    ['query', `/v1/streams/STREAM/messages?X=1`],
  ])('%s of the query of %s', (name, path) => {
    test.each(['%A4%A2', '%a', '%', 'a%zz', '%ed%a0%80'])(
      `400 naming ${name} when it is %s`,
      async (value) => {
        const answer = await send('GET', pathOf(path, value))
        expect(answer).toMatchObject(problem(400, 'invalid_request', { side_effects: 'none' }))
        expect(answer.body?.errors?.[0]?.field).toBe(name)
      },
    )
  })

  test('200 for a filter that is well encoded, a plus sign and an encoded percent sign in it', async () => {
    const orders = await target.makeStream()
    const subject = orders.subject('100%25+é')
    await target.bridge.publish(subject)
    const answer = await target.bridge.page(orders.name, { subject })
    expect(answer.messages.map((message) => message.subject)).toEqual([subject])
  })

  test('400 naming the parameter when a name holds an encoded slash', async () => {
    expect(await send('GET', '/v1/streams/a%2Fb')).toMatchObject(problem(400, 'invalid_request'))
    expect(await send('GET', `${stream.path}/consumers/a%2fb`)).toMatchObject(problem(400, 'invalid_request'))
    expect(await send('GET', `${stream.path}/messages/1%2F2`)).toMatchObject(problem(400, 'invalid_request'))
  })

  test('a subject with what is well encoded, once decoded', async () => {
    const subject = stream.subject('é/%41.b+c?d#e')
    const answer = await send('POST', `/v1/subjects/${encodeURIComponent(subject)}/messages`, 'x')
    expect(answer.status).toBe(201)
    const { messages } = await target.bridge.page(stream.name)
    expect(messages.map((message) => message.subject)).toEqual([subject])
  })
})
