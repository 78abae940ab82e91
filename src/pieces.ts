/** Owns bodies that are written piece by piece, and that learn what the client did not take. */

/**
 * Pieces of an answer. Asking for the next piece means that the one before was taken; ending early (`return`) means
 * that the last one may not have been. Clean-up belongs into `finally`.
 */
export type Pieces = AsyncGenerator<string, void, undefined>

const encoder = new TextEncoder()

/** workerd drops an answer without a word where the client left before it began; its first piece is not asked for. */
const UNREAD_MS = 5_000
/** The same once there is something to lose on it. */
const UNREAD_CONTENT_MS = 500

/**
 * A body that asks for a piece only when the connection takes it, and aborts `gone` when the client leaves.
 * Starts the pieces at once, so that their `finally` always runs, also where nobody ever reads the body.
 * `content`: settles when there is something to lose on a client that is gone.
 */
export async function streamPieces(
  pieces: Pieces,
  gone = new AbortController(),
  content?: Promise<unknown>,
): Promise<ReadableStream<Uint8Array>> {
  let ready: IteratorResult<string, void> | undefined = await pieces.next()
  const end = async () => {
    clearTimeout(unread)
    gone.abort()
    await pieces.return()
  }
  let unread = setTimeout(() => void end(), UNREAD_MS)
  const hurry = () => {
    if (!ready) return
    clearTimeout(unread)
    unread = setTimeout(() => void end(), UNREAD_CONTENT_MS)
  }
  content?.then(hurry, hurry)
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (ready) clearTimeout(unread)
        const next = ready ?? (await pieces.next())
        ready = undefined
        if (next.done) controller.close()
        else controller.enqueue(encoder.encode(next.value))
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  )
}
