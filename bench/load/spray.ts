/** A server of events that costs as little as it can: it shows how much the readers alone can take. */
import { connect, createServer, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { writeRequest } from './http.ts'
import { MARK, writeNumber } from './payload.ts'

/** `event`: recorded, with a number in it. It begins once so many `readers` are there. */
export type SprayJob = { event: string; readers: number }

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: ready\n\n'
const EVENTS_AT_ONCE = 32

/** Reads the first event with a number in it, as it came. `path` reads history. */
export const recordEvent = (job: { url: string; path: string }): Promise<string> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(job.url)
    const socket = connect({ host: hostname, port: Number(port) })
    let text = ''
    socket.setEncoding('latin1')
    socket.on('data', (part) => {
      text += part
      const [event] = /id: [^\n]*\n(?:event: [^\n]*\n)?data: [^\n]*~\d{9}[^\n]*\n\n/.exec(text) ?? []
      if (event === undefined) return
      resolve(event)
      socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`no event came: ${text.slice(0, 300)}`)))
    socket.write(writeRequest(`GET ${job.path}`, { accept: 'text/event-stream' }))
  })

const block = (event: Buffer, mark: number, from: number): Buffer => {
  const events = Buffer.concat(Array.from({ length: EVENTS_AT_ONCE }, () => event))
  for (let index = 0; index < EVENTS_AT_ONCE; index++)
    writeNumber(events, index * event.length + mark, from + index)
  return events
}

const written = (socket: Socket, data: Buffer): Promise<void> =>
  new Promise((resolve) => socket.write(data, () => resolve()))

const sprayAll = async (sockets: ReadonlySet<Socket>, readers: number, event: Buffer): Promise<void> => {
  const mark = event.indexOf(MARK)
  for (let number = 0; sockets.size === readers; number += EVENTS_AT_ONCE) {
    const events = block(event, mark, number)
    await Promise.all([...sockets].map((socket) => written(socket, events)))
    // Writes that are done at once would never let it hear that a reader has gone.
    await nextTurn()
  }
}

/** Serves on a loopback port until the process ends; answers its URL. */
export const spray = ({ event, readers }: SprayJob): Promise<string> =>
  new Promise((resolve, reject) => {
    const sockets = new Set<Socket>()
    const server = createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => socket.destroy())
      socket.on('close', () => sockets.delete(socket))
      socket.once('data', () => {
        sockets.add(socket)
        socket.write(HEAD)
        if (sockets.size === readers) void sprayAll(sockets, readers, Buffer.from(event, 'latin1'))
      })
    })
    server.once('error', reject)
    server.listen({ port: 0, host: '127.0.0.1', backlog: 1_024 }, () => {
      const address = server.address()
      if (address === null || typeof address === 'string') throw new Error('no port')
      resolve(`http://127.0.0.1:${address.port}`)
    })
  })
