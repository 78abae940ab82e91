/** However long a body of lines is: the bridge takes no more of it than it can pass on, and keeps none of the rest. */
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { range, until } from '../contract/expectations.ts'
import { HOSTS, startHost, type TestHost } from '../support/host.ts'
import { startNats, type TestNats } from '../support/nats.ts'
import { type LinesClient, openLines } from './lines-client.ts'
import { inKernel, type MemoryWatch, watchMemory } from './process-memory.ts'
import { makeStream, readStored } from './stored.ts'

const MB = 1_000_000
const KIB = 1_024
const BODY_BYTES = 100 * MB
const BOMB_BYTES = 200 * MB
const LINE_BYTES = 1_000
const SHORT_LINE_BYTES = 50
const LINES = BODY_BYTES / LINE_BYTES
/** Written at once. */
const CHUNK_LINES = 64
const LONG_LINE_BYTES = 300 * MB
const MOST_GROWTH_BYTES = 64 * MB
/** V8 lets buffers pile up before it looks which of them are done with, in workerd to about 140 MB. */
const MOST_BUFFERS_BYTES = 200 * MB
/** After so many V8 has taken the room that it likes to have. */
const WARM_UP_LINES = LINES / 2
/** By itself it likes up to twice as much in Node, to no use, and how much is not the same in every run. */
const NODE_OPTIONS = '--max-semi-space-size=16 --max-old-space-size=128'
/** What the bridge may have under way to JetStream. */
const WINDOW_MESSAGES = 1_024
const WINDOW_BYTES = 512 * KIB
/** What the HTTP server and the runtime's own streams may hold of a body. */
const HOST_BUFFER_BYTES = MB
const STILL_MS = 500
const TEST_MS = 60_000

const lineOf = (subject: string, bytes: number) => {
  const line = (data: string) => `${JSON.stringify({ subject, data })}\n`
  return line('x'.repeat(bytes - line('').length))
}

async function writeLines(client: LinesClient, line: string, count: number): Promise<void> {
  const chunk = line.repeat(CHUNK_LINES)
  for (let left = count; left > 0 && !client.isOver(); left -= CHUNK_LINES)
    await client.write(left < CHUNK_LINES ? line.repeat(left) : chunk)
}

/** Settles when what `look` sees has not changed for a while; answers it. */
async function standstill(look: () => number): Promise<number> {
  let seen = look()
  let since = performance.now()
  await until('a standstill', async () => {
    const now = look()
    if (now !== seen) since = performance.now()
    seen = now
    return performance.now() - since > STILL_MS
  })
  return seen
}

describe.each(HOSTS)('the memory of %s is bounded', { timeout: TEST_MS }, (name) => {
  let nats: TestNats
  let host: TestHost
  let memory: MemoryWatch

  // A pause of NATS is no outage here.
  const start = () =>
    startHost(name, { natsUrl: nats.wsUrl, env: { REQUEST_TIMEOUT_MS: '30000', NODE_OPTIONS } })

  beforeAll(async () => {
    nats = await startNats()
    host = await start()
    await makeStream(host.url, 'MEMORY', { storage: 'memory' })
    const client = await openLines(host.url)
    await writeLines(client, lineOf('memory.warm-up', LINE_BYTES), WARM_UP_LINES)
    client.end()
    expect(await client.answered).toBe(200)
  })
  afterAll(async () => {
    await host?.stop()
    await nats?.stop()
  })
  beforeEach(() => {
    memory = watchMemory(host.pid)
  })

  const open = async (headers = {}): Promise<LinesClient> => {
    const client = await openLines(host.url, headers)
    onTestFinished(client.reset)
    return client
  }
  const checkMemory = (what: string, mostBytes = MOST_GROWTH_BYTES): void => {
    const { levelBytes, peakBytes } = memory
    const grownBytes = peakBytes() - levelBytes
    console.log(
      `${name}, ${what}: ${Math.round(grownBytes / MB)} MB over ${Math.round(levelBytes / MB)} MB at most`,
    )
    expect(grownBytes).toBeLessThan(mostBytes)
  }

  it('while 100 MB of lines are published, and the first has its result before 1 % of them is sent', async () => {
    const client = await open()
    const line = lineOf('memory.long', LINE_BYTES)
    await writeLines(client, line, LINES / 100)
    await client.resultsCome(1)
    await writeLines(client, line, LINES - LINES / 100)
    client.end()

    expect(await client.answered).toBe(200)
    expect(client.results).toHaveLength(LINES)
    expect(client.results.findIndex(({ index, seq }, place) => index !== place || !seq)).toBe(-1)
    checkMemory('100 MB of lines')
  })

  it('while the results are not read', async () => {
    const client = await open()
    const writing = writeLines(
      client,
      lineOf('memory.unread', SHORT_LINE_BYTES),
      BODY_BYTES / SHORT_LINE_BYTES,
    )
    await client.resultsCome(1)
    client.pause()

    await standstill(client.bytesTaken)
    checkMemory('results not read')
    client.reset()
    await writing
  })

  it('while a line of 300 MB comes, which is refused, and the next one stored', async () => {
    const client = await open()
    await client.write('{"subject":"memory.endless","data":"')
    const chunk = 'x'.repeat(MB)
    for (const _ of range(1, LONG_LINE_BYTES / MB)) await client.write(chunk)
    await client.write(`"}\n${lineOf('memory.endless', LINE_BYTES)}`)
    client.end()

    expect(await client.answered).toBe(200)
    expect(client.results).toEqual([
      { index: 0, error: expect.objectContaining({ code: 'payload_too_large', side_effects: 'none' }) },
      { index: 1, stream: 'MEMORY', seq: expect.any(Number), duplicate: false },
    ])
    checkMemory('a line of 300 MB', MOST_BUFFERS_BYTES)
  })

  it('while 100 MB of empty lines come out of 97 KB of gzip', async () => {
    const client = await open({ 'Content-Encoding': 'gzip' })
    await client.write(gzipSync('\n'.repeat(BODY_BYTES)))
    client.end()

    expect(await client.answered).toBe(200)
    expect(client.results).toEqual([])
    checkMemory('empty lines out of gzip')
  })

  it('while 200 MB of short lines come out of less than a MB of gzip', async () => {
    const bomb = gzipSync(lineOf('memory.bomb', SHORT_LINE_BYTES).repeat(BOMB_BYTES / SHORT_LINE_BYTES))
    expect(bomb.length).toBeLessThan(MB)
    const client = await open({ 'Content-Encoding': 'gzip' })
    await client.write(bomb)
    client.end()

    await client.resultsCome(10 * WINDOW_MESSAGES)
    checkMemory('short lines out of gzip')
  })

  it('while NATS is paused: no more of a body is read then, and no more lines sent than the window has', async () => {
    const bodies = [LINE_BYTES, SHORT_LINE_BYTES].map((bytes) => ({
      bytes,
      subject: `memory.paused.${bytes}`,
    }))
    const sent = await Promise.all(
      bodies.map(async ({ bytes, subject }) => {
        const client = await open()
        const writing = writeLines(client, lineOf(subject, bytes), BODY_BYTES / bytes)
        return { bytes, subject, client, writing }
      }),
    )
    await Promise.all(sent.map(({ client }) => client.resultsCome(2 * WINDOW_MESSAGES)))
    onTestFinished(nats.resume)
    await nats.pause()

    const port = Number(new URL(host.url).port)
    for (const { bytes, client } of sent) {
      const readBytes = await standstill(
        () => client.bytesTaken() - inKernel({ port: client.port() }, { port }),
      )
      const answeredBytes = client.results.length * bytes
      console.log(
        `${name}, NATS paused: of ${client.bytesTaken()} bytes in lines of ${bytes} the bridge has read ${readBytes}, ` +
          `answered ${answeredBytes}`,
      )
      expect(readBytes - answeredBytes).toBeLessThan(WINDOW_BYTES + bytes + HOST_BUFFER_BYTES)
    }
    checkMemory('NATS paused')

    // What NATS has of the lines now is all that it gets.
    await host.crash()
    await Promise.all(sent.map(({ writing }) => writing))
    nats.resume()
    host = await start()
    for (const { bytes, subject, client } of sent) {
      const unanswered = (await readStored(host.url, 'MEMORY', subject)).length - client.results.length
      expect(unanswered).toBeGreaterThan(0)
      expect(unanswered).toBeLessThanOrEqual(WINDOW_MESSAGES)
      expect(unanswered * bytes).toBeLessThan(WINDOW_BYTES + bytes)
    }
  })
})
