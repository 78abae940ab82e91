/** A server that costs next to nothing: it answers with recorded bytes, to show what the clients alone can do. */
import { createServer, type Socket } from 'node:net'
import { openHttp } from './http.ts'

/** What is answered to requests that begin with `start`. */
export type Recording = { start: string; answer: Uint8Array }

const HEAD_END = '\r\n\r\n'

/** Sends one request to a real server and keeps the answer as it came, byte for byte. */
export const record = async (job: { url: string; request: Uint8Array }): Promise<Recording> => {
  const parts: Buffer[] = []
  const connection = await openHttp(job.url, (data) => void parts.push(data))
  try {
    await connection.send(job.request)
  } finally {
    connection.close()
  }
  const [start = ''] = Buffer.from(job.request).toString('latin1').split(/[?\r]/, 1)
  return { start: start.replace(/ HTTP\/1\.1$/, ''), answer: Buffer.concat(parts) }
}

/** Bytes of the request that `data` begins with; 0: it is not all there. */
const requestSize = (data: Buffer): number => {
  const headEnd = data.indexOf(HEAD_END)
  if (headEnd === -1) return 0
  const [, length = '0'] = /content-length: (\d+)/i.exec(data.toString('latin1', 0, headEnd)) ?? []
  const size = headEnd + HEAD_END.length + Number(length)
  return data.length >= size ? size : 0
}

const answerAll = (socket: Socket, recordings: readonly Recording[]) => {
  let rest: Buffer | undefined
  socket.on('data', (received: Buffer) => {
    const data = rest ? Buffer.concat([rest, received]) : received
    const size = requestSize(data)
    rest = size === 0 ? data : undefined
    if (size === 0) return
    const start = data.toString('latin1', 0, 200)
    const found = recordings.find((recording) => start.startsWith(recording.start))
    if (found) socket.write(found.answer)
    else socket.destroy()
  })
  socket.on('error', () => socket.destroy())
}

/** Serves recordings on a loopback port until the process ends; one request at a time on each connection. */
export const replay = (job: { recordings: readonly Recording[] }): Promise<string> =>
  new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true }, (socket) => answerAll(socket, job.recordings))
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      if (address === null || typeof address === 'string') throw new Error('no port')
      resolve(`http://127.0.0.1:${address.port}`)
    })
  })
