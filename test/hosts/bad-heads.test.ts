/** Requests whose head is not as it should be: each is refused for good, and none becomes a failure that is worth a retry. */
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeStream } from '../publishing/stored.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'

const GET = 'GET /v1/streams HTTP/1.1'
const POST = 'POST /v1/subjects/heads.a/messages HTTP/1.1'
const CHUNK = '1\r\nx\r\n0\r\n\r\n'

describe.each(HOSTS)('on %s', (name) => {
  let nats: TestNats
  let host: TestHost

  beforeAll(async () => {
    nats = await startNats()
    host = await startHost(name, { natsUrl: nats.wsUrl })
    await makeStream(host.url, 'HEADS')
  })
  afterAll(async () => {
    await host?.stop()
    await nats?.stop()
  })

  /** Sends a head and a body as they are, and takes all that comes before the connection ends. */
  const send = async (lines: readonly string[], body = '') => {
    const { port, host: authority } = new URL(host.url)
    const head = [...lines, 'Connection: close', '', ''].join('\r\n').replaceAll('AUTHORITY', authority)
    const socket = connect(Number(port), '127.0.0.1')
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk) => {
      text += chunk
    })
    socket.on('error', () => undefined)
    socket.write(head + body, 'latin1')
    await new Promise((resolve) => socket.once('close', resolve))
    const [start = '', ...rest] = text.split('\r\n\r\n')
    return { status: Number(start.split(' ')[1]), head: start, body: rest.join('\r\n\r\n') }
  }

  test.each([
    ['two hosts', [GET, 'Host: AUTHORITY', 'Host: other.example']],
    ['the same host twice', [GET, 'Host: AUTHORITY', 'Host: AUTHORITY']],
    ['a host with a space', [GET, 'Host: a b']],
    ['a host with a path', [GET, 'Host: AUTHORITY/path']],
    ['a host with a user', [GET, 'Host: user@AUTHORITY']],
    ['two hosts of a publish', [POST, 'Host: AUTHORITY', 'Host: AUTHORITY', 'Content-Length: 1'], 'x'],
    ['another coding than chunked', [POST, 'Host: AUTHORITY', 'Transfer-Encoding: gzip'], 'x'],
    ['two lengths', [POST, 'Host: AUTHORITY', 'Content-Length: 1', 'Content-Length: 2'], 'xy'],
    ['no authority', ['GET http://[/v1/streams HTTP/1.1', 'Host: AUTHORITY']],
  ] as [string, string[], string?][])('400 for %s', async (_, lines, body) => {
    const answer = await send(lines, body)
    expect(answer.status).toBe(400)
    expect(answer.body).not.toMatch(/"retryable":true/)
  })

  test('400 for a coding beside chunked', async () => {
    const lines = [POST, 'Host: AUTHORITY', 'Transfer-Encoding: gzip, chunked']
    expect((await send(lines, CHUNK)).status).toBe(400)
  })

  // workerd reads such a body by `chunked` alone, as RFC 9112 has it, and does not show the length.
  const besideChunked = name === 'node' ? 400 : 201
  test(`${besideChunked} for a length beside chunked`, async () => {
    const lines = [POST, 'Host: AUTHORITY', 'Content-Length: 1', 'Transfer-Encoding: chunked']
    expect((await send(lines, CHUNK)).status).toBe(besideChunked)
  })

  test('a Date with every answer', async () => {
    for (const path of ['/livez', '/v1/streams', '/v1/streams/NONE', '/nothing'])
      expect(Date.parse((await fetch(host.url + path)).headers.get('Date') ?? '')).toBeGreaterThan(0)
  })
})
