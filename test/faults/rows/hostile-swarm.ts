/** The process that sends hostile requests: what it does to its own event loop must not slow the clients that are measured. */
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { startServer } from '../../../scripts/processes.ts'
import { inParallel, range } from '../../contract/expectations.ts'
import { randomFor } from '../../publishing/seeded.ts'
import { readAnswer } from './bare-http.ts'
import { type Callers, type HostileRequest, hostileRequests } from './hostile-requests.ts'

export interface SwarmOptions {
  readonly port: number
  readonly seed: number
  readonly count: number
  /** Requests under way at once. */
  readonly atOnce: number
  readonly callers: Callers
}

export interface SwarmReport {
  readonly sent: number
  /** How many were answered with each status. */
  readonly statuses: Readonly<Record<string, number>>
  readonly byOperation: Readonly<Record<string, number>>
  /** What came back that must not, each once, with how often. */
  readonly faults: Readonly<Record<string, number>>
}

/** Of a request that was sent whole and is read. */
const ANSWER_MS = 30_000
/** How long a client that is not read from, half-sent or slow holds its connection at most. */
const HOLD_MS = 800
const LEAVE_MS = 200
const SLOW_BYTE_MS = 20
/** A problem is bounded whatever was wrong; results of a batch are not problems of the request. */
const MAX_PROBLEM_BYTES = 65_536
/** The longest head that both HTTP servers take. */
const MAX_HEAD_BYTES = 16_384
/** An answer is looked at so far; a stream of events goes on. */
const LOOK_BYTES = 262_144
const SERVERS_OWN = new Set([400, 408, 411, 413, 414, 417, 431])
const PASSING = new Set([501, 503, 504])

/** Sends from a process of its own; resolves when the last client has left. */
export async function runSwarm(options: SwarmOptions): Promise<SwarmReport> {
  const swarm = await startServer({
    name: 'swarm',
    command: process.execPath,
    args: [fileURLToPath(import.meta.url), JSON.stringify(options)],
    pipeStdout: true,
  })
  if (!swarm.stdout) throw new Error('The swarm has no standard output.')
  const report = await text(swarm.stdout)
  const { code } = await swarm.ended
  if (code !== 0) throw new Error(`The swarm ended with ${code}.`)
  return JSON.parse(report) as SwarmReport
}

interface Answered {
  readonly status: number | undefined
  readonly fault: string | undefined
}

async function open(port: number): Promise<Socket | undefined> {
  const socket = connect({ host: '127.0.0.1', port })
  return await new Promise((resolve) => {
    socket.once('connect', () => resolve(socket))
    socket.once('error', () => resolve(undefined))
    socket.on('error', () => undefined)
  })
}

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

async function send(port: number, request: HostileRequest, random: () => number): Promise<Answered> {
  const socket = await open(port)
  if (!socket) return { status: undefined, fault: 'no connection is taken' }
  try {
    switch (request.manner) {
      case 'read':
        return await sendAndRead(socket, request)
      case 'unread':
        socket.pause()
        socket.write(request.head)
        socket.write(request.body)
        await wait(HOLD_MS * random())
        break
      case 'half':
        socket.write(request.head)
        socket.write(request.body.subarray(0, Math.floor(request.body.length * random())))
        await wait(HOLD_MS * random())
        break
      case 'slow':
        await sendSlowly(socket, request)
        break
      case 'left':
        socket.write(request.head)
        socket.write(request.body)
        await wait(LEAVE_MS * random())
    }
    return { status: undefined, fault: undefined }
  } finally {
    if (random() < 0.5) socket.resetAndDestroy()
    else socket.destroy()
  }
}

async function sendSlowly(socket: Socket, { head, body }: HostileRequest): Promise<void> {
  const bytes = Buffer.concat([Buffer.from(head, 'latin1'), body])
  // All but the end of it at once, so that something depends on what is slow.
  const fast = Math.max(0, Math.min(Buffer.byteLength(head), bytes.length - 1))
  socket.write(bytes.subarray(0, fast))
  for (let at = fast; at < bytes.length && at < fast + HOLD_MS / SLOW_BYTE_MS && socket.writable; at += 1) {
    socket.write(bytes.subarray(at, at + 1))
    await wait(SLOW_BYTE_MS)
  }
}

/** An answer of events or of lines goes on: its head, and no more, is waited for. */
const GOES_ON = /^content-type: (text\/event-stream|application\/x-ndjson)/im

function sendAndRead(socket: Socket, { head, body }: HostileRequest): Promise<Answered> {
  const received: Buffer[] = []
  let size = 0
  return new Promise((resolve) => {
    const finish = (isOver: boolean) => {
      const bytes = Buffer.concat(received)
      const text = bytes.subarray(0, MAX_HEAD_BYTES).toString('latin1')
      const goesOn = GOES_ON.test(text.slice(0, Math.max(0, text.indexOf('\r\n\r\n')))) || size > LOOK_BYTES
      const answer = goesOn ? undefined : readAnswer(bytes, isOver)
      if (!answer && !goesOn && !isOver) return
      clearTimeout(timer)
      if (goesOn) resolve({ status: Number(text.split(' ')[1]), fault: undefined })
      else if (!answer)
        resolve({
          status: undefined,
          fault: Buffer.byteLength(head) > MAX_HEAD_BYTES ? undefined : 'hung up without an answer',
        })
      else resolve({ status: answer.status, fault: faultOf(answer) })
    }
    const timer = setTimeout(
      () => resolve({ status: undefined, fault: `no answer within ${ANSWER_MS} ms` }),
      ANSWER_MS,
    )
    socket.on('data', (data) => {
      received.push(data)
      size += data.length
      finish(false)
    })
    socket.on('end', () => finish(true))
    socket.on('close', () => finish(true))
    socket.write(head, 'latin1')
    socket.write(body)
  })
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Buffer
}

function faultOf({ status, headers, bytes }: Answer): string | undefined {
  if (status < 400) return undefined
  const said = bytes.toString('utf8', 0, 300)
  if (status >= 500 && !PASSING.has(status)) return `${status} ${said}`
  if (headers.get('Content-Type')?.startsWith('application/problem+json') !== true)
    return SERVERS_OWN.has(status) ? undefined : `a bare ${status} ${said}`
  if (bytes.length > MAX_PROBLEM_BYTES && !bytes.includes('"results"'))
    return `a problem of ${bytes.length} bytes: ${said}`
  return undefined
}

async function run({ port, seed, count, atOnce, callers }: SwarmOptions): Promise<SwarmReport> {
  const random = randomFor('hostile requests', seed)
  const next = hostileRequests(random, callers)
  const [statuses, byOperation, faults] = [
    new Map<string, number>(),
    new Map<string, number>(),
    new Map<string, number>(),
  ]
  const add = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1)
  await inParallel(range(1, count), atOnce, async () => {
    const request = next()
    const { status, fault } = await send(port, request, random)
    add(byOperation, request.operationId)
    add(statuses, status === undefined ? request.manner : String(status))
    if (fault !== undefined) add(faults, `${request.operationId}, ${request.what}: ${fault}`)
  })
  const plain = (counts: Map<string, number>) => Object.fromEntries(counts)
  return { sent: count, statuses: plain(statuses), byOperation: plain(byOperation), faults: plain(faults) }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const report = await run(JSON.parse(process.argv[2] ?? '{}') as SwarmOptions)
  process.stdout.write(JSON.stringify(report), () => process.exit(0))
}
