/** A relay to a nats-server that may move, and whose connections may go dead without a word. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface MovingRelay {
  /** For Sluice: `NATS_URL`. It stays the same wherever the server is. */
  readonly wsUrl: string
  /** New connections go to the nats-server of this WebSocket address. */
  moveTo(wsUrl: string): void
  /** Passes nothing on any more over the connections there are, and does not end them. */
  swallow(): void
  close(): Promise<void>
}

export async function startMovingRelay(wsUrl: string): Promise<MovingRelay> {
  let port = Number(new URL(wsUrl).port)
  const pairs = new Set<{ near: Socket; far: Socket; isSwallowed: boolean }>()
  const server = createServer((near) => {
    const pair = { near, far: connect(port, '127.0.0.1'), isSwallowed: false }
    const { far } = pair
    pairs.add(pair)
    // What breaks is what the tests are after.
    for (const socket of [near, far]) socket.setNoDelay().on('error', () => undefined)
    near.on('data', (chunk) => pair.isSwallowed || far.write(chunk))
    far.on('data', (chunk) => pair.isSwallowed || near.write(chunk))
    far.on('close', () => pair.isSwallowed || near.destroy())
    near.on('close', () => {
      pairs.delete(pair)
      far.destroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    wsUrl: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    moveTo(url) {
      port = Number(new URL(url).port)
    },
    swallow() {
      for (const pair of pairs) pair.isSwallowed = true
    },
    async close() {
      server.close()
      for (const { near } of pairs) near.destroy()
      await once(server, 'close')
    },
  }
}
