/** A client that pulls and leaves: while it waits, or in the middle of what it is answered. */
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Pulled } from '../../contract/client.ts'
import { AnswerParts } from './answer-parts.ts'

export interface Departure {
  /** Bytes of the answer that it waits for; 0: it leaves after `ms`, whatever has come. */
  readonly bytes: number
  readonly ms: number
  readonly how: 'reset' | 'close'
}

export interface Left {
  /** By the clock of `performance`, ms. */
  readonly at: number
  /** What it was answered, where the whole text had come. */
  readonly pulled: Pulled | undefined
  /** Its end had come, too. */
  readonly isOver: boolean
}

/** Pulls from a consumer and leaves. */
export async function pullAndLeave(
  url: string,
  path: string,
  pull: object,
  { bytes, ms, how }: Departure,
): Promise<Left> {
  const { port } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  // What breaks is what it is after.
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  const body = JSON.stringify(pull)
  const head = ['Host: 127.0.0.1', 'Content-Type: application/json', `Content-Length: ${body.length}`, '', '']
  socket.write(`POST ${path}/pull HTTP/1.1\r\n${head.join('\r\n')}${body}`)
  const answer = new AnswerParts()
  const pieces: Buffer[] = []
  let taken = 0
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    const leave = () => {
      clearTimeout(timer)
      resolve()
    }
    socket.on('close', leave)
    socket.on('data', (data) => {
      taken += data.length
      pieces.push(...answer.take(data))
      if (answer.hasEnded || (bytes > 0 && taken >= bytes)) leave()
    })
  })
  if (how === 'reset') socket.resetAndDestroy()
  else socket.destroy()
  return {
    at: performance.now(),
    pulled: readWhole(Buffer.concat(pieces).toString()),
    isOver: answer.hasEnded,
  }
}

/** Who has the whole text has all the messages, though the end of the answer may be missing. */
function readWhole(text: string): Pulled | undefined {
  try {
    return JSON.parse(text) as Pulled
  } catch {
    return undefined
  }
}
