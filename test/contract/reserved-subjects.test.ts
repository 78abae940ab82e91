/** Subjects that are NATS's own are neither published to nor listened on, and a refusal says what to use instead. */
import { describe, expect, test } from 'vitest'
import { publishPath } from './client.ts'
import { problem } from './expectations.ts'
import { failed, sendBatch } from './results.ts'
import { onEveryTarget } from './target.ts'

/** And a word of what to use instead. */
const RESERVED = [
  ['$KV.B.key', 'key-value'],
  ['$O.B.M.x', 'object store'],
  ['$JS.API.INFO', '/v1/streams'],
  ['$SYS.REQ.SERVER.PING', 'system account'],
  ['$SRV.PING', 'services'],
  ['$mine.a', 'first token'],
  ['_INBOX.abc.1', 'Replies'],
  ['_R_.abc', 'Replies'],
] as const

const RENAMED = (dest: string) => ({ src: '>', dest })
/** By the field that is refused. */
const REACHING: readonly (readonly [field: string, config: (own: string) => object])[] = [
  ...[
    '_INBOX.>',
    '_INBOX.*',
    '_INBOX',
    '>',
    '*.>',
    '*.*',
    '*.orders.>',
    '$JS.EVENT.>',
    '$KV.B.>',
    '$O.B.>',
    '$SYS.>',
    '_R_.>',
  ].map((subject) => ['subjects.1', (own: string) => ({ subjects: [`${own}.>`, subject] })] as const),
  ...['_INBOX.>', '_INBOX.abc', '$JS.API.>', '>', '{{wildcard(1)}}.>', '$1.>', '{{split(1,-)}}'].map(
    (dest) =>
      ['republish.dest', (own: string) => ({ subjects: [`${own}.*`], republish: RENAMED(dest) })] as const,
  ),
  ...['_INBOX.>', '$JS.API.>', '$KV.B.>'].flatMap((dest) => [
    [
      'subject_transform.dest',
      (own: string) => ({ subjects: [`${own}.>`], subject_transform: RENAMED(dest) }),
    ] as const,
    [
      'sources.0.subject_transforms.0.dest',
      (own: string) => ({ sources: [{ name: own, subject_transforms: [RENAMED(dest)] }] }),
    ] as const,
    [
      'mirror.subject_transforms.0.dest',
      (own: string) => ({ mirror: { name: own, subject_transforms: [RENAMED(dest)] } }),
    ] as const,
  ]),
  ['mirror.filter_subject', (own) => ({ mirror: { name: own, filter_subject: '_INBOX.>' } })],
  ['sources.0.filter_subject', (own) => ({ sources: [{ name: own, filter_subject: '$KV.B.>' }] })],
  ...['_INBOX.abc', '_R_.x', '$SYS.REQ', '$KV.B', '>'].map(
    (api) =>
      ['sources.0.external.api', (own: string) => ({ sources: [{ name: own, external: { api } }] })] as const,
  ),
  [
    'sources.0.external.deliver',
    (own) => ({ sources: [{ name: own, external: { api: '$JS.hub.API', deliver: '_INBOX' } }] }),
  ],
]

onEveryTarget((target) => {
  describe('publishing to what is NATS’s own', () => {
    test.each(RESERVED)('404 that says why and what to use instead: %s', async (subject, word) => {
      const told = { side_effects: 'none', detail: expect.stringContaining(word) }

      expect(await target.bridge.send(`POST ${publishPath(subject)}`, { body: 'x' })).toMatchObject(
        problem(404, 'subject_not_found', told),
      )
      expect(
        (
          await sendBatch(target, [
            { subject, data: 'x' },
            { subject, json: {} },
          ])
        ).body.results,
      ).toMatchObject([failed(0, 404, 'subject_not_found', told), failed(1, 404, 'subject_not_found', told)])
      const { response } = await target.bridge.open('POST /v1/messages', {
        headers: { 'Content-Type': 'application/x-ndjson' },
        body: `${JSON.stringify({ subject, data: 'x' })}\n`,
      })
      expect(JSON.parse(await response.text())).toMatchObject(failed(0, 404, 'subject_not_found', told))
      const event = { specversion: '1.0', id: '1', source: '/s', type: 't', data: 1 }
      expect(
        await target.bridge.send('POST /v1/messages', {
          headers: { 'Content-Type': 'application/cloudevents+json', 'Nats-Subject': subject },
          body: JSON.stringify(event),
        }),
      ).toMatchObject(problem(404, 'subject_not_found', told))
    })

    test('404 that names the target of a schedule', async () => {
      if (!target.supports.message_schedules) return
      const orders = await target.makeStream({ allow_msg_schedules: true })
      const schedule = {
        subject: orders.subject('s'),
        deliver_at: '2020-01-01T00:00:00Z',
        schedule_target: '$JS.API.STREAM.DELETE.X',
      }

      const { results } = (await sendBatch(target, [schedule])).body
      expect(results).toMatchObject([
        failed(0, 404, 'subject_not_found', {
          errors: [{ field: 'schedule_target', message: expect.stringContaining('/v1/streams') }],
        }),
      ])
    })
  })

  describe('a stream that reaches what is NATS’s own', () => {
    test.each(REACHING)('400 naming %s', async (field, config) => {
      const own = await target.makeStream()
      const name = `${own.name}-reaching`
      const refused = { status: 400, body: { code: 'invalid_request', errors: [{ field }] } }
      const json = { name, storage: 'memory', ...config(`${own.name}-2`) }

      expect(await target.bridge.send('POST /v1/streams', { json })).toMatchObject(refused)
      expect(await target.bridge.send(`PUT /v1/streams/${name}`, { json })).toMatchObject(refused)
      expect((await target.bridge.send(`GET /v1/streams/${name}`)).status).toBe(404)
    })

    test('200 for what begins with a token of its own', async () => {
      const own = await target.makeStream()
      const name = own.name
      const config = {
        subjects: [`${name}.>`],
        storage: 'memory',
        republish: { src: `${name}.>`, dest: `again-${name}.>` },
        subject_transform: { src: `${name}.*.*`, dest: `${name}.{{wildcard(2)}}.{{wildcard(1)}}` },
      }
      expect((await target.bridge.send(`PUT ${own.path}`, { json: config })).status).toBe(200)
    })
  })
})
