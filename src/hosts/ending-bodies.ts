/** Owns bodies that clients go on sending for as long as they like: they end when the host does. */
import type { IncomingHttpHeaders } from 'node:http'
import { BridgeError } from '../errors.ts'
import { isLinesType } from '../media-types.ts'

/** A request as Node has it. */
interface Incoming {
  readonly method?: string | undefined
  readonly headers: IncomingHttpHeaders
}

/** The streams of lines that are being read. */
export interface EndingBodies {
  /** Has a body of lines end with the others. */
  watch(request: Request, incoming: Incoming): void
  /** Ends them: what was read is published and told, and then why nothing more is. */
  end(): void
}

export function createEndingBodies(): EndingBodies {
  const endings = new Set<() => void>()
  return {
    watch(request, { method, headers }) {
      // Node's own headers: those of the request would be made for every request.
      if (method !== 'POST' || !isLinesType(headers['content-type'])) return
      const { body } = request
      if (body) Object.defineProperty(request, 'body', { value: endable(body, endings) })
    },
    end() {
      for (const end of endings) end()
    },
  }
}

/** The body, until its ending is called: then it fails, and the rest is taken off the connection, so that the answer arrives. */
function endable(body: ReadableStream<Uint8Array>, endings: Set<() => void>): ReadableStream<Uint8Array> {
  const reader = body.getReader()
  let end: () => void = () => undefined
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        end = () => {
          endings.delete(end)
          controller.error(
            new BridgeError('jetstream_unavailable', 'This instance of Sluice is shutting down.'),
          )
          void drain(reader)
        }
        endings.add(end)
      },
      async pull(controller) {
        const { done, value } = await reader.read()
        if (!endings.has(end)) return
        if (!done) return controller.enqueue(value)
        endings.delete(end)
        controller.close()
      },
      async cancel(reason) {
        endings.delete(end)
        await reader.cancel(reason)
      },
    },
    { highWaterMark: 0 },
  )
}

async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    while (!(await reader.read()).done);
  } catch {
    // The client has left.
  }
}
