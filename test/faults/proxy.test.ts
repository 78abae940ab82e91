/** The proxy of the fault matrix does to a connection what it is told. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { until } from '../contract/expectations.ts'
import { randomFor } from '../publishing/seeded.ts'
import { startProxy, type TcpProxy } from './proxy.ts'

let echo: Server
/** The server's ends. */
const far = new Set<Socket>()
let proxy: TcpProxy
let client: Socket
let heard: Buffer
let isClosed: boolean

beforeAll(async () => {
  echo = createServer((socket) => {
    far.add(socket)
    socket.on('close', () => far.delete(socket)).on('error', () => undefined)
    socket.pipe(socket)
  })
  echo.listen(0, '127.0.0.1')
  await once(echo, 'listening')
})
afterAll(() => {
  echo.close()
})
beforeEach(async () => {
  proxy = await startProxy((echo.address() as AddressInfo).port, randomFor('proxy', 1))
  client = connect(proxy.port, '127.0.0.1')
  heard = Buffer.alloc(0)
  isClosed = false
  client
    .on('data', (data) => {
      heard = Buffer.concat([heard, data])
    })
    .on('close', () => {
      isClosed = true
    })
    .on('error', () => undefined)
  await once(client, 'connect')
  await say('x')
})
afterEach(async () => {
  client.destroy()
  await proxy.close()
})

/** Resolves once the echo is there; answers how long it took, ms. */
async function say(text: string): Promise<number> {
  const beganAt = performance.now()
  const before = heard.length
  client.write(text)
  await until('the echo', async () => heard.length >= before + Buffer.byteLength(text))
  return performance.now() - beganAt
}

describe('the proxy', () => {
  test('passes on all there is, in slices too', async () => {
    proxy.setWeather({ sliceBytes: 7 })
    const text = 'öäü 0123456789'.repeat(200)
    await say(text)
    expect(heard.toString()).toBe(`x${text}`)
  })

  test('delays each way', async () => {
    proxy.setWeather({ latencyMs: [100, 150] })
    expect(await say('later')).toBeGreaterThanOrEqual(200)
  })

  test('lets so many bytes pass a second', async () => {
    proxy.setWeather({ bytesPerSecond: 4_000 })
    expect(await say('y'.repeat(2_000))).toBeGreaterThanOrEqual(500)
  })

  test('resets connections by chance', async () => {
    proxy.setWeather({ resets: 1 })
    client.write('y')
    await until('the reset', async () => isClosed)
    expect(heard.toString()).toBe('x')
  })

  test('cuts a connection after so many bytes of the server', async () => {
    proxy.setWeather({ cutAfterBytes: 4 })
    client.write('abcdef')
    await until('the cut', async () => isClosed)
    expect('xabc'.startsWith(heard.toString())).toBe(true)
  })

  test('holds what comes in a blackhole, and lets it through afterwards', async () => {
    proxy.setWeather({ blackhole: true })
    client.write('held')
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(heard.toString()).toBe('x')
    proxy.setWeather({})
    await until('what was held', async () => heard.toString() === 'xheld')
  })

  test('does not tell the server of a client that went away in a blackhole, until it is over', async () => {
    proxy.setWeather({ blackhole: true })
    expect(proxy.abandon()).toBe(1)
    await until('the client is cut off', async () => isClosed)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(far.size).toBe(1)
    proxy.setWeather({})
    await until('the server hears of it', async () => far.size === 0)
  })

  test('loses for good what the server says when it is deaf to it', async () => {
    proxy.setWeather({ deafToServer: true })
    client.write('lost')
    await new Promise((resolve) => setTimeout(resolve, 100))
    proxy.setWeather({})
    await say('y')
    expect(heard.toString()).toBe('xy')
  })

  test('resets all connections when told to', async () => {
    expect(proxy.reset()).toBe(1)
    await until('the reset', async () => isClosed)
    await until('the server hears of it', async () => far.size === 0)
  })
})
