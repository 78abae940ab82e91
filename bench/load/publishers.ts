/** Who publishes to the readers: natively into JetStream, or to nchan over HTTP. Readers tell how fast. */
import { connect } from 'node:net'
import { connect as connectNats } from 'nats.ws'

/** `none`: somebody else does. */
export type PublisherJob =
  | { kind: 'nats'; url: string; subject: string }
  | { kind: 'nchan'; url: string; path: string }
  | { kind: 'none' }

/** Takes each message in order. What fails shows as messages that no reader gets; `failure` says why. */
export type Publisher = {
  publish: (lane: number, payload: Buffer) => void
  failure: () => Error | undefined
  close: () => Promise<void>
}

/** Core publishes: the stream stores them in order, and the readers are the proof that it did. */
const openNative = async ({ url, subject }: PublisherJob & { kind: 'nats' }): Promise<Publisher> => {
  const nats = await connectNats({ servers: url, name: 'bench publisher', noEcho: true })
  return {
    publish: (lane, payload) => nats.publish(`${subject}.${lane}`, new Uint8Array(payload)),
    failure: () => undefined,
    close: () => nats.close(),
  }
}

/** Pipelined on one connection, since several would not keep the order. */
const openNchan = async ({ url, path }: PublisherJob & { kind: 'nchan' }): Promise<Publisher> => {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  let failure: Error | undefined
  socket.on('data', (data) => {
    const text = data.toString('latin1')
    const refused = /HTTP\/1\.1 [^2]\d\d[^\r]*/.exec(text)
    if (refused) failure ??= new Error(`nchan answered a publish with ${refused[0]}`)
  })
  socket.on('error', (err) => {
    failure ??= err
  })
  const head = (bytes: number) =>
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${bytes}\r\n\r\n`
  return {
    publish(_lane, payload) {
      socket.cork()
      socket.write(head(payload.length), 'latin1')
      socket.write(Buffer.from(payload))
      socket.uncork()
    },
    failure: () => failure,
    close: async () => void socket.destroy(),
  }
}

const NOBODY: Publisher = { publish: () => {}, failure: () => undefined, close: async () => {} }

/** Connects it. The caller closes it. */
export const openPublisher = async (job: PublisherJob): Promise<Publisher> => {
  if (job.kind === 'none') return NOBODY
  return job.kind === 'nats' ? await openNative(job) : await openNchan(job)
}
