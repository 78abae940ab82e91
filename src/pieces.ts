/** Bodies that are written piece by piece, and that learn what the client did not take. */
import type { StartTimer } from './timers.ts'

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

interface PiecesOptions {
  readonly startTimer: StartTimer
  /** Aborted when the client leaves. */
  readonly gone: AbortController
  /** Settles when there is something to lose on a client that is gone. */
  readonly content?: Promise<unknown> | undefined
  /** How long a client may leave a piece untaken, ms: then it counts as gone. Absent: as long as it likes. */
  readonly stalledMs?: number
}

/**
 * A body that asks for a piece only when the connection takes it.
 * Starts the pieces at once, so that their `finally` always runs, also where nobody ever reads the body.
 */
export async function streamPieces(
  pieces: AsyncGenerator<string | Uint8Array, void, undefined>,
  { startTimer, gone, content, stalledMs }: PiecesOptions,
): Promise<ReadableStream<Uint8Array>> {
  let ready: IteratorResult<string | Uint8Array, void> | undefined = await pieces.next()
  let hasEnded = false
  const end = async () => {
    hasEnded = true
    stopWaiting()
    gone.abort()
    await pieces.return()
  }
  // There is nobody left who could be told.
  const giveUp = () => void end().catch(() => undefined)
  let stopWaiting = startTimer(giveUp, UNREAD_MS)
  const hurry = () => {
    if (!ready || hasEnded) return
    stopWaiting()
    stopWaiting = startTimer(giveUp, UNREAD_CONTENT_MS)
  }
  content?.then(hurry, hurry)
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        // Whoever reads so late must not be handed what has been given back.
        if (hasEnded) return controller.error(new DOMException('The answer was read too late.', 'AbortError'))
        if (ready || stalledMs !== undefined) stopWaiting()
        const next = ready ?? (await pieces.next())
        ready = undefined
        if (next.done) return controller.close()
        controller.enqueue(typeof next.value === 'string' ? encoder.encode(next.value) : next.value)
        if (stalledMs === undefined) return
        stopWaiting = startTimer(() => {
          controller.error(new Error('The client does not take the answer.'))
          giveUp()
        }, stalledMs)
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  )
}
