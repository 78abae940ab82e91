/** The test of CloudEvents as messages and messages as CloudEvents, by the specification's rules and its SDK. */
import { HTTP, CloudEvent as SdkEvent } from 'cloudevents'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BridgeError } from '../../src/errors.ts'
import type { MessageHeaders, OutgoingMessage, StoredMessage } from '../../src/jetstream.ts'
import {
  type CloudEvent,
  cloudEventSchema,
  compileSubject,
  keyOf,
  readBinaryEvent,
  toMessage,
} from '../../src/schemas/cloud-event.ts'
import { toBinaryHeaders } from '../../src/schemas/cloud-event-headers.ts'
import { createEventEncoder } from '../../src/schemas/cloud-event-out.ts'
import { parseExactly } from '../../src/schemas/exact-json.ts'

const SUBJECT = 'orders.eu'
const required = { specversion: '1.0', id: 'A1', source: '/shop', type: 'order.placed' }
const requiredHeaders = {
  'ce-specversion': ['1.0'],
  'ce-id': ['A1'],
  'ce-source': ['/shop'],
  'ce-type': ['order.placed'],
}

/** An event as it comes in: the text of its JSON, with these members after the required ones. */
const eventText = (members: string) => `${JSON.stringify(required).slice(0, -1)}${members && `,${members}`}}`
const read = (text: string): CloudEvent => cloudEventSchema.parse(parseExactly(text))
const event = (members: object = {}): CloudEvent => cloudEventSchema.parse({ ...required, ...members })
const refusedFields = (members: object): string[] =>
  (cloudEventSchema.safeParse({ ...required, ...members }).error?.issues ?? []).map(({ path }) =>
    path.join('.'),
  )

const textOf = (payload: Uint8Array) => Buffer.from(payload).toString()
const payloadOf = (members: string) => textOf(toMessage(read(eventText(members)), SUBJECT).payload)

const stored = (headers: MessageHeaders, payload: string | Uint8Array = ''): StoredMessage => ({
  subject: SUBJECT,
  seq: 42,
  time: '2026-11-20T10:00:00.123456789Z',
  headers,
  payload: typeof payload === 'string' ? new TextEncoder().encode(payload) : payload,
})
const store = ({ headers, payload }: OutgoingMessage) => stored(headers, payload)
const encode = createEventEncoder('ORDERS')
const typed = (contentType: string): MessageHeaders => ({ ...requiredHeaders, 'Content-Type': [contentType] })

/** The fields that a call refuses with `invalid_request`. */
function refusal(call: () => unknown): readonly string[] {
  try {
    call()
  } catch (failure) {
    if (failure instanceof BridgeError && failure.code === 'invalid_request') {
      return (failure.errors ?? []).map(({ field }) => field)
    }
    throw failure
  }
  return []
}

describe('cloudEventSchema', () => {
  it('takes an event with every attribute and extensions of each type', () => {
    const whole = {
      ...required,
      subject: 'a',
      time: '2026-11-20T10:00:00.123456789+01:00',
      datacontenttype: 'text/plain; charset="utf-8"',
      dataschema: 'https://example.com/schema',
      data: 'x',
      sequence: 7,
      sampled: false,
      partitionkey: '',
      [`x${'1'.repeat(63)}`]: 'long',
    }
    expect(cloudEventSchema.parse(whole)).toEqual(whole)
  })

  it.each(['specversion', 'id', 'source', 'type'])('refuses an event without %s', (name) => {
    expect(refusedFields({ [name]: undefined })).toEqual([name])
    expect(refusedFields({ [name]: null })).toEqual([name])
    expect(refusedFields({ [name]: '' })).toEqual([name])
  })

  it.each([
    ['specversion', '0.3'],
    ['specversion', 1],
    ['id', 7],
    ['source', '/a b'],
    ['type', 'a\nb'],
    ['subject', ''],
    ['subject', 'a\ud800'],
    ['time', '2026-11-20'],
    ['time', '2026-11-20T10:00:00'],
    ['time', '2026-13-20T10:00:00Z'],
    ['time', 1_700_000_000],
    ['datacontenttype', 'json'],
    ['datacontenttype', 'text/plain; x=ü'],
    ['dataschema', 3],
    ['data_base64', 'a'],
    ['data_base64', 'a-_='],
    ['Upper', 'x'],
    ['with_underscore', 'x'],
    ['with-dash', 'x'],
    ['x'.repeat(65), 'x'],
    ['', 'x'],
    ['anobject', {}],
    ['alist', []],
    ['afraction', 1.5],
    ['alarge', 2_147_483_648],
    ['acontrol', '\u0085'],
    ['anoncharacter', '\ufffe'],
  ])('refuses, naming it, %j as %j', (name, value) => {
    expect(refusedFields({ [name]: value })).toEqual([name])
  })

  it('refuses an integer that is not written as one, or is too large to be read', () => {
    for (const number of ['1.0', '1e2', '12345678901234567890']) {
      expect(cloudEventSchema.safeParse(parseExactly(eventText(`"x":${number}`))).success).toBe(false)
    }
  })

  it('refuses data together with data_base64, null data too', () => {
    expect(refusedFields({ data: 1, data_base64: 'AA==' })).toEqual(['data_base64'])
    expect(refusedFields({ data: null, data_base64: 'AA==' })).toEqual(['data_base64'])
    expect(refusedFields({ data: 1, data_base64: null })).toEqual([])
  })
})

describe('toMessage', () => {
  it('makes a header of each attribute, Content-Type of datacontenttype, and the payload of the data', () => {
    const attributes = {
      subject: 'a',
      time: '2026-11-20T10:00:00Z',
      datacontenttype: 'application/json',
      dataschema: 'urn:x',
      sampled: true,
      sequence: -7,
    }
    const message = toMessage(event({ ...attributes, data: { id: 7 } }), SUBJECT)
    expect({ ...message, payload: textOf(message.payload) }).toEqual({
      subject: SUBJECT,
      payload: '{"id":7}',
      headers: {
        ...requiredHeaders,
        'ce-subject': ['a'],
        'ce-time': ['2026-11-20T10:00:00Z'],
        'Content-Type': ['application/json'],
        'ce-dataschema': ['urn:x'],
        'ce-sampled': ['true'],
        'ce-sequence': ['-7'],
      },
    })
  })

  it('leaves out what is null', () => {
    const absent = { subject: null, time: null, datacontenttype: null, data_base64: null, ext: null }
    expect(toMessage(event(absent), SUBJECT).headers).toEqual(requiredHeaders)
    expect(toMessage(event(absent), SUBJECT).payload).toHaveLength(0)
  })

  it('percent-encodes as the HTTP binding says', () => {
    const { headers } = toMessage(event({ subject: 'Euro € 😀', ext: '"50%"~!', type: 'a/b?c#d' }), SUBJECT)
    expect(headers['ce-subject']).toEqual(['Euro%20%E2%82%AC%20%F0%9F%98%80'])
    expect(headers['ce-ext']).toEqual(['%2250%25%22~!'])
    expect(headers['ce-type']).toEqual(['a/b?c#d'])
  })

  it.each([
    ['JSON without a type', '"data":{"a":[1,"ü"]}', '{"a":[1,"ü"]}'],
    ['a JSON string without a type', '"data":"x"', '"x"'],
    ['null', '"data":null', 'null'],
    ['a JSON string of a JSON type', '"datacontenttype":"Application/JSON; charset=utf-8","data":"x"', '"x"'],
    ['a JSON string of text/json', '"datacontenttype":"text/json","data":"x"', '"x"'],
    ['a JSON string of a +json type', '"datacontenttype":"application/vnd.a+json","data":"x"', '"x"'],
    ['text', '"datacontenttype":"text/plain","data":"grün"', 'grün'],
    ['text that looks like JSON', '"datacontenttype":"text/plain","data":"{}"', '{}'],
    ['an object of no JSON type', '"datacontenttype":"text/plain","data":{"a":1}', '{"a":1}'],
    ['base64', '"data_base64":"eyB9"', '{ }'],
    ['nothing', '', ''],
    ['an integer beyond a double', '"data":{"n":12345678901234567890}', '{"n":12345678901234567890}'],
    ['numbers no double has', '"data":[1e400,0.1234567890123456789]', '[1e400,0.1234567890123456789]'],
    ['a number as the data', '"data":1e400', '1e400'],
    ['a number of a text type', '"datacontenttype":"text/plain","data":5.00', '5.00'],
    ['a lone surrogate in JSON', '"data":"\\ud800"', '"\\ud800"'],
  ])('makes the payload of %s', (_, members, payload) => {
    expect(payloadOf(members)).toBe(payload)
  })

  it('gives the bytes of data_base64', () => {
    expect([...toMessage(event({ data_base64: '/wD+' }), SUBJECT).payload]).toEqual([255, 0, 254])
  })

  it('refuses a lone surrogate in text, which UTF-8 would alter', () => {
    const lone = event({ datacontenttype: 'text/plain', data: 'a\ud800' })
    expect(refusal(() => toMessage(lone, SUBJECT))).toEqual(['data'])
  })

  it('refuses data that is nested too deeply to be written', () => {
    const deep = read(eventText(`"data":${'['.repeat(100_000)}${']'.repeat(100_000)}`))
    expect(refusal(() => toMessage(deep, SUBJECT))).toEqual(['body'])
  })

  it('keeps structured mode where the data is an event itself', () => {
    const outer = eventText(`"datacontenttype":"application/cloudevents+json","data":${eventText('"n":1')}`)
    const message = toMessage(read(outer), SUBJECT)
    expect(message.headers).toEqual({ 'Content-Type': ['application/cloudevents+json'] })
    expect(textOf(message.payload)).toBe(outer)
    expect(encode(store(message))).toBe(outer)
  })
})

describe('keyOf', () => {
  it('joins source and id by a space, which neither holds as they are encoded', () => {
    expect(keyOf(event({ id: 'a b' }))).toBe('/shop a%20b')
  })
})

describe('readBinaryEvent', () => {
  it('answers the key, decoded, whatever the case of the names', () => {
    const headers = { ...requiredHeaders, 'ce-id': ['a%20%C3%BC'] }
    expect(readBinaryEvent(headers)).toBe('/shop a%20%C3%BC')
    const upper = Object.entries(headers).map(([name, values]) => [name.toUpperCase(), values])
    expect(readBinaryEvent(Object.fromEntries(upper))).toBe('/shop a%20%C3%BC')
  })

  it('gives the key that the same event has in structured mode', () => {
    const one = event({ id: '50% "ü"', source: 'urn:%C3%BC' })
    expect(readBinaryEvent(toMessage(one, SUBJECT).headers)).toBe(keyOf(one))
  })

  it('is undefined without ce-specversion', () => {
    expect(readBinaryEvent({ 'ce-id': ['1'], 'Content-Type': ['text/plain'] })).toBeUndefined()
  })

  it.each([
    ['ce-specversion', ['0.3']],
    ['ce-specversion', ['']],
    ['ce-id', undefined],
    ['ce-id', ['']],
    ['ce-id', ['a%0Ab']],
    ['ce-source', undefined],
    ['ce-source', ['/a%20b']],
    ['ce-type', undefined],
  ])('refuses, naming it, %s: %j', (name, values) => {
    const { [name]: _, ...others } = requiredHeaders as MessageHeaders
    const headers = { ...others, ...(values ? { [name]: values } : {}) }
    expect(refusal(() => readBinaryEvent(headers))).toEqual([name])
  })

  it('names every header that is missing', () => {
    expect(refusal(() => readBinaryEvent({ 'ce-specversion': ['1.0'] }))).toEqual([
      'ce-id',
      'ce-source',
      'ce-type',
    ])
  })
})

describe('compileSubject', () => {
  it.each([
    ['orders.eu', {}, 'orders.eu'],
    ['events.{type}.{subject}', { subject: 'a' }, 'events.order.placed.a'],
    ['{tenant}.x{sequence}.{sampled}', { tenant: 'acme', sequence: 7, sampled: true }, 'acme.x7.true'],
    ['{constructor}', { constructor: 'own' }, 'own'],
    ['{subject}', { subject: '$&$1' }, '$&$1'],
  ])('makes %j with %j into %j', (template, members, subject) => {
    expect(compileSubject(template)(event(members))).toBe(subject)
  })

  it("is the event's subject where nothing is said", () => {
    expect(compileSubject()(event({ subject: 'orders.eu.42' }))).toBe('orders.eu.42')
    expect(refusal(() => compileSubject()(event()))).toEqual(['subject'])
  })

  it.each(['tenant', 'time', 'constructor', 'data'])('refuses an event without the attribute %s', (name) => {
    expect(refusal(() => compileSubject(`a.{${name}}`)(event({ data: 1, time: null })))).toEqual([name])
  })

  it.each(['*', 'a.>', 'a b', 'a..b', 'a.', '\u00a0'])('refuses a subject that would be %j', (subject) => {
    expect(refusal(() => compileSubject('{subject}')(event({ subject })))).toEqual(['subject'])
  })

  it.each(['{', '}', 'a.{', 'a.{type', 'a.type}', '{}', '{{type}}', '{Type}', '{a b}', '}{'])(
    'refuses the template %j',
    (template) => {
      expect(refusal(() => compileSubject(template))).toEqual(['subject'])
    },
  )
})

describe('createEventEncoder', () => {
  const encoded = (headers: MessageHeaders, payload: string | Uint8Array = '') =>
    JSON.parse(encode(stored(headers, payload)))

  it('reads the attributes of binary mode, whatever the case of their headers', () => {
    const headers = {
      'CE-SpecVersion': ['1.0'],
      'Ce-Id': ['A1'],
      'ce-source': ['/shop'],
      'ce-type': ['order.placed'],
      'ce-subject': ['Euro%20%e2%82%ac'],
      'ce-sequence': ['7', '8'],
      'content-type': ['text/plain'],
      'Nats-Msg-Id': ['k'],
    }
    expect(encoded(headers, 'grün')).toEqual({
      ...required,
      subject: 'Euro €',
      sequence: '7',
      datacontenttype: 'text/plain',
      data: 'grün',
    })
  })

  it.each([
    ['100%', '100%'],
    ['%zz', '%zz'],
    ['%C0%A0', '%C0%A0'],
    ['%41%c3%bc%2', 'Aü%2'],
    ['"a \\"b\\" %20"', 'a "b"  '],
    ['"a" "b"', '"a" "b"'],
    ['grün', 'grün'],
    ['', ''],
  ])('reads the header value %j as %j', (value, text) => {
    expect(encoded({ ...requiredHeaders, 'ce-ext': [value] }).ext).toBe(text)
  })

  it('prefers ce-datacontenttype, as the NATS binding has it, to Content-Type', () => {
    const headers = { ...typed('application/octet-stream'), 'ce-datacontenttype': ['text/plain'] }
    expect(encoded(headers, 'a')).toEqual({ ...required, datacontenttype: 'text/plain', data: 'a' })
  })

  it('leaves out ce- headers that name no attribute', () => {
    const others = { 'ce-data': ['x'], 'ce-data_base64': ['x'], 'ce-a-b': ['x'], 'ce-': ['x'] }
    expect(encoded({ ...requiredHeaders, ...others })).toEqual(required)
  })

  it.each([
    ['application/json', '{"n":1e400}', '"data":{"n":1e400}'],
    ['application/json', '{ "b":1, "1":2, "b":5.00 }', '"data":{ "b":1, "1":2, "b":5.00 }'],
    ['application/json', '[1,\r\n2,\n"\\n"]\n', '"data":[1, 2, "\\n"] '],
    ['application/json', '12345678901234567890', '"data":12345678901234567890'],
    ['application/json', 'null', '"data":null'],
    ['application/json', 'no JSON', '"data_base64":"bm8gSlNPTg=="'],
    ['application/json', '\ufeff{}', '"data_base64":"77u/e30="'],
    ['application/vnd.a+json; x=y', '"a"', '"data":"a"'],
    ['text/json', '{', '"data_base64":"ew=="'],
    ['text/plain', '{}', '"data":"{}"'],
    ['text/plain', 'a\n\ufeffb', '"data":"a\\n\ufeffb"'],
    ['application/xml', '<a/>', '"data":"<a/>"'],
    ['image/svg+xml', '<a/>', '"data":"<a/>"'],
    ['application/x-sql; charset=utf-8', 'a', '"data":"a"'],
    ['application/octet-stream', '{}', '"data_base64":"e30="'],
    ['', '{}', '"data":{}'],
    ['', 'a', '"data_base64":"YQ=="'],
  ])('gives the data of type %j, %j, as %s', (contentType, payload, data) => {
    const text = encode(stored(typed(contentType), payload))
    expect(text.endsWith(`,${data}}`)).toBe(true)
    expect(text).not.toMatch(/[\r\n]/)
    expect(JSON.parse(text)).toMatchObject(required)
  })

  it('gives bytes that are no UTF-8 as data_base64, whatever their type', () => {
    const bytes = Uint8Array.of(255, 0, 254)
    for (const contentType of ['application/json', 'text/plain', 'image/png', '']) {
      expect(encoded(typed(contentType), bytes).data_base64).toBe('/wD+')
    }
  })

  it('gives no data where the payload is empty', () => {
    expect(encoded(requiredHeaders)).toEqual(required)
  })

  it('embeds a structured event as it is, on one line', () => {
    const structured = (payload: string) =>
      encode(stored({ 'content-type': ['Application/CloudEvents+json; charset=UTF-8'] }, payload))
    const text = eventText('"data":{"n":1e400, "b":1, "1":2},"x":5.00')
    expect(structured(text)).toBe(text)
    expect(structured(`{\n  ${text.slice(1)}\r\n`)).toBe(`{   ${text.slice(1)} `)
  })

  it('takes structured mode before the ce- headers that may go with it', () => {
    const headers = { ...typed('application/cloudevents+json'), 'ce-id': ['other'] }
    expect(encoded(headers, eventText('"data":1'))).toEqual({ ...required, data: 1 })
  })

  const wrapping = {
    specversion: '1.0',
    id: '42',
    source: '/v1/streams/ORDERS',
    type: 'io.nats.jetstream.message',
    subject: SUBJECT,
    time: '2026-11-20T10:00:00.123456789Z',
  }

  it.each([
    ['without a header', {}, '{"a":1}', { data: { a: 1 } }],
    ['that is no JSON', {}, 'a', { data_base64: 'YQ==' }],
    ['without a payload', {}, '', {}],
    ['of text', { 'Content-Type': ['text/plain'] }, 'a', { datacontenttype: 'text/plain', data: 'a' }],
    ['with ce- headers that are no event', { 'ce-specversion': ['1.0'], 'ce-id': ['1'] }, '1', { data: 1 }],
  ])('wraps a message %s', (_, headers, payload, members) => {
    expect(encoded(headers, payload)).toEqual({ ...wrapping, ...members })
  })

  it.each(['{"id":"1"}', '[]', 'null', '"a"'])('wraps what only says it is an event: %s', (payload) => {
    const datacontenttype = 'application/cloudevents+json'
    expect(encoded({ 'Content-Type': [datacontenttype] }, payload)).toEqual({
      ...wrapping,
      datacontenttype,
      data: JSON.parse(payload),
    })
  })

  it('percent-encodes the stream in the source', () => {
    expect(JSON.parse(createEventEncoder('Aufträge')(stored({}))).source).toBe('/v1/streams/Auftr%C3%A4ge')
  })
})

describe('toBinaryHeaders', () => {
  it('gives the ce- headers and the content type of a binary event, and no other', () => {
    const headers = { ...typed('text/plain; charset=utf-8'), 'Nats-Msg-Id': ['k'], 'CE-Sub-Ject': ['x'] }
    expect(toBinaryHeaders(headers)).toEqual({
      'ce-specversion': '1.0',
      'ce-id': 'A1',
      'ce-source': '/shop',
      'ce-type': 'order.placed',
      'Content-Type': 'text/plain; charset=utf-8',
    })
  })

  it('gives ce-datacontenttype as Content-Type', () => {
    const headers = toBinaryHeaders({ ...requiredHeaders, 'Ce-DataContentType': ['text/plain;%20a=b'] })
    expect(headers['Content-Type']).toBe('text/plain; a=b')
    expect(Object.keys(headers)).not.toContain('ce-datacontenttype')
  })

  it.each([
    ['a%20b', 'a%20b'],
    ['50%', '50%'],
    ['a b', 'a%20b'],
    ['"a b"', 'a%20b'],
    ['ü%20%', '%C3%BC%20%25'],
  ])('carries the stored value %j as %j', (value, sent) => {
    expect(toBinaryHeaders({ ...requiredHeaders, 'ce-ext': [value] })['ce-ext']).toBe(sent)
  })

  it('leaves out a content type that no header can carry', () => {
    expect(toBinaryHeaders(typed('text/plain; x=€'))).not.toHaveProperty('Content-Type')
  })

  it.each<[string, MessageHeaders]>([
    ['without headers', {}],
    ['that lacks an attribute', { 'ce-specversion': ['1.0'] }],
    ['in structured mode', typed('application/cloudevents+json')],
  ])('gives none for a message %s', (_, headers) => {
    expect(toBinaryHeaders(headers)).toEqual({})
  })
})

const wellFormed = (minLength: number) =>
  fc
    .string({ unit: 'grapheme', minLength, maxLength: 12 })
    .filter((text) => !/[\p{Cc}\p{Noncharacter_Code_Point}]/u.test(text))
const anyText = fc.oneof(
  wellFormed(1),
  fc.string({ unit: fc.constantFrom(...'%2"\\ üa€'), minLength: 1, maxLength: 12 }),
)

const anyAttributes = fc.record(
  {
    specversion: fc.constant('1.0'),
    id: anyText,
    source: anyText.filter((text) => !/\s/.test(text)),
    type: anyText,
    subject: anyText,
    time: fc.constantFrom('2026-11-20T10:00:00Z', '2026-11-20t10:00:00.123456789-08:00'),
    dataschema: anyText,
    sequence: anyText,
    '1': anyText,
    constructor: anyText,
  },
  { requiredKeys: ['specversion', 'id', 'source', 'type'] },
)

const anyData = fc.oneof(
  fc.constant({}),
  fc.jsonValue().map((data) => ({ data })),
  fc.jsonValue().map((data) => ({ data, datacontenttype: 'application/json' })),
  anyText.map((data) => ({ data, datacontenttype: 'text/plain; charset=utf-8' })),
  fc
    .uint8Array({ minLength: 1 })
    .map((bytes) => ({ data_base64: Buffer.from(bytes).toString('base64'), datacontenttype: 'image/png' })),
)

describe('an event that becomes a message', () => {
  it('becomes the same event again', () => {
    fc.assert(
      fc.property(anyAttributes, anyData, (attributes, data) => {
        // By way of its JSON, which has no -0 and no undefined.
        const text = JSON.stringify({ ...attributes, ...data })
        const again = encode(store(toMessage(read(text), SUBJECT)))
        expect(JSON.parse(again)).toEqual(JSON.parse(text))
        expect(again).not.toMatch(/[\r\n]/)
      }),
      { numRuns: 1_000 },
    )
  })

  it('has its attributes in visible ASCII, and none is lost on the way through HTTP', () => {
    fc.assert(
      fc.property(anyAttributes, (attributes) => {
        const { headers } = toMessage(event(attributes), SUBJECT)
        const sent = toBinaryHeaders(headers)
        for (const value of Object.values(sent)) expect(value).toMatch(/^[!-~]*$/)
        const received = Object.entries(sent).map(([name, value]) => [name, [value]])
        expect(Object.fromEntries(received)).toEqual(headers)
      }),
    )
  })
})

describe('a message that becomes an event', () => {
  const headerName = fc.oneof(
    fc.constantFrom(
      'ce-specversion',
      'ce-id',
      'CE-Source',
      'ce-type',
      'ce-data',
      'Content-Type',
      'ce-x',
      'a',
    ),
    fc.string(),
  )
  const headerValue = fc.oneof(
    fc.constantFrom('1.0', 'text/plain', 'application/json', 'application/cloudevents+json'),
    fc.string({ unit: 'grapheme' }),
  )
  const payload = fc.oneof(
    fc.uint8Array(),
    fc.json().map((text) => new TextEncoder().encode(text)),
  )

  it('is one line, a valid event, and has the payload whole', () => {
    const headers = fc.dictionary(headerName, fc.array(headerValue, { maxLength: 2 }))
    fc.assert(
      fc.property(headers, payload, (headers, bytes) => {
        const line = encode(stored(headers, bytes))
        expect(line).not.toMatch(/[\r\n]/)
        const { specversion, id, source, type } = JSON.parse(line)
        for (const attribute of [specversion, id, source, type]) expect(attribute).toMatch(/./su)
        expect(endsOf(bytes).some((end) => line.endsWith(end))).toBe(true)
      }),
      { numRuns: 1_000, examples: [[{}, new TextEncoder().encode('\n0')]] },
    )
  })

  /** How an event with this payload may end. */
  const endsOf = (bytes: Uint8Array) =>
    bytes.length === 0
      ? ['"}']
      : [
          `"data_base64":"${Buffer.from(bytes).toString('base64')}"}`,
          `"data":${JSON.stringify(textOf(bytes))}}`,
          // Between the tokens of JSON one kind of white space is as good as another.
          `"data":${textOf(bytes).replace(/[\r\n]+/g, ' ')}}`,
        ]
})

describe('the CloudEvents SDK', () => {
  const sdkEvent = (members: object) =>
    new SdkEvent({ ...required, time: '2026-11-20T10:00:00.000Z', ...members } as never)
  const receive = (headers: Readonly<Record<string, unknown>>, body: unknown) =>
    HTTP.toEvent({ headers: headers as Record<string, string>, body }) as SdkEvent<unknown>

  const events: [string, object][] = [
    ['JSON', { datacontenttype: 'application/json', data: { id: 7, name: 'grün' } }],
    ['extensions', { datacontenttype: 'application/json', data: [1], sampled: true, sequence: 7, ext: 'x' }],
    ['text', { datacontenttype: 'text/plain', data: 'a text', subject: 'orders.eu' }],
    ['no data', {}],
  ]

  it.each(events)('is read in structured mode: %s', (_, members) => {
    const sent = sdkEvent(members)
    const { body } = HTTP.structured(sent)
    const message = toMessage(read(String(body)), SUBJECT)
    expect(readBinaryEvent(message.headers)).toBe(`${sent.source} ${sent.id}`)
    const again = JSON.parse(encode(store(message)))
    const { sampled, sequence, ...others } = JSON.parse(String(body))
    expect(again).toEqual({
      ...others,
      ...(sampled === undefined ? {} : { sampled: 'true', sequence: '7' }),
    })
  })

  it.each(events)('reads what is written in structured mode: %s', (_, members) => {
    const text = encode(store(toMessage(event({ time: '2026-11-20T10:00:00.000Z', ...members }), SUBJECT)))
    const received = receive({ 'content-type': 'application/cloudevents+json' }, text)
    expect(received.validate()).toBe(true)
    expect(JSON.parse(received.toString())).toEqual(JSON.parse(text))
  })

  it.each(events)('is read in binary mode: %s', (_, members) => {
    const sent = sdkEvent({ datacontenttype: 'application/json', ...members })
    const { headers, body } = HTTP.binary(sent)
    const asStored = Object.entries(headers).map(([name, value]) => [name, [String(value)]])
    const message = stored(Object.fromEntries(asStored), String(body ?? ''))
    expect(readBinaryEvent(message.headers)).toBe(keyOf(sent))
    const read = JSON.parse(encode(message))
    const extensions = Object.entries(members).filter(([name]) => ['sampled', 'sequence'].includes(name))
    const texts = Object.fromEntries(extensions.map(([name, value]) => [name, String(value)]))
    expect(read).toEqual({ ...JSON.parse(sent.toString()), ...texts })
  })

  it.each(events)('reads what is answered in binary mode: %s', (_, members) => {
    const message = toMessage(event({ time: '2026-11-20T10:00:00.000Z', ...members }), SUBJECT)
    const received = receive(toBinaryHeaders(message.headers), textOf(message.payload) || undefined)
    expect(received.validate()).toBe(true)
    expect(JSON.parse(received.toString())).toEqual(JSON.parse(encode(store(message))))
  })

  it('and the bridge exchange bytes', () => {
    const sent = sdkEvent({ datacontenttype: 'image/png', data: Uint8Array.of(255, 0, 254) })
    const message = toMessage(read(String(HTTP.structured(sent).body)), SUBJECT)
    expect([...message.payload]).toEqual([255, 0, 254])
    const received = receive({ 'content-type': 'application/cloudevents+json' }, encode(store(message)))
    expect(Array.from(received.data as Uint32Array)).toEqual([255, 0, 254])
  })

  it('reads a batch of what is written, wrapped messages among it', () => {
    const lines = [encode(store(toMessage(event({ data: 1 }), SUBJECT))), encode(stored({}, '{"a":1}'))]
    const received = HTTP.toEvent({
      headers: { 'content-type': 'application/cloudevents-batch+json' },
      body: `[${lines.join(',')}]`,
    }) as SdkEvent<unknown>[]
    expect(received.map(({ type, data }) => [type, data])).toEqual([
      ['order.placed', 1],
      ['io.nats.jetstream.message', { a: 1 }],
    ])
  })

  it('is read in a batch', () => {
    const batch = JSON.stringify([sdkEvent({ id: '1', data: 1 }), sdkEvent({ id: '2', subject: 'a' })])
    const read = parseExactly(batch) as unknown[]
    expect(read.map((one) => keyOf(cloudEventSchema.parse(one)))).toEqual(['/shop 1', '/shop 2'])
  })
})
