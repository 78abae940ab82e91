/** Ends answers on Node that nobody takes: each holds what it has to say. Server-sent events hold next to nothing. */
import type { IncomingMessage, OutgoingHttpHeaders, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Of an answer that has begun a client has to take something as often, ms. */
const STALLED_MS = 60_000

interface Exchange {
  readonly answer: ServerResponse
  /** By what the answer says that it is: what the request would accept, its client has chosen. */
  isEvents: boolean
}

/** Watches the answers of a server. */
export function endSlowAnswers(server: Server, stalledMs = STALLED_MS): void {
  const latest = new WeakMap<Socket, Exchange>()
  // Before the app begins its answer.
  server.prependListener('request', ({ method, socket }: IncomingMessage, answer: ServerResponse) => {
    const exchange: Exchange = { answer, isEvents: false }
    latest.set(socket, exchange)
    if (method === 'GET') watchHead(exchange)
  })
  // Node sees progress also in the middle of a large write, and has the time begin anew with it.
  server.setTimeout(stalledMs, (socket) => {
    const exchange = latest.get(socket)
    const isIdle = !exchange || exchange.answer.writableFinished
    // Where nothing waits for the client, the answer is still to come.
    if (isIdle || (socket.writableLength > 0 && !exchange.isEvents)) socket.destroy()
  })
}

/** Headers that are given with the status are sent, and not kept where they could be asked for. */
function watchHead(exchange: Exchange): void {
  const { answer } = exchange
  const writeHead = answer.writeHead.bind(answer) as (
    status: number,
    headers?: OutgoingHttpHeaders,
  ) => ServerResponse
  answer.writeHead = ((status: number, headers: OutgoingHttpHeaders = {}) => {
    const type = headers['content-type'] ?? headers['Content-Type'] ?? answer.getHeader('Content-Type')
    exchange.isEvents = String(type).startsWith('text/event-stream')
    return writeHead(status, headers)
  }) as typeof answer.writeHead
}
