/** The proof of what a browser is told whose Durable Object was restarted under its request. */
import { expect, test } from 'vitest'
import { createCursors } from '../../src/tokens/cursor.ts'
import { readKeyring } from '../../src/tokens/seal.ts'
import worker from '../../src/worker.ts'
import { newTokenKey } from '../support/host.ts'

const key = newTokenKey()
const ORIGIN = 'https://app.example.com'
/** What stands for the platform, which cannot be had to lose an object. */
const HOST = {
  idFromName: (name: string) => name,
  get: () => ({ fetch: () => Promise.reject(new Error('The Durable Object was reset.')) }),
}
const env = {
  AUTH: 'none',
  NATS_URL: 'ws://127.0.0.1:1',
  TOKEN_KEYS: key,
  LOG: 'off',
  CORS_ORIGINS: ORIGIN,
  HOST,
}
const cursors = createCursors(readKeyring([key]), 'own')
const idOf = (stream: string, ...filters: string[]) => cursors.scope(stream, filters).seal({ seq: 1 })

const ask = (path: string, headers: Record<string, string> = {}) =>
  worker.fetch(
    new Request(`http://127.0.0.1${path}`, {
      headers: { Accept: 'text/event-stream', Origin: ORIGIN, ...headers },
    }),
    env as never,
  )

test.each([
  ['/v1/streams/S/messages', { 'Last-Event-ID': idOf('S') }],
  ['/v1/streams/S/messages?subject=a.b&subject=c', { 'Last-Event-ID': idOf('S', 'a.b', 'c') }],
  [`/v1/streams/S/messages?subject=a&lastEventId=${idOf('S')}`, {}],
  ['/v1/streams/S/consumers/C/messages', { 'Last-Event-ID': idOf('S', '$consumer.C') }],
])('200, retry and the end to what is resumed: %s', async (path, headers) => {
  const answer = await ask(path, headers)
  expect(answer.status).toBe(200)
  expect(answer.headers.get('Content-Type')).toBe('text/event-stream')
  expect(answer.headers.get('Access-Control-Allow-Origin')).toBe(ORIGIN)
  expect(await answer.text()).toMatch(/^retry: \d+\n\n$/)
})

test.each([
  ['/v1/streams/S/messages', {}],
  ['/v1/streams/S/messages', { 'Last-Event-ID': 'c1.test.forged' }],
  ['/v1/streams/OTHER/messages', { 'Last-Event-ID': idOf('S') }],
  ['/v1/streams/S/messages?subject=b', { 'Last-Event-ID': idOf('S', 'a') }],
  ['/v1/streams/S/consumers/C/messages', { 'Last-Event-ID': idOf('S') }],
  ['/v1/streams/S/messages', { 'Last-Event-ID': idOf('S'), Accept: 'application/json' }],
  ['/v1/streams/S/messages/last', { 'Last-Event-ID': idOf('S') }],
])('503 to anything else: %s %j', async (path, headers) => {
  const answer = await ask(path, headers)
  expect(answer.status).toBe(503)
  expect(await answer.json()).toMatchObject({ code: 'jetstream_unavailable', retryable: true })
})
