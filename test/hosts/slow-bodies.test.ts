/** The test of bodies that do not come: ended after their time, where others go on. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { endSlowBodies } from '../../src/hosts/slow-bodies.ts'

const TIMES = { wholeMs: 400, silenceMs: 1_500, sweepMs: 20 }
const LINES = 'application/x-ndjson'

const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

/** Answers when a body has ended. */
async function listen(): Promise<number> {
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    request.resume().once('end', () => response.end('whole'))
  })
  endSlowBodies(server, TIMES)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  ends.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

async function begin(type: string): Promise<Socket> {
  const socket = connect(await listen(), '127.0.0.1')
  ends.push(() => socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n`)
  return socket
}

/** However it comes to that: `once` would reject with a reset. */
const closing = (socket: Socket) => new Promise((resolve) => socket.once('close', resolve))

/** Sends a piece of body every so often, until it is over; answers how long that took. */
async function drip(socket: Socket, forMs: number): Promise<number> {
  const began = performance.now()
  const timer = setInterval(() => socket.write('1\r\nx\r\n'), 50)
  const closed = closing(socket)
  const stop = setTimeout(() => {
    clearInterval(timer)
    socket.end('0\r\n\r\n')
  }, forMs)
  socket.resume()
  await closed
  clearInterval(timer)
  clearTimeout(stop)
  return performance.now() - began
}

describe('endSlowBodies', () => {
  test('ends a whole body that drips on past its time', async () => {
    expect(await drip(await begin('application/json'), 15_000)).toBeLessThan(12_000)
  })

  test('lets a stream of lines go on as long as something comes', async () => {
    expect(await drip(await begin(LINES), 2_500)).toBeGreaterThan(2_000)
  })

  test('ends a stream of lines in which nothing comes', async () => {
    const socket = await begin(LINES)
    const began = performance.now()
    await closing(socket.resume())
    expect(performance.now() - began).toBeGreaterThan(TIMES.silenceMs)
  })
})
