/** An HTTP server that does nothing but answer, in a process of its own: what a client waits for it, it waits for the machine. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { startServer } from '../../../scripts/processes.ts'

export interface BareServer {
  readonly url: string
  stop(): Promise<void>
}

/** Throws when it does not come up. */
export async function startBareServer(): Promise<BareServer> {
  const server = await startServer({
    name: 'bare server',
    command: process.execPath,
    args: [fileURLToPath(import.meta.url)],
    pipeStdout: true,
  })
  if (!server.stdout) throw new Error('The bare server has no standard output.')
  const [line] = (await once(server.stdout, 'data')) as [Buffer]
  return { url: `http://127.0.0.1:${Number(line.toString())}`, stop: () => server.stop() }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const body = JSON.stringify({ seq: 1, data: 'x'.repeat(200) })
  const server = createServer((request, answer) => {
    request.resume()
    request.on('end', () => answer.end(body))
  })
  server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))
}
