/** Which form an answer takes by `Accept`, and which refusal comes first: alike on every host. */
import { beforeAll, describe, expect, test } from 'vitest'
import { publishPath } from './client.ts'
import { openRaw } from './raw.ts'
import { onEveryTarget, type TestStream } from './target.ts'

const PAGE = 'application/json'
const LINES = 'application/x-ndjson'
const EVENTS = 'text/event-stream'
const CLOUD = 'application/cloudevents-batch+json'
const NAMES_OF_LINES = [LINES, 'application/ndjson', 'application/jsonl']

/** The form of a page for an `Accept`; 406 where there is none. */
const READS: [accept: string, form: string | 406][] = [
  ['', PAGE],
  [' ', PAGE],
  ['*/*', PAGE],
  ['*', PAGE],
  ['application/*', PAGE],
  ['APPLICATION/JSON', PAGE],
  ['application/json;charset=utf-8', PAGE],
  ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', PAGE],
  ['application/json, text/plain, */*', PAGE],
  [`${LINES};q=0.5, ${PAGE};q=0.4`, LINES],
  [`*/*, ${LINES}`, LINES],
  [`${PAGE}, ${LINES}`, PAGE],
  [`${LINES}, ${PAGE}`, LINES],
  ['application/json;q=0, */*', LINES],
  ['application/json;q=0.0, application/*;q=0.001', LINES],
  ['application/*;q=0, */*', EVENTS],
  ['text/*', EVENTS],
  ['text/*;q=0.9, */*;q=0.1', EVENTS],
  [`text/event-stream;q=0, ${CLOUD}`, CLOUD],
  ['application/json;q=0', 406],
  ['*/*;q=0', 406],
  ['*/*;q=0, application/json;q=0', 406],
  ['text/html', 406],
  ['image/*, text/plain', 406],
  ...NAMES_OF_LINES.map((name): [string, string] => [name, name]),
]

onEveryTarget((target) => {
  let stream: TestStream
  let consumer: string
  beforeAll(async () => {
    stream = await target.makeStream()
    consumer = await target.makeConsumer(stream)
    await target.bridge.publish(stream.subject('a'), '{"n":1}', { 'Content-Type': 'text/plain' })
  })

  /** The head alone: some of these answers have no end. */
  const ask = async (method: string, path: string, headers: Record<string, string>, body = '') => {
    const connection = await openRaw(target.bridge.url, { method, target: path, headers, body })
    try {
      const { status, text } = await connection.head()
      const type = /^content-type: *([^;\r]*)/im.exec(text)?.[1]
      return { status, type }
    } finally {
      connection.vanish()
    }
  }

  describe('Accept', () => {
    test.each(READS)('%j on a read: %s', async (Accept, form) => {
      const { status, type } = await ask('GET', `${stream.path}/messages`, { Accept })

      expect(status === 200 ? type : status).toBe(form)
    })

    test.each([
      ['', PAGE],
      ['*/*', PAGE],
      ['text/plain', 'text/plain'],
      ['image/png', 'text/plain'],
      ['application/json;q=0, */*', 'text/plain'],
      ['application/json;q=0.1, text/plain', 'text/plain'],
      ['application/json, text/plain, */*', PAGE],
      ['application/cloudevents+json', 'application/cloudevents+json'],
      ['application/cloudevents+json;q=0, application/json', PAGE],
      ['application/json;q=0, text/*;q=0, */*', 'application/cloudevents+json'],
    ])('%j on a message: %s', async (Accept, form) => {
      for (const seq of ['1', 'last'])
        expect(await ask('GET', `${stream.path}/messages/${seq}`, { Accept })).toEqual({
          status: 200,
          type: form,
        })
    })

    test.each([
      ['', 200],
      ['*/*', 200],
      ['text/*', 200],
      ['TEXT/Event-Stream', 200],
      ['text/event-stream;q=0, */*', 406],
      ['application/json', 406],
      ['text/event-streams', 406],
    ])('%j on the events of a consumer: %s', async (Accept, status) => {
      expect((await ask('GET', `${consumer}/messages`, { Accept })).status).toBe(status)
    })

    test.each(['', 'image/png', 'application/json;q=0', 'text/*;q=0'])(
      '%j on what has one form: that form',
      async (Accept) => {
        for (const [path, type] of [
          ['/livez', PAGE],
          ['/openapi.json', PAGE],
          ['/docs', 'text/html'],
          [stream.path, PAGE],
        ] as const)
          expect(await ask('GET', path, { Accept })).toEqual({ status: 200, type })
      },
    )
  })

  test.each(NAMES_OF_LINES)(
    'lines in as %s, in any case and with parameters, and results out alike',
    async (name) => {
      for (const type of [name, name.toUpperCase(), `${name}; charset=utf-8`]) {
        const answer = await target.bridge.send('POST /v1/messages', {
          headers: { 'Content-Type': type },
          body: `{"subject":"${stream.subject('lines')}","data":"x"}\n`,
        })
        expect({ status: answer.status, type: answer.headers.get('Content-Type') }).toEqual({
          status: 200,
          type: name,
        })
      }
    },
  )

  describe('405, before anything is said of a type', () => {
    const wrong = () => [
      ['POST', '/livez'],
      ['PUT', '/v1/streams'],
      ['PATCH', stream.path],
      ['POST', stream.path],
      ['POST', `${stream.path}/messages`],
      ['PUT', `${stream.path}/messages/1`],
      ['POST', consumer],
      ['PUT', `${consumer}/pull`],
      ['DELETE', `${consumer}/pull`],
      ['GET', `${consumer}/pull`],
      ['PUT', '/v1/acks'],
      ['PUT', '/v1/messages'],
      ['PUT', publishPath(stream.subject('a'))],
    ]
    test.each([
      ['without a body', {}, ''],
      ['with a body of no type', {}, 'x'],
      ['with a body of another type', { 'Content-Type': 'text/plain' }, 'x'],
      ['with JSON', { 'Content-Type': 'application/json' }, '{}'],
      ['with an Accept that nothing satisfies', { Accept: 'image/png' }, ''],
    ])('%s', async (_, headers, body) => {
      for (const [method = '', path = ''] of wrong())
        expect({ method, path, ...(await ask(method, path, headers, body)) }).toEqual({
          method,
          path,
          status: 405,
          type: 'application/problem+json',
        })
    })

    test('404 at a path that is not there, with any method and body', async () => {
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
        for (const type of ['text/plain', 'application/json'])
          expect((await ask(method, '/v1/nothing', { 'Content-Type': type }, 'x')).status).toBe(404)
    })
  })
})
