/** A TCP proxy that does to connections what networks do: delays, slices, resets, half-opens, blackholes, cuts. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What happens to the bytes of one connection, in both directions. Everything absent does not happen. */
export interface Weather {
  /** Each piece arrives so much later: from `[0]` to `[1]` ms, drawn per piece, never overtaking. */
  readonly latencyMs?: readonly [number, number]
  /** Pieces are passed on in slices of so many bytes at most. */
  readonly sliceBytes?: number
  /** Bytes a second, each way. */
  readonly bytesPerSecond?: number
  /** The share of pieces whose connection is reset instead. */
  readonly resets?: number
  /** The connection is reset after so many bytes from the server. */
  readonly cutAfterBytes?: number
  /** Nothing passes, in neither direction, and nobody is told, not even that the other end has closed. */
  readonly blackhole?: boolean
  /** What the server says is lost for good; what the client says passes. */
  readonly deafToServer?: boolean
}

export interface TcpProxy {
  readonly port: number
  /** For all connections there are and come. */
  setWeather(weather: Weather): void
  /** Resets all connections there are. Answers how many there were. */
  reset(): number
  /** Ends all connections in order, behind what is on its way. Answers how many there were. */
  end(): number
  /** The client's end of each is closed, and the server's is left open for good. Answers how many there were. */
  abandon(): number
  /** How many connections there are. */
  open(): number
  close(): Promise<void>
}

const LOOPBACK = '127.0.0.1'
/** How often it is looked whether a blackhole is over. */
const HOLE_MS = 20

/** One direction of a connection, which keeps the order of what passes. */
class Pipe {
  readonly #from: Socket
  readonly #to: Socket
  readonly #weather: () => Weather
  readonly #random: () => number
  readonly #isFromServer: boolean
  #passed = 0
  #last: Promise<void> = Promise.resolve()

  constructor(
    ends: readonly [Socket, Socket],
    weather: () => Weather,
    random: () => number,
    isFromServer: boolean,
  ) {
    ;[this.#from, this.#to] = ends
    this.#weather = weather
    this.#random = random
    this.#isFromServer = isFromServer
    this.#from.on('data', (data) => this.#take(data))
    this.#from.on('end', () => {
      this.#last = this.#last.then(async () => {
        await this.#holeIsOver()
        this.#to.end()
      })
    })
  }

  #take(data: Buffer): void {
    this.#from.pause()
    const dueAt = performance.now() + this.#latency()
    this.#last = this.#last.then(async () => {
      await this.#pass(data, dueAt)
      this.#from.resume()
    })
  }

  #latency(): number {
    const [least, most] = this.#weather().latencyMs ?? [0, 0]
    return least + this.#random() * (most - least)
  }

  async #pass(data: Buffer, dueAt: number): Promise<void> {
    await waitUntil(dueAt)
    const { resets = 0, sliceBytes = data.length, bytesPerSecond } = this.#weather()
    if (resets > 0 && this.#random() < resets) {
      this.#reset()
      return
    }
    const most =
      bytesPerSecond === undefined ? sliceBytes : Math.min(sliceBytes, Math.ceil(bytesPerSecond / 20))
    for (let at = 0; at < data.length && !this.#to.destroyed; at += most) {
      const slice = data.subarray(at, at + most)
      if (bytesPerSecond !== undefined)
        await waitUntil(performance.now() + (1_000 * slice.length) / bytesPerSecond)
      await this.#write(slice)
    }
  }

  async #write(slice: Buffer): Promise<void> {
    // TCP sends again what fell into a hole, until it gets through or one end has given up.
    await this.#holeIsOver()
    const { deafToServer, cutAfterBytes = Number.POSITIVE_INFINITY } = this.#weather()
    if (deafToServer && this.#isFromServer) return
    const left = this.#isFromServer ? cutAfterBytes - this.#passed : slice.length
    const passing = slice.subarray(0, Math.max(0, left))
    this.#passed += passing.length
    if (!this.#to.destroyed && !this.#to.write(passing))
      await Promise.race([once(this.#to, 'drain'), once(this.#to, 'close')]).catch(() => undefined)
    if (passing.length < slice.length) this.#reset()
  }

  async #holeIsOver(): Promise<void> {
    while (this.#weather().blackhole && !this.#to.destroyed) await waitUntil(performance.now() + HOLE_MS)
  }

  #reset(): void {
    this.#from.resetAndDestroy()
    this.#to.resetAndDestroy()
  }
}

async function waitUntil(at: number): Promise<void> {
  const ms = at - performance.now()
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
}

/** Proxies to a port of the loopback; nothing needs to listen there all the time. `random`: draws latencies and resets. */
export async function startProxy(targetPort: number, random: () => number): Promise<TcpProxy> {
  let weather: Weather = {}
  const links = new Set<readonly [Socket, Socket]>()
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port: targetPort, host: LOOPBACK, allowHalfOpen: true })
    const link = [near, far] as const
    links.add(link)
    for (const socket of link) {
      socket.setNoDelay()
      // What breaks is what the tests are after.
      socket.on('error', () => undefined)
      socket.on('close', async () => {
        while (weather.blackhole) await waitUntil(performance.now() + HOLE_MS)
        links.delete(link)
        for (const end of link) end.destroy()
      })
    }
    new Pipe([near, far], () => weather, random, false)
    new Pipe([far, near], () => weather, random, true)
  })
  server.listen(0, LOOPBACK)
  await once(server, 'listening')
  const forAll = (act: (socket: Socket) => void): number => {
    const all = [...links]
    for (const link of all) for (const socket of link) act(socket)
    return all.length
  }
  return {
    port: (server.address() as AddressInfo).port,
    setWeather: (next) => {
      weather = next
    },
    reset: () => forAll((socket) => socket.resetAndDestroy()),
    end: () => forAll((socket) => void socket.end()),
    abandon: () => {
      const all = [...links]
      for (const [near] of all) near.destroy()
      return all.length
    },
    open: () => links.size,
    async close() {
      weather = {}
      server.close()
      forAll((socket) => socket.destroy())
      await once(server, 'close')
    },
  }
}
