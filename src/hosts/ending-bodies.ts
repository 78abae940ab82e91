/** Bodies that clients go on sending for as long as they like: they end when the host does. */
import type { IncomingHttpHeaders } from 'node:http'
import { BridgeError, SHUTTING_DOWN } from '../errors.ts'
import { isLinesType } from '../media-types.ts'

/** A request as Node has it. */
interface Incoming {
  readonly method?: string | undefined
  readonly headers: IncomingHttpHeaders
  once(event: 'close', act: () => void): unknown
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
    watch(request, incoming) {
      const { method, headers } = incoming
      // Node's own headers: those of the request would be made for every request.
      if (method !== 'POST' || !isLinesType(headers['content-type'])) return
      const { body } = request
      if (!body) return
      const { stream, end } = endable(body, endings)
      Object.defineProperty(request, 'body', { value: stream })
      // However it ends: read, broken off, or refused without a look at it.
      incoming.once('close', () => endings.delete(end))
    },
    end() {
      for (const end of endings) end()
    },
  }
}

/** The body, until its ending is called: then it fails, and the rest is taken off the connection, so that the answer arrives. */
function endable(
  body: ReadableStream<Uint8Array>,
  endings: Set<() => void>,
): { readonly stream: ReadableStream<Uint8Array>; readonly end: () => void } {
  const reader = body.getReader()
  let fail: (reason: unknown) => void = () => undefined
  const end = () => {
    endings.delete(end)
    fail(new BridgeError('jetstream_unavailable', SHUTTING_DOWN))
    void drain(reader)
  }
  endings.add(end)
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        fail = (reason) => controller.error(reason)
      },
      async pull(controller) {
        try {
          const { done, value } = await reader.read()
          if (!done) return controller.enqueue(value)
          endings.delete(end)
          controller.close()
        } catch (failure) {
          endings.delete(end)
          controller.error(failure)
        }
      },
      async cancel(reason) {
        endings.delete(end)
        await reader.cancel(reason)
      },
    },
    { highWaterMark: 0 },
  )
  return { stream, end }
}

async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    while (!(await reader.read()).done);
  } catch {
    // The client has left.
  }
}
