/** A relay in front of a nats-server that can lose what the server answers. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface SwallowingRelay {
  /** For Sluice: `NATS_URL`. */
  readonly wsUrl: string
  /** On every connection there is, what the server says from now on is lost. New ones are relayed as they should be. */
  swallow(): void
  /** Breaks every connection there is. */
  cut(): void
  close(): Promise<void>
}

/** Relays to the nats-server whose WebSocket address is given. */
export const startSwallowingRelay = async (wsUrl: string): Promise<SwallowingRelay> => {
  const port = Number(new URL(wsUrl).port)
  const links = new Set<{ readonly near: Socket; readonly far: Socket }>()
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    const link = { near, far }
    links.add(link)
    for (const socket of [near, far]) {
      socket.setNoDelay()
      // What breaks is what the tests are after.
      socket.on('error', () => undefined)
      socket.on('close', () => {
        links.delete(link)
        near.destroy()
        far.destroy()
      })
    }
    near.pipe(far)
    far.pipe(near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const { near } of links) near.resetAndDestroy()
  }
  return {
    wsUrl: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    swallow: () => {
      for (const { near, far } of links) far.unpipe(near).resume()
    },
    cut,
    close: async () => {
      server.close()
      cut()
      await once(server, 'close')
    },
  }
}
