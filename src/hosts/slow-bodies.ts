/** Ending requests on Node whose body does not come: Node's own limit would end a stream of lines, too. */
import type { IncomingMessage, Server } from 'node:http'
import { LinkedList } from '../linked-list.ts'
import { isLinesType } from '../media-types.ts'

export interface BodyTimes {
  /** A body has to be whole by then, ms. */
  readonly wholeMs: number
  /** Of a stream of lines something has to come as often, ms. */
  readonly silenceMs: number
  /** How often this is looked at, ms. */
  readonly sweepMs: number
}

const TIMES: BodyTimes = { wholeMs: 300_000, silenceMs: 300_000, sweepMs: 10_000 }

interface AwaitedBody {
  readonly request: IncomingMessage
  readonly isStream: boolean
  /** Bytes that the connection had brought when more had come last, or at first; and when that was. */
  bytes: number
  since: number
}

/** Watches the bodies of a server, whose own `requestTimeout` is to be 0, until it closes. */
export function endSlowBodies(server: Server, { wholeMs, silenceMs, sweepMs }: BodyTimes = TIMES): void {
  const awaited = new LinkedList<AwaitedBody>()
  server.on('request', (request) => {
    if (request.method === 'GET') return
    const isStream = isLinesType(request.headers['content-type'])
    const { bytesRead } = request.socket
    const place = awaited.add({ request, isStream, bytes: bytesRead, since: performance.now() })
    request.once('close', () => awaited.remove(place))
  })

  const sweep = setInterval(() => {
    const now = performance.now()
    for (const body of awaited) {
      const { request } = body
      const { bytesRead } = request.socket
      if (request.complete) continue
      if (body.isStream && bytesRead > body.bytes) Object.assign(body, { bytes: bytesRead, since: now })
      else if (now - body.since > (body.isStream ? silenceMs : wholeMs)) request.socket.destroy()
    }
  }, sweepMs)
  sweep.unref()
  server.once('close', () => clearInterval(sweep))
}
