/** The choice of TCP ports for servers that are started here. */
import { createServer } from 'node:net'

/**
 * Below the range from which systems take ports for outgoing connections, so that a restart finds its port again; above
 * the last port that `fetch` refuses to speak to, 10080.
 */
const LOWEST_PORT = 10_100
const HIGHEST_PORT = 32_000
/**
 * Vitest runs several processes at once and numbers them: each has ports of its own, since one that is free may be picked by
 * another before it is listened on.
 */
const PARTS = 8
const PART_SIZE = Math.floor((HIGHEST_PORT - LOWEST_PORT) / PARTS)
const FIRST_PORT = LOWEST_PORT + PART_SIZE * (Number(process.env.VITEST_POOL_ID ?? 0) % PARTS)

/** Says whether `host:port` can be listened on; where not, `code` says why (`EADDRINUSE`, `EACCES` …). */
export const probePort = (
  host: string,
  port: number,
): Promise<{ free: true } | { free: false; code: string }> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', (err: NodeJS.ErrnoException) =>
      resolve({ free: false, code: err.code ?? err.message }),
    )
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve({ free: true })))
  })

/** Picked by this process, and perhaps not listened on yet: nobody else is given them. */
const picked = new Set<number>()

/** Picks `count` ports that are free on the loopback address now, and that it has not picked lately. */
export const freePorts = async (count: number): Promise<number[]> => {
  const ports: number[] = []
  while (ports.length < count) {
    const port = FIRST_PORT + Math.floor(Math.random() * PART_SIZE)
    if (picked.has(port)) continue
    if (picked.size > PART_SIZE / 2) picked.clear()
    picked.add(port)
    if ((await probePort('127.0.0.1', port)).free) ports.push(port)
  }
  return ports
}

/** Picks one port that is free on the loopback address now. */
export const freePort = async (): Promise<number> => {
  const [port] = await freePorts(1)
  if (port === undefined) throw new Error('no free port')
  return port
}
