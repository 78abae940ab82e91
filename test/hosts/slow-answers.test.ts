/** The test of answers that nobody takes: ended after their time, where others go on. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { endSlowAnswers } from '../../src/hosts/slow-answers.ts'

const STALLED_MS = 400
const BODY = Buffer.alloc(32 * 1_024 * 1_024)

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** Answers with more than connections hold; `/late`, after more than the time; `/events`, as events. */
async function listen(): Promise<number> {
  const server = createServer((request, response) => {
    if (request.url === '/late') setTimeout(() => response.end('late'), 3 * STALLED_MS)
    else if (request.url === '/events')
      response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8' }).end(BODY)
    else response.writeHead(200, { 'Content-Type': 'application/json' }).end(BODY)
  })
  endSlowAnswers(server, STALLED_MS)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  ends.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

async function ask(path: string, accept = '*/*'): Promise<Socket> {
  const socket = connect(await listen(), '127.0.0.1')
  ends.push(() => socket.destroy())
  socket.on('error', () => {})
  socket.pause()
  await once(socket, 'connect')
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nAccept: ${accept}\r\nConnection: close\r\n\r\n`)
  return socket
}

/** Reads on until the end, with a pause before each piece; answers how many bytes came. */
async function read(socket: Socket, pauseMs: number): Promise<number> {
  let bytes = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    const before = Math.floor(bytes / 4_194_304)
    bytes += chunk.length
    if (Math.floor(bytes / 4_194_304) > before) await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  return bytes
}

describe('endSlowAnswers', () => {
  test('ends an answer that nobody takes', async () => {
    const socket = await ask('/')
    await new Promise((resolve) => setTimeout(resolve, 3 * STALLED_MS))
    const bytes = await read(socket, 0).catch(() => 0)
    expect(bytes).toBeLessThan(BODY.length)
  })

  test('lets an answer go on as long as something of it is taken', async () => {
    const begun = performance.now()
    expect(await read(await ask('/'), STALLED_MS / 2)).toBeGreaterThan(BODY.length)
    expect(performance.now() - begun).toBeGreaterThan(2 * STALLED_MS)
  })

  test('waits for an answer that is long in coming', async () => {
    expect(await read(await ask('/late'), 0)).toBeGreaterThan(0)
  })

  test('ends a connection on which nothing is asked', async () => {
    const socket = connect(await listen(), '127.0.0.1')
    await once(socket.resume(), 'close')
  })

  test.each(['text/event-stream', 'application/json, text/event-stream;q=0.1'])(
    'ends what is no server-sent events, whatever the request would accept: %s',
    async (accept) => {
      const socket = await ask('/', accept)
      await new Promise((resolve) => setTimeout(resolve, 3 * STALLED_MS))
      expect(await read(socket, 0).catch(() => 0)).toBeLessThan(BODY.length)
    },
  )

  test.each(['text/event-stream', '*/*'])('leaves server-sent events alone, to %s', async (accept) => {
    const socket = await ask('/events', accept)
    await new Promise((resolve) => setTimeout(resolve, 3 * STALLED_MS))
    expect(await read(socket, 0)).toBeGreaterThan(BODY.length)
  })
})
