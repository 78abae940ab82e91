/** Readers of server-sent events as bare sockets: they count what comes, and check that it is what is theirs. */
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { writeRequest } from './http.ts'
import { MARK, NUMBER_DIGITS, readNumber } from './payload.ts'

/**
 * Message n goes to lane n % lanes, and reader r reads lane r % lanes: `{lane}` in the path. `ready`: stands in the answer
 * once the reader misses nothing any more, or so long after that. `slow`: one more, which reads all lanes.
 */
export type ReadersJob = {
  url: string
  path: string
  ready: string
  readyAfterMs: number
  readers: number
  lanes: number
  slow?: { path: string; bytesPerSecond: number }
}

/** Who reads. Each message is to come once, in order: `next`, and then every `stride`th. */
type Reader = {
  socket: Socket
  stride: number
  next: number
  isSlow: boolean
  settle: ((err?: Error) => void) | undefined
  rest: Buffer | undefined
}

/** All readers of this process. `delivered`: to all together, but for the slow one. */
export type Readers = {
  lanes: number
  /** How many are to get each message. */
  copies: number
  delivered: number
  sentAt: number[]
  /** Of the messages from `timedFrom` on. */
  latencies: number[]
  timedFrom: number
  /** Called when something came. */
  progress: () => void
  failure: Error | undefined
  all: Reader[]
  close: () => void
}

const BUFFER_BYTES = 65_536
/** More than a frame of chunked encoding can put between the digits of a number. */
const ENOUGH = NUMBER_DIGITS + 16
const OPENING_AT_ONCE = 64
const SLOW_TICK_MS = 1_000
const READY_TIMEOUT_MS = 20_000

/** One for all sockets: each read is taken before the next begins. */
const shared = Buffer.allocUnsafe(BUFFER_BYTES)

const fail = (readers: Readers, reader: Reader, err: Error) => {
  readers.failure ??= err
  reader.settle?.(err)
}

/** A number that chunked encoding has cut in two. */
const readCutNumber = (data: Buffer, at: number): number => {
  const text = data.toString('latin1', at + 1, at + ENOUGH).replace(/\r\n[0-9a-fA-F]+\r\n/, '')
  return /^\d{9}/.test(text) ? Number(text.slice(0, NUMBER_DIGITS)) : -1
}

const takeMessages = (readers: Readers, reader: Reader, received: Buffer) => {
  const data = reader.rest ? Buffer.concat([reader.rest, received]) : received
  reader.rest = undefined
  const now = performance.now()
  for (let at = data.indexOf(MARK); at !== -1; at = data.indexOf(MARK, at + 1)) {
    if (at + ENOUGH > data.length) {
      reader.rest = Buffer.from(data.subarray(at))
      break
    }
    const straight = readNumber(data, at)
    const number = straight === -1 ? readCutNumber(data, at) : straight
    if (number !== reader.next) {
      fail(readers, reader, new Error(`a reader was to get message ${reader.next} and got ${number}`))
      return
    }
    reader.next += reader.stride
    if (reader.isSlow) continue
    readers.delivered += 1
    if (number >= readers.timedFrom) readers.latencies.push(now - (readers.sentAt[number] ?? Number.NaN))
  }
  readers.progress()
}

/** Until the answer says that the reader is there. */
const takeHead = (readers: Readers, reader: Reader, received: Buffer, ready: string) => {
  const data = reader.rest ? Buffer.concat([reader.rest, received]) : Buffer.from(received)
  reader.rest = data
  const text = data.toString('latin1')
  if (text.length >= 12 && !text.startsWith('HTTP/1.1 200'))
    fail(readers, reader, new Error(`a reader was answered ${text.slice(0, 400)}`))
  if (!text.includes(ready)) return
  reader.rest = undefined
  reader.settle?.()
  reader.settle = undefined
}

const openReader = (
  readers: Readers,
  job: Pick<ReadersJob, 'url' | 'ready'>,
  path: string,
  place: { stride: number; next: number; isSlow: boolean },
): Promise<void> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(job.url)
    const late = setTimeout(() => reject(new Error('a reader was not ready in time')), READY_TIMEOUT_MS)
    const settle = (err?: Error) => {
      clearTimeout(late)
      if (err) reject(err)
      else resolve()
    }
    const callback = (size: number): boolean => {
      const data = shared.subarray(0, size)
      if (reader.settle) takeHead(readers, reader, data, job.ready)
      else takeMessages(readers, reader, data)
      return !reader.isSlow || reader.settle !== undefined
    }
    const onread = { buffer: shared, callback }
    const socket = connect({ host: hostname, port: Number(port), noDelay: true, onread })
    const reader: Reader = { socket, ...place, settle, rest: undefined }
    readers.all.push(reader)
    socket.on('error', (err) => fail(readers, reader, err))
    socket.on('close', () => fail(readers, reader, new Error('the connection of a reader was closed')))
    socket.write(writeRequest(`GET ${path}`, { accept: 'text/event-stream' }))
  })

const openSlow = async (readers: Readers, job: ReadersJob): Promise<NodeJS.Timeout | undefined> => {
  if (!job.slow) return undefined
  await openReader(readers, job, job.slow.path, { stride: 1, next: 0, isSlow: true })
  const slow = readers.all.find(({ isSlow }) => isSlow)
  // It is given one buffer at a time, and then none until it asks again.
  const tickMs = (SLOW_TICK_MS * BUFFER_BYTES) / job.slow.bytesPerSecond
  return setInterval(() => slow?.socket.resume(), tickMs)
}

/** Opens all, some at a time, and settles when each is at its place. Throws where one is refused. */
export const openAll = async (job: ReadersJob): Promise<Readers> => {
  const readers: Readers = {
    lanes: job.lanes,
    copies: job.readers / job.lanes,
    delivered: 0,
    sentAt: [],
    latencies: [],
    timedFrom: Number.POSITIVE_INFINITY,
    progress: () => {},
    failure: undefined,
    all: [],
    close: () => {},
  }
  let ticking: NodeJS.Timeout | undefined
  readers.close = () => {
    clearInterval(ticking)
    for (const { socket } of readers.all) socket.removeAllListeners('close').destroy()
  }
  let opened = 0
  const openSome = async () => {
    while (opened < job.readers) {
      const lane = opened++ % job.lanes
      const place = { stride: job.lanes, next: lane, isSlow: false }
      await openReader(readers, job, job.path.replace('{lane}', String(lane)), place)
    }
  }
  try {
    await Promise.all(Array.from({ length: OPENING_AT_ONCE }, openSome))
    ticking = await openSlow(readers, job)
    await delay(job.readyAfterMs)
  } catch (err) {
    readers.close()
    throw err
  }
  return readers
}

/** How many messages the slow reader has got. */
export const slowProgress = ({ all }: Readers): number => all.find(({ isSlow }) => isSlow)?.next ?? 0

const DRAIN_MS = 20_000
const STANDSTILL_MS = 10_000

/** Waits until everybody has everything that was sent. Throws with what is missing, and at the latest after 20 s. */
export const drain = async (readers: Readers): Promise<void> => {
  const began = performance.now()
  const wanted = readers.sentAt.length * readers.copies
  let seen = { delivered: readers.delivered, at: began }
  while (readers.failure === undefined) {
    const now = performance.now()
    if (readers.delivered >= wanted) return
    if (readers.delivered > seen.delivered) seen = { delivered: readers.delivered, at: now }
    const missing = `${wanted - readers.delivered} of ${wanted} deliveries`
    if (now - seen.at > STANDSTILL_MS) throw new Error(`${missing} never came`)
    if (now - began > DRAIN_MS)
      throw new Error(`${missing} had not come ${DRAIN_MS} ms after the last publish`)
    await delay(5)
  }
  throw readers.failure
}
