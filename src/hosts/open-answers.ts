/** The connections of a Node server and which of them it is answering on: how many there may be, and its end without cutting off any. */
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

interface ConnectionLimit {
  /** Connections at once. */
  readonly most: number
  /** Called for each connection that is not taken. */
  refused(): void
}

/**
 * Watches a server from its start. Over the limit, the connection that has been without a request for longest gives way to a
 * new one, such as one whose request does not come; where all are busy, the new one is hung up.
 */
export function watchAnswers(server: Server, { most, refused }: ConnectionLimit): OpenAnswers {
  /** With how many answers each of them waits for. */
  const sockets = new Map<Socket, number>()
  /** Those without a request, the one that has been so for longest first. */
  const idle = new Set<Socket>()
  const answers = new Map<ServerResponse, Socket>()
  let isClosing = false

  const count = (socket: Socket, by: 1 | -1) => {
    const before = sockets.get(socket)
    if (before === undefined) return
    sockets.set(socket, before + by)
    if (before + by > 0) idle.delete(socket)
    else idle.add(socket)
  }

  server.on('connection', (socket) => {
    const [oldest] = idle
    if (sockets.size >= most) {
      if (!oldest) {
        refused()
        socket.destroy()
        return
      }
      forget(oldest)
      oldest.destroy()
    }
    sockets.set(socket, 0)
    idle.add(socket)
    socket.once('close', () => forget(socket))
  })
  const forget = (socket: Socket) => {
    sockets.delete(socket)
    idle.delete(socket)
  }
  // Before the app begins its answer.
  server.prependListener('request', ({ socket }: IncomingMessage, answer: ServerResponse) => {
    answers.set(answer, socket)
    count(socket, 1)
    if (isClosing) answer.shouldKeepAlive = false
    answer.once('close', () => {
      answers.delete(answer)
      count(socket, -1)
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
      for (const socket of idle) socket.destroySoon()
      return closed
    },
    cutBegun() {
      for (const [answer, socket] of answers) if (answer.headersSent) socket.destroy()
    },
    cutAll() {
      for (const socket of sockets.keys()) socket.destroy()
    },
  }
}
