/** Publishes that a stream does not allow: the refusal says which setting of the stream would. */
import { describe, expect, test } from 'vitest'
import { publishPath } from './client.ts'
import { onEveryTarget, type Target } from './target.ts'

type Feature = keyof Target['supports']

/** What a publish asks for, the setting that it needs, and the feature of the server that it is. */
const PUBLISHES: [headers: Record<string, string>, setting: string, feature: Feature | undefined][] = [
  [{ 'Nats-Rollup': 'sub' }, 'allow_rollup_hdrs', undefined],
  [{ 'Nats-TTL': '10s' }, 'allow_msg_ttl', 'message_ttl'],
  [{ 'Nats-Incr': '+1' }, 'allow_msg_counter', 'counters'],
  [
    { 'Nats-Schedule': '@at 2099-01-01T00:00:00Z', 'Nats-Schedule-Target': 'elsewhere' },
    'allow_msg_schedules',
    'message_schedules',
  ],
]

onEveryTarget((target) => {
  describe('a stream that does not allow it', () => {
    test.each(PUBLISHES)('422 naming what %j needs: %s', async (headers, setting, feature) => {
      if (feature && !target.supports[feature]) return
      const stream = await target.makeStream()
      const body = headers['Nats-Incr'] ? '' : 'x'
      const answer = await target.bridge.send(`POST ${publishPath(stream.subject('a'))}`, { headers, body })
      expect(answer).toMatchObject({
        status: 422,
        body: {
          code: 'refused_by_jetstream',
          detail: expect.stringContaining(`Stream "${stream.name}" needs "${setting}": true`),
        },
      })
    })

    test('422 naming what an atomic batch needs, in the problem and of each message: allow_atomic', async () => {
      if (!target.supports.atomic_batches) return
      const stream = await target.makeStream()
      const messages = ['a', 'b'].map((tail) => ({ subject: stream.subject(tail), data: 'x' }))
      const { status, body } = await target.bridge.send<{ detail: string; results: object[] }>(
        'POST /v1/messages',
        { json: { atomic: true, messages } },
      )
      expect(status).toBe(422)
      expect(body.detail).toContain('"allow_atomic": true')
      expect(JSON.stringify(body.results)).toContain('\\"allow_atomic\\": true')
    })

    test('names it, and blames only its own messages in an atomic batch over another stream', async () => {
      if (!target.supports.atomic_batches) return
      const [other, stream] = [await target.makeStream({ allow_atomic: true }), await target.makeStream()]
      for (const streams of [
        [other, stream],
        [stream, other],
      ]) {
        const messages = streams.map((each) => ({ subject: each.subject('a'), data: 'x' }))
        const answer = await target.bridge.send('POST /v1/messages', { json: { atomic: true, messages } })
        const place = streams.indexOf(stream)
        const detail = `Stream "${stream.name}" needs "allow_atomic": true.`
        const results = streams.map((each) =>
          each === stream
            ? { error: { code: 'refused_by_jetstream', detail } }
            : { error: { code: 'batch_refused' } },
        )
        expect(answer).toMatchObject({
          status: 422,
          body: { detail: `messages.${place}: ${detail}`, results },
        })
      }
    })

    test.each(PUBLISHES)(
      'blames only the message of an atomic batch that asks for it by %j',
      async (headers, setting, feature) => {
        if (!target.supports.atomic_batches || (feature && !target.supports[feature])) return
        const stream = await target.makeStream({ allow_atomic: true })
        const messages = [
          { subject: stream.subject('a'), data: 'x' },
          { subject: stream.subject('b'), data: headers['Nats-Incr'] ? '' : 'x', headers },
        ]
        const answer = await target.bridge.send('POST /v1/messages', { json: { atomic: true, messages } })
        expect(answer).toMatchObject({
          status: 422,
          body: {
            results: [
              { error: { code: 'batch_refused' } },
              { error: { detail: `Stream "${stream.name}" needs "${setting}": true.` } },
            ],
          },
        })
      },
    )
  })
})
