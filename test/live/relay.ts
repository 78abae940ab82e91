/** A relay in front of a nats-server, so that a test can cut the bridge's connections at any byte. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Relay {
  /** For Sluice: `NATS_URL`. */
  readonly wsUrl: string
  /** Breaks every connection there is; new ones are relayed as before. */
  cut(): void
  close(): Promise<void>
}

/** Relays to the nats-server whose WebSocket address is given. */
export const startRelay = async (wsUrl: string): Promise<Relay> => {
  const port = Number(new URL(wsUrl).port)
  const sockets = new Set<Socket>()
  const keep = (socket: Socket) => {
    sockets.add(socket)
    socket.setNoDelay()
    // What breaks is what the tests are after.
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  }
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    keep(near)
    keep(far)
    near.pipe(far)
    far.pipe(near)
    near.on('close', () => far.destroy())
    far.on('close', () => near.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy()
  }
  return {
    wsUrl: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    close: async () => {
      server.close()
      cut()
      await once(server, 'close')
    },
  }
}
