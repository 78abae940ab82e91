/** Owns which connections a Node server has and which of them it is answering on, so that it can end without cutting off any. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'

/** The answers of one server. */
export interface OpenAnswers {
  /**
   * Accepts no connection any more, hangs up those without a request, and the others when they have their answer.
   * Resolves when all of them are gone.
   */
  close(): Promise<void>
  /** Cuts off the answers that have begun: their clients do not take them. */
  cutBegun(): void
  /** Cuts off everything. */
  cutAll(): void
}

/** Watches a server from its start. */
export function watchAnswers(server: Server): OpenAnswers {
  const sockets = new Set<Socket>()
  const answers = new Map<ServerResponse, Socket>()
  let isClosing = false

  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  // Before the app begins its answer.
  server.prependListener('request', ({ socket }: IncomingMessage, answer: ServerResponse) => {
    answers.set(answer, socket)
    if (isClosing) answer.shouldKeepAlive = false
    answer.once('close', () => {
      answers.delete(answer)
      if (isClosing) socket.destroySoon()
    })
  })

  return {
    close() {
      isClosing = true
      const closed = new Promise<void>((resolve) => server.once('close', resolve))
      // Node's own `close` would also cut off answers that are ended and not sent yet.
      NetServer.prototype.close.call(server)
      for (const answer of answers.keys()) if (!answer.headersSent) answer.shouldKeepAlive = false
      const busy = new Set(answers.values())
      for (const socket of sockets) if (!busy.has(socket)) socket.destroySoon()
      return closed
    },
    cutBegun() {
      for (const [answer, socket] of answers) if (answer.headersSent) socket.destroy()
    },
    cutAll() {
      for (const socket of sockets) socket.destroy()
    },
  }
}
