/** The contract of CloudEvents: in and out in every mode, checked with the specification's own SDK. */
import { CloudEvent, HTTP, type Message as Sent } from 'cloudevents'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Published } from './client.ts'
import { openEvents } from './events.ts'
import { at, problem, range, refusal } from './expectations.ts'
import { failed } from './results.ts'
import { onEveryTarget, type TestStream } from './target.ts'

type Headers = Record<string, string>
interface Results {
  readonly results: readonly (Published & { readonly index: number; readonly error?: { code: string } })[]
}

const BATCH = 'application/cloudevents-batch+json'
const EVENT = 'application/cloudevents+json'

/** Events of every kind of data, with extensions and text outside of ASCII. */
const kinds = (stream: TestStream): CloudEvent<unknown>[] => {
  const like = (id: string, more: object) =>
    new CloudEvent({
      id,
      source: '/shop/eu',
      type: 'com.example.order',
      time: '2026-11-20T09:00:00.000Z',
      subject: stream.subject(id),
      ...more,
    })
  return [
    like('json', { datacontenttype: 'application/json', data: { id: 7, text: 'ä "€" 🚢\n' } }),
    like('text', { datacontenttype: 'text/plain', data: 'täxt' }),
    like('xml', { datacontenttype: 'application/xml', data: '<a>ä</a>' }),
    like('bytes', {
      datacontenttype: 'image/png',
      data_base64: Buffer.from([0, 255, 128]).toString('base64'),
    }),
    like('none', { dataschema: 'https://example.com/schema' }),
    like('extended', {
      time: '2026-11-20T10:00:00.000Z',
      region: 'eu "%41" 🚢',
      datacontenttype: 'application/json',
      data: { n: 5 },
    }),
  ]
}

/** An event as plain data; what the SDK keeps of bytes beside their base64 is left out. */
const plain = (event: CloudEvent<unknown>) => {
  const { data, data_base64, ...attributes } = event.toJSON() as Record<string, unknown>
  return { ...attributes, ...(data_base64 === undefined ? { data } : { data_base64 }) }
}

onEveryTarget((target) => {
  const post = <Body = Published>(
    path: string,
    { headers, body }: Sent<unknown>,
    query: Record<string, string> = {},
  ) => target.bridge.send<Body>(`POST ${path}`, { headers: headers as Headers, body: body as string, query })
  const structured = (
    event: CloudEvent<unknown>,
    query: Record<string, string> = {},
    headers: Headers = {},
  ) => {
    const sent = HTTP.structured(event)
    return post('/v1/messages', { ...sent, headers: { ...sent.headers, ...headers } }, query)
  }
  const readBatch = async (stream: TestStream, query: Record<string, string> = {}) => {
    const answer = await target.bridge.send<Record<string, unknown>[]>(`GET ${stream.path}/messages`, {
      headers: { Accept: BATCH },
      query,
    })
    expect(answer.status).toBe(200)
    return answer
  }

  describe('publishMessages', () => {
    let stream: TestStream
    beforeAll(async () => {
      stream = await target.makeStream()
    })

    test('201 and the same events out in a batch, as the SDK reads them, from structured mode', async () => {
      const orders = await target.makeStream()
      for (const event of kinds(orders)) expect((await structured(event)).status).toBe(201)

      const { bytes, headers } = await readBatch(orders)

      expect(headers.get('Content-Type')).toBe(BATCH)
      const read = HTTP.toEvent({ headers: { 'content-type': BATCH }, body: Buffer.from(bytes).toString() })
      expect([read].flat().map((event) => plain(event as CloudEvent<unknown>))).toEqual(
        kinds(orders).map(plain),
      )
    })

    test('201 and the same events out one by one, as the SDK reads structured mode, from binary mode', async () => {
      const orders = await target.makeStream()
      // The SDK leaves percent-encoding, which the binding asks for, to its callers.
      const encodeHeaders = (headers: Headers) =>
        Object.fromEntries(
          Object.entries(headers).map(([name, value]) => [
            name,
            name === 'content-type' ? value : encodeURI(value),
          ]),
        )
      for (const event of kinds(orders)) {
        const { headers, body } = HTTP.binary(event)
        const bytes = event.data_base64
          ? Buffer.from(event.data_base64, 'base64')
          : ((body as string | undefined) ?? '')
        const sent = { headers: encodeHeaders(headers as Headers), body: bytes }
        expect((await target.bridge.send(`POST /v1/messages`, sent)).status).toBe(201)
      }

      for (const [index, event] of kinds(orders).entries()) {
        const { bytes } = await target.bridge.send(`GET ${orders.path}/messages/${index + 1}`, {
          headers: { Accept: EVENT },
        })
        const read = HTTP.toEvent({ headers: { 'content-type': EVENT }, body: Buffer.from(bytes).toString() })
        // The SDK says a type where the event says none.
        const sent = { ...plain(event), datacontenttype: HTTP.binary(event).headers['content-type'] }
        expect(plain(read as CloudEvent<unknown>)).toEqual(sent)
      }
    })

    test('the event in binary mode, as the SDK reads it, when a message is asked for raw', async () => {
      const orders = await target.makeStream()
      const [json] = kinds(orders)
      if (json) await structured(json)

      const { bytes, headers } = await target.bridge.send(`GET ${orders.path}/messages/1`, {
        headers: { Accept: 'application/octet-stream' },
        raw: true,
      })

      expect(Object.fromEntries(headers)).toMatchObject({
        'ce-specversion': '1.0',
        'ce-id': 'json',
        'content-type': 'application/json',
      })
      const read = HTTP.toEvent<{ id: number }>({
        headers: Object.fromEntries(headers),
        body: Buffer.from(bytes).toString(),
      })
      expect(read).toMatchObject({ id: 'json', type: 'com.example.order', data: { id: 7 } })
    })

    test('200 with a result for each event of a batch, a bad one among them', async () => {
      const orders = await target.makeStream()
      const events = kinds(orders).map((event) => event.toJSON() as object)

      const answer = await post<Results>('/v1/messages', {
        headers: { 'content-type': BATCH },
        body: JSON.stringify([...events, { specversion: '1.0', id: 'no source', type: 't' }, 'no event']),
      })

      expect(answer.status).toBe(200)
      expect(answer.body.results.map(({ seq, error }) => seq ?? error?.code)).toEqual([
        ...range(1, events.length),
        'invalid_request',
        'invalid_request',
      ])
    })

    test('200 and duplicate for an event that comes again by its source and id, in any mode', async () => {
      const orders = await target.makeStream()
      const event = new CloudEvent({
        id: '1',
        source: '/a',
        type: 't',
        data: { x: 1 },
        datacontenttype: 'application/json',
      })
      const { headers, body } = HTTP.binary(event)
      const sent = { headers: headers as Headers, body: body as string }
      const subject = orders.subject('a')

      const answers = [
        await structured(event, { subject }),
        await structured(event, { subject }),
        await target.bridge.send<Published>(`POST /v1/subjects/${subject}/messages`, sent),
        await structured(event.cloneWith({ source: '/b' }), { subject }),
        await structured(event.cloneWith({ data: { x: 2 } }), { subject }),
      ]

      expect(answers.map(({ status, body: { seq, duplicate } }) => [status, seq, duplicate])).toEqual([
        [201, 1, false],
        [200, 1, true],
        [200, 1, true],
        [201, 2, false],
        [422, undefined, undefined],
      ])
    })

    test("201 on the subject that a template makes, by query or header, and else on the event's own", async () => {
      const orders = await target.makeStream()
      const event = new CloudEvent({
        id: '1',
        source: '/a',
        type: 'order.placed',
        subject: orders.subject('own'),
        region: 'eu',
      })

      await structured(event)
      await structured(event.cloneWith({ id: '2' }), { subject: orders.subject('{type}.{region}') })
      await structured(event.cloneWith({ id: '3' }), {}, { 'Nats-Subject': orders.subject('fixed') })

      const { messages } = await target.bridge.page(orders.name)
      expect(messages.map(({ subject }) => subject)).toEqual(
        ['own', 'order.placed.eu', 'fixed'].map((tail) => orders.subject(tail)),
      )
    })

    test.each([
      ['subject', { subject: 'x.{type' }, {}],
      ['region', { subject: 'x.{region}' }, {}],
      ['subject', { subject: 'x.{source}' }, { source: 'a b*' }],
      ['nats-subject', { subject: 'a' }, {}, { 'Nats-Subject': 'b' } as Headers],
      ['id', {}, { id: '' }],
      ['specversion', {}, { specversion: '0.3' }],
      ['data_base64', {}, { data: 1, data_base64: 'AA==' }],
      ['Bad-Name', {}, { 'Bad-Name': 'x' }],
    ])('400 naming %s, and nothing stored', async (field, query, more, headers: Headers = {}) => {
      const event = {
        specversion: '1.0',
        id: '1',
        source: '/a',
        type: 't',
        subject: stream.subject('a'),
        ...more,
      }

      const answer = await target.bridge.send('POST /v1/messages', {
        headers: { 'Content-Type': EVENT, ...headers },
        body: JSON.stringify(event),
        query: query as Record<string, string>,
      })

      if (field === 'subject' && 'source' in more) expect(answer).toMatchObject({ status: 400 })
      else expect(answer).toMatchObject(refusal(field))
      expect((await target.bridge.page(stream.name)).messages).toEqual([])
    })

    test.each(['ce-id', 'ce-source', 'ce-type'])(
      '400 naming %s when it is missing in binary mode',
      async (missing) => {
        const headers: Headers = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/a', 'ce-type': 't' }
        delete headers[missing]

        for (const path of ['/v1/messages', `/v1/subjects/${stream.subject('a')}/messages`])
          expect(await target.bridge.send(`POST ${path}`, { headers, body: 'x' })).toMatchObject(
            refusal(missing),
          )
      },
    )

    const FULL: Headers = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/a', 'ce-type': 't' }

    test.each<[string, string, Headers]>([
      ['a time that is none', 'ce-time', { 'ce-time': 'yesterday' }],
      ['30 February', 'ce-time', { 'ce-time': '2026-02-30T00:00:00Z' }],
      ['an hour 24', 'ce-time', { 'ce-time': '2026-01-01T24:00:00Z' }],
      ['a leap second in the middle of a month', 'ce-time', { 'ce-time': '2026-11-20T23:59:60Z' }],
      ['an offset of a day', 'ce-time', { 'ce-time': '2026-01-01T00:00:00+24:00' }],
      ['another version', 'ce-specversion', { 'ce-specversion': '0.3' }],
      ['white space in the source', 'ce-source', { 'ce-source': '/a%20b' }],
      ['an empty subject', 'ce-subject', { 'ce-subject': '' }],
      ['an empty schema', 'ce-dataschema', { 'ce-dataschema': '' }],
      ['a value that is no UTF-8', 'ce-type', { 'ce-type': 'a%FFb' }],
      ['an extension that is no UTF-8', 'ce-name', { 'ce-name': '%C0%AF' }],
      ['a surrogate', 'ce-name', { 'ce-name': '%ED%A0%80' }],
      ['a control character', 'ce-name', { 'ce-name': 'a%00b' }],
      ['a noncharacter', 'ce-name', { 'ce-name': '%EF%BF%BF' }],
      ['a name with an underscore', 'ce-my_name', { 'ce-my_name': 'x' }],
      ['a name with a hyphen', 'ce-my-name', { 'ce-my-name': 'x' }],
      ['a name that is too long', `ce-${'a'.repeat(65)}`, { [`ce-${'a'.repeat(65)}`]: 'x' }],
      ['data as an attribute', 'ce-data', { 'ce-data': 'x' }],
      ['a type of the data that is none', 'content-type', { 'Content-Type': 'text' }],
    ])('400 in binary mode, as in structured mode, for %s', async (_, field, headers) => {
      for (const path of ['/v1/messages?subject=', `/v1/subjects/${stream.subject('a')}/messages`])
        expect(
          await target.bridge.send(`POST ${path.replace(/=$/, `=${stream.subject('a')}`)}`, {
            headers: { ...FULL, ...headers },
            body: 'x',
          }),
        ).toMatchObject(refusal(field))
    })

    test('400 for a member named __proto__, alone and in a batch, and no event without it', async () => {
      const orders = await target.makeStream()
      const event = `{"specversion":"1.0","id":"1","source":"/a","type":"t","subject":"${orders.subject('a')}","__proto__":"v"}`

      expect(
        await target.bridge.send('POST /v1/messages', { headers: { 'Content-Type': EVENT }, body: event }),
      ).toMatchObject(refusal('__proto__'))
      expect(
        await target.bridge.send('POST /v1/messages', {
          headers: { 'Content-Type': BATCH },
          body: `[${event}]`,
        }),
      ).toMatchObject({ body: { results: [failed(0, 400, 'invalid_request')] } })
      expect((await target.bridge.page(orders.name)).messages).toEqual([])
    })

    test.each<[string, Headers]>([
      ['a leap second', { 'ce-time': '2016-12-31T23:59:60Z' }],
      ['a leap second elsewhere on earth', { 'ce-time': '2017-01-01T05:29:60.5+05:30' }],
      ['a time in lower case', { 'ce-time': '2026-11-20t10:00:00z' }],
      ['29 February of a leap year', { 'ce-time': '2024-02-29T00:00:00.123456789012Z' }],
      ['an encoded value', { 'ce-name': 'caf%C3%A9%20%E2%82%AC' }],
      ['a percent sign that encodes nothing', { 'ce-name': '100%' }],
      ['the names that every object has', { 'ce-constructor': 'a', 'ce-valueof': 'b' }],
      ['a type with a semicolon at its end', { 'Content-Type': 'application/json;' }],
    ])('201 in binary mode for %s', async (_, headers) => {
      const orders = await target.makeStream()
      const path = `/v1/subjects/${orders.subject('a')}/messages`
      const answer = await target.bridge.send(`POST ${path}`, { headers: { ...FULL, ...headers }, body: '1' })
      expect(answer.status).toBe(201)
    })

    test('201 and every digit kept of numbers that a double does not hold', async () => {
      const orders = await target.makeStream()
      const data = '{"big":12345678901234567890,"small":0.1234567890123456789,"huge":1e400}'
      const body = `{"specversion":"1.0","id":"1","source":"/a","type":"t","subject":"${orders.subject('a')}","data":${data}}`

      await target.bridge.ok('POST /v1/messages', { headers: { 'Content-Type': EVENT }, body })

      expect(at((await target.bridge.page(orders.name)).messages, 0).data).toBe(data)
      expect(Buffer.from((await readBatch(orders)).bytes).toString()).toContain(`"data":${data}`)
    })

    test('404 subject_not_found when no stream listens on the subject', async () => {
      const event = new CloudEvent({ id: '1', source: '/a', type: 't', subject: `nobody-${stream.name}` })

      expect(await structured(event)).toMatchObject(problem(404, 'subject_not_found'))
    })
  })

  describe('readMessages', () => {
    test('pages of events that the Link leads through, each message one, also those that are none by themselves', async () => {
      const orders = await target.makeStream()
      for (const n of range(1, 5)) await target.bridge.publish(orders.subject('a'), `{"n":${n}}`)
      await target.bridge.publish(orders.subject('b'), new Uint8Array([255]))

      const seen: Record<string, unknown>[] = []
      let path = `${orders.path}/messages?limit=4`
      for (let isLast = false; !isLast; ) {
        const { body, headers } = await target.bridge.send<Record<string, unknown>[]>(`GET ${path}`, {
          headers: { Accept: BATCH },
        })
        seen.push(...body)
        path = /<([^>]+)>; rel="next"/.exec(headers.get('Link') ?? '')?.[1] ?? ''
        expect(path).toContain(`cursor=${encodeURIComponent(headers.get('Sluice-Cursor') ?? '?')}`)
        isLast = headers.get('Sluice-Up-To-Date') === 'true'
      }

      expect(seen).toHaveLength(6)
      expect(at(seen, 0)).toEqual({
        specversion: '1.0',
        id: '1',
        source: orders.path,
        type: 'io.nats.jetstream.message',
        subject: orders.subject('a'),
        time: expect.any(String),
        data: { n: 1 },
      })
      expect(at(seen, 5)).toMatchObject({ data_base64: '/w==' })
      for (const event of seen) expect(() => new CloudEvent(event as never)).not.toThrow()
    })

    test('the gap in a header when messages after the cursor are gone', async () => {
      const orders = await target.makeStream()
      const { cursor } = await target.bridge.publish(orders.subject('a'))
      for (const _ of range(2, 5)) await target.bridge.publish(orders.subject('a'))
      await target.bridge.ok(`POST ${orders.path}/purge`, { json: { seq: 4 } })

      const { headers } = await readBatch(orders, { cursor, on_gap: 'skip' })

      expect(headers.get('Sluice-Gap')).toBe('2-3')
    })

    test('server-sent events with format=cloudevents, history and live, each with a cursor to resume from', async () => {
      const orders = await target.makeStream()
      const event = (id: string) =>
        new CloudEvent({
          id,
          time: '2026-11-20T10:00:00.000Z',
          source: '/a',
          type: 't',
          subject: orders.subject('a'),
          data: { id },
          datacontenttype: 'application/json',
        })
      await structured(event('1'))
      const query = { start: 'beginning', format: 'cloudevents' }
      const events = await openEvents(target.bridge, `${orders.path}/messages`, { query })
      await events.take('caught_up', 1)
      await structured(event('2'))
      const seen = await events.take<Record<string, unknown>>('message', 2)
      events.close()

      expect(seen.map((data) => plain(new CloudEvent(data as never)))).toEqual(
        [event('1'), event('2')].map(plain),
      )
      const cursor = at(events.events, 0).id ?? ''
      expect((await target.bridge.page(orders.name, { cursor })).messages).toHaveLength(1)
    })

    test.each([BATCH, 'application/json', 'application/x-ndjson'])(
      '400 naming format under %s',
      async (accept) => {
        const orders = await target.makeStream()

        expect(
          await target.bridge.send(`GET ${orders.path}/messages`, {
            headers: { Accept: accept },
            query: { format: 'cloudevents' },
          }),
        ).toMatchObject(refusal('format'))
      },
    )
  })
})
