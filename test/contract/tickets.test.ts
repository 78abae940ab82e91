/** The contract of what browsers need: tickets in place of credentials, and answers to other origins. */
import { describe, expect, test } from 'vitest'
import type { Delivery, Message } from './client.ts'
import { openEvents } from './events.ts'
import { at, problem, range, refusal, seqs } from './expectations.ts'
import { LISTED_ORIGIN, onEveryTarget, type TestStream } from './target.ts'

interface Ticket {
  readonly ticket: string
  readonly url: string
  readonly open_until: string
  readonly valid_until: string
}

onEveryTarget((target) => {
  const create = (json: unknown) => target.bridge.send<Ticket>('POST /v1/tickets', { json })
  const makeTicket = async (json: unknown) => (await create(json)).body
  const fill = async (stream: TestStream, first: number, last: number) => {
    for (const n of range(first, last))
      await target.bridge.publish(stream.subject(n % 2 ? 'odd' : 'even'), `m${n}`)
  }
  /** The path and query of a ticket's URL, whose host may be the bridge's public name. */
  const pathOf = ({ url }: Ticket) => new URL(url).pathname + new URL(url).search
  const open = (ticket: Ticket, headers: Record<string, string> = {}) =>
    openEvents(target.bridge, pathOf(ticket), { headers })
  const refused = (path: string, headers: Record<string, string> = {}) =>
    target.bridge.send(`GET ${path}`, { headers: { Accept: 'text/event-stream', ...headers } })

  describe('createTicket', () => {
    test('201 with a URL that opens the stream with its filter from its start, and resumes by Last-Event-ID', async () => {
      const stream = await target.makeStream()
      await fill(stream, 1, 4)
      const before = Date.now()

      const { status, body } = await create({
        stream: stream.name,
        subjects: [stream.subject('odd')],
        start: 'beginning',
      })

      expect(status).toBe(201)
      expect(body).toEqual({
        ticket: expect.any(String),
        url: expect.stringContaining(encodeURIComponent(body.ticket)),
        open_until: expect.any(String),
        valid_until: expect.any(String),
      })
      expect(Date.parse(body.open_until) - before).toBeLessThan(70_000)
      expect(Date.parse(body.valid_until)).toBeGreaterThan(Date.parse(body.open_until))
      const first = await open(body)
      expect(first.headers.get('Referrer-Policy')).toBe('no-referrer')
      expect(seqs(await first.take<Message>('message', 2))).toEqual([1, 3])
      const { id = '' } = at(
        first.events.filter(({ event }) => event === 'message'),
        0,
      )
      first.close()
      const second = await open(body, { 'Last-Event-ID': id })
      await fill(stream, 5, 5)
      expect(seqs(await second.take<Message>('message', 2))).toEqual([3, 5])
      second.close()
    })

    test('201 with a URL that goes on from a cursor', async () => {
      const stream = await target.makeStream()
      await fill(stream, 1, 4)
      const { cursor } = await target.bridge.page(stream.name, { limit: 2 })

      const events = await open(await makeTicket({ stream: stream.name, cursor }))

      expect(seqs(await events.take<Message>('message', 2))).toEqual([3, 4])
      events.close()
    })

    test('201 with a URL for the messages of a consumer', async () => {
      const stream = await target.makeStream()
      await fill(stream, 1, 2)
      const consumer = at((await target.makeConsumer(stream)).split('/'), -1)

      const events = await open(await makeTicket({ stream: stream.name, consumer }))

      const [delivery] = await events.take<Delivery>('message', 1)
      expect(await target.bridge.settle({ token: delivery?.ack_token ?? '', action: 'ack' })).toEqual([
        { status: 'ok' },
      ])
      events.close()
    })

    test('401 ticket_invalid for anything but what the ticket is for', async () => {
      const [stream, other] = [await target.makeStream(), await target.makeStream()]
      const consumer = await target.makeConsumer(stream)
      const { ticket } = await makeTicket({ stream: stream.name })

      for (const path of [`${other.path}/messages`, `${consumer}/messages`]) {
        expect(await refused(`${path}?ticket=${ticket}`)).toMatchObject(problem(401, 'ticket_invalid'))
      }
      for (const request of [
        `GET ${stream.path}`,
        `POST ${stream.path}/purge`,
        'GET /v1/streams',
        `DELETE ${stream.path}/messages/1`,
      ]) {
        const answer = await target.bridge.send(request, { query: { ticket } })
        expect({ request, refused: [400, 401].includes(answer.status) }).toEqual({ request, refused: true })
      }
    })

    test('401 ticket_invalid when it is not one of ours', async () => {
      const stream = await target.makeStream()
      const { ticket } = await makeTicket({ stream: stream.name })

      for (const forged of ['x', ticket.slice(0, -1), `${ticket}A`, `${ticket.slice(0, -2)}AA`]) {
        expect(await refused(`${stream.path}/messages?ticket=${forged}`)).toMatchObject(
          problem(401, 'ticket_invalid'),
        )
      }
    })

    test("a refusal of another filter, start or cursor than the ticket's", async () => {
      const stream = await target.makeStream()
      const { ticket } = await makeTicket({ stream: stream.name, subjects: [stream.subject('odd')] })

      for (const query of [`subject=${stream.subject('even')}`, 'start=beginning', 'cursor=x']) {
        const { status } = await refused(`${stream.path}/messages?ticket=${ticket}&${query}`)
        expect({ query, refused: [400, 401].includes(status) }).toEqual({ query, refused: true })
      }
    })

    test('a refusal of a Last-Event-ID that this stream and filter did not give out', async () => {
      const stream = await target.makeStream()
      await fill(stream, 1, 2)
      const { cursor } = await target.bridge.page(stream.name)
      const { ticket } = await makeTicket({ stream: stream.name, subjects: [stream.subject('odd')] })

      for (const id of ['x', cursor]) {
        const { status } = await refused(`${stream.path}/messages?ticket=${ticket}`, { 'Last-Event-ID': id })
        expect({ id, status: [400, 401, 409].includes(status) }).toEqual({ id, status: true })
      }
    })

    test('404 when the stream or the consumer does not exist', async () => {
      const stream = await target.makeStream()

      expect(await create({ stream: 'nothing-here' })).toMatchObject(problem(404, 'stream_not_found'))
      expect(await create({ stream: stream.name, consumer: 'nobody' })).toMatchObject(
        problem(404, 'consumer_not_found'),
      )
    })

    test('400 cursor_invalid, 409 cursor_mismatch when the cursor is not good for it', async () => {
      const [stream, other] = [await target.makeStream(), await target.makeStream()]
      const { cursor } = await target.bridge.page(other.name)

      expect(await create({ stream: stream.name, cursor: 'x' })).toMatchObject(problem(400, 'cursor_invalid'))
      expect(await create({ stream: stream.name, cursor })).toMatchObject(problem(409, 'cursor_mismatch'))
    })

    test.each([
      ['stream', {}],
      ['stream', { stream: 'a b' }],
      ['subjects.0', { stream: 'x', subjects: ['a..b'] }],
      ['start', { stream: 'x', start: 'whenever' }],
      ['valid_ms', { stream: 'x', valid_ms: 5 }],
    ])('400 naming %s in %j', async (field, json) => {
      expect(await create(json)).toMatchObject(refusal(field))
    })
  })

  describe('other origins', () => {
    test('nothing for a page of an origin that is not listed', async () => {
      const origin = 'https://not-listed.example.net'
      const preflight = await fetch(`${target.bridge.url}/v1/streams`, {
        method: 'OPTIONS',
        headers: { Origin: origin, 'Access-Control-Request-Method': 'GET' },
      })
      const { headers } = await target.bridge.send('GET /v1/streams', { headers: { Origin: origin } })

      expect(preflight.headers.get('Access-Control-Allow-Origin')).toBeNull()
      expect(headers.get('Access-Control-Allow-Origin')).toBeNull()
      expect(headers.get('Vary')).toMatch(/\bOrigin\b/)
    })

    test.runIf(target.isOwn)('all that is promised for a page of a listed origin', async () => {
      const asked = [
        'authorization',
        'idempotency-key',
        'if-match',
        'if-none-match',
        'last-event-id',
        'natsh-order-id',
        'content-type',
      ]
      const preflight = await fetch(`${target.bridge.url}/v1/subjects/a/messages`, {
        method: 'OPTIONS',
        headers: {
          Origin: LISTED_ORIGIN,
          'Access-Control-Request-Method': 'POST',
          'Access-Control-Request-Headers': asked.join(','),
        },
      })
      const answer = await target.bridge.send('GET /v1/streams', { headers: { Origin: LISTED_ORIGIN } })
      const list = (headers: Headers, name: string) => (headers.get(name) ?? '').toLowerCase().split(/ *, */)

      expect(preflight.ok).toBe(true)
      expect(preflight.headers.get('Access-Control-Allow-Origin')).toBe(LISTED_ORIGIN)
      expect(Number(preflight.headers.get('Access-Control-Max-Age'))).toBeGreaterThan(0)
      expect(list(preflight.headers, 'Access-Control-Allow-Headers')).toEqual(expect.arrayContaining(asked))
      expect(list(preflight.headers, 'Access-Control-Allow-Methods')).toContain('post')
      expect(answer.headers.get('Access-Control-Allow-Origin')).toBe(LISTED_ORIGIN)
      expect(answer.headers.get('Vary')).toMatch(/\bOrigin\b/)
      expect(list(answer.headers, 'Access-Control-Expose-Headers')).toEqual(
        expect.arrayContaining(['x-request-id', 'location', 'link', 'etag', 'retry-after']),
      )
    })
  })
})
