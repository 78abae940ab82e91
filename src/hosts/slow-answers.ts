/** Owns ending answers on Node that nobody takes: each holds what it has to say. Server-sent events hold next to nothing. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Of an answer that has begun a client has to take something as often, ms. */
const STALLED_MS = 60_000

interface Exchange {
  readonly answer: ServerResponse
  readonly takesEvents: boolean
}

/** Watches the answers of a server. */
export function endSlowAnswers(server: Server, stalledMs = STALLED_MS): void {
  const latest = new WeakMap<Socket, Exchange>()
  server.on('request', ({ headers, socket }: IncomingMessage, answer: ServerResponse) => {
    latest.set(socket, { answer, takesEvents: headers.accept?.includes('text/event-stream') ?? false })
  })
  // Node sees progress also in the middle of a large write, and has the time begin anew with it.
  server.setTimeout(stalledMs, (socket) => {
    const exchange = latest.get(socket)
    const isIdle = !exchange || exchange.answer.writableFinished
    // Where nothing waits for the client, the answer is still to come.
    if (isIdle || (socket.writableLength > 0 && !exchange.takesEvents)) socket.destroy()
  })
}
