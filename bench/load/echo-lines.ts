/** A server that answers lines at the cost of reading and writing them: it shows what the client of lines alone can do. */
import { createServer, type Socket } from 'node:net'
import { LAST_CHUNK, writeChunk } from './http.ts'

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n'
/** Ends an object: there is one in a line, and none in what stands around a chunk. */
const OBJECT_END = 125

const countObjects = (data: Buffer): number => {
  let objects = 0
  for (let at = data.indexOf(OBJECT_END); at !== -1; at = data.indexOf(OBJECT_END, at + 1)) objects += 1
  return objects
}

const echo = (socket: Socket) => {
  let results = 0
  let tail = Buffer.alloc(0)
  socket.write(HEAD)
  socket.on('data', (data: Buffer) => {
    let lines = ''
    for (const upTo = results + countObjects(data); results < upTo; results++)
      lines += `{"index":${results},"stream":"BENCH","seq":${results + 1},"duplicate":false}\n`
    if (lines !== '') socket.write(writeChunk(lines))
    tail = Buffer.concat([tail, data.subarray(-LAST_CHUNK.length)]).subarray(-LAST_CHUNK.length)
    if (tail.equals(LAST_CHUNK)) socket.write(LAST_CHUNK)
  })
  socket.on('error', () => socket.destroy())
}

/** Serves on a loopback port until the process ends; one request on each connection. */
export const echoLines = (): Promise<string> =>
  new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true }, echo)
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      if (address === null || typeof address === 'string') throw new Error('no port')
      resolve(`http://127.0.0.1:${address.port}`)
    })
  })
