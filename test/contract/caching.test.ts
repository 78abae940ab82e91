/** The contract of caches: what is kept, for whom, and what a browser does with bytes that somebody stored. */
import { beforeAll, describe, expect, test } from 'vitest'
import { LISTED_ORIGIN, onEveryTarget, type TestStream } from './target.ts'

const JSON_TYPE = { Accept: 'application/json' }

const variesOn = (headers: Headers) =>
  (headers.get('Vary') ?? '')
    .split(',')
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== '')

onEveryTarget((target) => {
  let stream: TestStream
  beforeAll(async () => {
    stream = await target.makeStream()
    await target.bridge.publish(stream.subject('a'), 'x', { 'Content-Type': 'text/plain' })
  })
  const send = (request: string, headers: Record<string, string> = {}) =>
    target.bridge.send(request, { headers, raw: true })

  describe('what a cache keeps', () => {
    const forms: [name: string, accept: string][] = [
      ['JSON', 'application/json'],
      ['a CloudEvent', 'application/cloudevents+json'],
      ['a raw payload', 'text/plain'],
    ]
    test.each(forms)(
      '%s of one message: privately, and for the credential and the type alone',
      async (_, accept) => {
        for (const place of ['messages/1', 'messages/last']) {
          for (const method of ['GET', 'HEAD']) {
            const first = await send(`${method} ${stream.path}/${place}`, { Accept: accept })
            const etag = first.headers.get('ETag') ?? ''
            const again = await send(`${method} ${stream.path}/${place}`, {
              Accept: accept,
              'If-None-Match': etag,
            })
            expect([first.status, again.status]).toEqual([200, 304])
            for (const { headers } of [first, again]) {
              expect(headers.get('Cache-Control')).toMatch(/\bprivate\b/)
              expect(headers.get('ETag')).toBe(etag)
              expect(variesOn(headers).sort()).toEqual(['accept', 'authorization', 'cookie', 'origin'])
            }
          }
        }
      },
    )

    test('not the failures of what it may keep', async () => {
      for (const tail of ['999', '0', 'last?subject=nothing.here']) {
        const { status, headers } = await send(`GET ${stream.path}/messages/${tail}`, JSON_TYPE)
        expect([status >= 400, headers.get('Cache-Control')]).toEqual([true, 'no-store'])
      }
    })

    test.each([
      '/livez',
      '/readyz',
      '/metrics',
      '/v1/capabilities',
      '/v1/streams',
      '/nothing',
      '/livez?deep=1',
      '/openapi.json?x=1',
    ])('nothing of %s', async (path) => {
      for (const method of ['GET', 'HEAD', 'PATCH']) {
        const { headers } = await send(`${method} ${path}`)
        expect([method, headers.get('Cache-Control')]).toEqual([method, 'no-store'])
      }
    })

    test('no page, no lines and no events', async () => {
      for (const accept of [
        'application/json',
        'application/x-ndjson',
        'application/cloudevents-batch+json',
      ]) {
        const { headers } = await send(`GET ${stream.path}/messages`, { Accept: accept })
        expect([accept, headers.get('Cache-Control')]).toEqual([accept, 'no-store'])
      }
    })

    test.each(['/docs', '/openapi.json'])('%s, which is asked for each time and sent once', async (path) => {
      for (const method of ['GET', 'HEAD']) {
        const first = await send(`${method} ${path}`)
        const etag = first.headers.get('ETag') ?? ''
        expect(etag).toMatch(/^(W\/)?"[^"]+"$/)
        expect(first.headers.get('Cache-Control')).toBe('no-cache')
        for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
          const again = await send(`${method} ${path}`, { 'If-None-Match': known })
          expect([known, again.status, again.bytes.length]).toEqual([known, 304, 0])
          expect(again.headers.get('ETag')).toBe(etag)
          expect(again.headers.get('Cache-Control')).toBe('no-cache')
          expect(variesOn(again.headers)).toContain('origin')
        }
        expect((await send(`${method} ${path}`, { 'If-None-Match': '"other"' })).status).toBe(200)
      }
    })

    test.skipIf(!target.isOwn)('an answer to a page says so beside what it varies on', async () => {
      const { headers } = await send(`GET ${stream.path}/messages/1`, { ...JSON_TYPE, Origin: LISTED_ORIGIN })
      expect(headers.get('Access-Control-Allow-Origin')).toBe(LISTED_ORIGIN)
      expect(variesOn(headers)).toEqual(expect.arrayContaining(['origin', 'authorization']))
    })
  })

  describe('bytes that somebody stored', () => {
    const shown = [
      'text/plain',
      'text/plain; charset=utf-8',
      'image/png',
      'IMAGE/JPEG',
      'audio/mpeg',
      'video/mp4; codecs="avc1.42E01E"',
    ]
    const saved = [
      undefined,
      'text/html',
      'text/html; charset=utf-8',
      'application/json',
      'application/pdf',
      'application/xhtml+xml',
      'text/xml',
      'text/javascript',
      'text/css',
      'image/svg+xml',
      'Image/SVG+XML; charset=utf-8',
      'image/svg',
      'image/vnd.example+xml',
      'image/xml',
      'image/png, text/html',
      'image/png;a=b,text/html',
      'text/plain;charset=x,text/html',
      'text/plainly',
      'imagery/png',
      'image',
      'multipart/x-mixed-replace',
      'application/x-shockwave-flash',
    ]
    const types: [type: string | undefined, disposition: string | null][] = [
      ...shown.map((type): [string, null] => [type, null]),
      ...saved.map((type): [string | undefined, string] => [type, 'attachment']),
    ]

    test.each(types)('of the type %s never run as a page of the bridge', async (type, disposition) => {
      const { seq } = await target.bridge.publish(
        stream.subject('raw'),
        '<script>alert(1)</script>',
        type === undefined ? {} : { 'Content-Type': type },
      )
      for (const [method, tail] of [
        ['GET', `${seq}`],
        ['HEAD', `${seq}`],
        ['GET', `last?subject=${stream.subject('raw')}`],
      ]) {
        const { status, headers } = await send(`${method} ${stream.path}/messages/${tail}`, { Accept: 'x/y' })
        expect(status).toBe(200)
        expect(headers.get('Content-Disposition')).toBe(disposition)
        const policy = (headers.get('Content-Security-Policy') ?? '').split(';').map((part) => part.trim())
        expect(policy).toEqual(expect.arrayContaining(['sandbox', "default-src 'none'"]))
        expect(headers.get('X-Content-Type-Options')).toBe('nosniff')
      }
    })
  })
})
