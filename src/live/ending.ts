/** The calls of a read, so that it ends between two of them. */
import type { HistoryCalls } from '../jetstream.ts'

/** The same calls until `signal` is aborted: then none is made any more, and those under way end. Throws its reason. */
export function endingWith(jetstream: HistoryCalls, signal: AbortSignal): HistoryCalls {
  const unlessOver =
    <Args extends readonly unknown[], Answer>(call: (...args: Args) => Promise<Answer>) =>
    async (...args: Args): Promise<Answer> => {
      signal.throwIfAborted()
      return await call(...args)
    }
  return {
    server: unlessOver(() => jetstream.server()),
    streamInfo: unlessOver((stream) => jetstream.streamInfo(stream)),
    getMessage: unlessOver((stream, lookup) => jetstream.getMessage(stream, lookup)),
    getBatch: unlessOver((stream, request) => jetstream.getBatch(stream, { ...request, signal })),
    getBatchByConsumer: unlessOver((stream, request) =>
      jetstream.getBatchByConsumer(stream, { ...request, signal }),
    ),
    getLastPerSubject: unlessOver((stream, request) =>
      jetstream.getLastPerSubject(stream, { ...request, signal }),
    ),
    countMatching: unlessOver((stream, request) => jetstream.countMatching(stream, { ...request, signal })),
  }
}
