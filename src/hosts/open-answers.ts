/** The connections of a Node server and which of them it is answering on: how many there may be, and its end without cutting off any. */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'
import { LinkedList, type Place } from '../linked-list.ts'

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

interface Connection {
  readonly socket: Socket
  /** How many answers it waits for. */
  answers: number
  /** Among those that wait for some, or for none. */
  place: Place<Connection> | undefined
}

/**
 * Watches a server from its start. Over the limit, the connection that has been without a request for longest gives way to a
 * new one, such as one whose request does not come; where all are busy, the new one is hung up.
 */
export function watchAnswers(server: Server, { most, refused }: ConnectionLimit): OpenAnswers {
  const known = new WeakMap<Socket, Connection>()
  const busy = new LinkedList<Connection>()
  /** Those without a request, the one that has been so for longest first. */
  const idle = new LinkedList<Connection>()
  const open = new LinkedList<{ readonly answer: ServerResponse; readonly socket: Socket }>()
  let isClosing = false

  const listOf = ({ answers }: Connection) => (answers > 0 ? busy : idle)
  const enter = (connection: Connection) => {
    connection.place = listOf(connection).add(connection)
  }
  const leave = (connection: Connection) => {
    if (connection.place) listOf(connection).remove(connection.place)
    connection.place = undefined
  }
  const count = (socket: Socket, by: 1 | -1) => {
    const connection = known.get(socket)
    if (!connection?.place) return
    leave(connection)
    connection.answers += by
    enter(connection)
  }

  server.on('connection', (socket) => {
    if (busy.size + idle.size >= most) {
      const oldest = idle.first
      if (!oldest) {
        refused()
        socket.destroy()
        return
      }
      leave(oldest)
      oldest.socket.destroy()
    }
    const connection: Connection = { socket, answers: 0, place: undefined }
    known.set(socket, connection)
    enter(connection)
    socket.once('close', () => leave(connection))
  })
  // Before the app begins its answer.
  server.prependListener('request', ({ socket }: IncomingMessage, answer: ServerResponse) => {
    const place = open.add({ answer, socket })
    count(socket, 1)
    if (isClosing) answer.shouldKeepAlive = false
    answer.once('close', () => {
      open.remove(place)
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
      for (const { answer } of open) if (!answer.headersSent) answer.shouldKeepAlive = false
      for (const { socket } of idle) socket.destroySoon()
      return closed
    },
    cutBegun() {
      for (const { answer, socket } of open) if (answer.headersSent) socket.destroy()
    },
    cutAll() {
      for (const connections of [busy, idle]) for (const { socket } of connections) socket.destroy()
    },
  }
}
