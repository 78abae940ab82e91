/** Owns answers whose content may take long to come. */
import type { Context, TypedResponse } from 'hono'
import type { AppEnv } from '../context.ts'
import { type Problem, toProblem } from '../errors.ts'
import { type Pieces, streamPieces } from '../pieces.ts'

/** How long an answer waits for its content before it begins, where only a write shows that the client is gone. */
const PATIENCE_MS = 400
const PROBE = ' '

interface WaitingAnswer {
  /** Waits for the content. Throws when `signal` is aborted, and then has no effect left. */
  work(signal: AbortSignal): Promise<Pieces>
  /** The content that tells a failure after the answer has begun. */
  failed(problem: Problem): string
}

/**
 * Answers JSON that may take long to come. A client that leaves meanwhile aborts the work: where the host does not
 * notice that by itself, the answer begins early and white space probes the connection.
 */
export async function answerWhileWaiting(
  c: Context<AppEnv>,
  { work, failed }: WaitingAnswer,
): Promise<Response> {
  const gone = new AbortController()
  const working = work(AbortSignal.any([gone.signal, c.req.raw.signal]))
  c.header('Content-Type', 'application/json')
  if (c.var.dependencies.noticesDisconnects || (await settledWithin(working, PATIENCE_MS))) {
    return c.body(await streamPieces(await working, gone))
  }
  const probing = probeUntil(working, gone, (failure) => failed(toProblem(failure, c.var.requestId)))
  return c.body(await streamPieces(probing, gone))
}

/** Marks a body written piece by piece as what the contract declares: contract tests hold it to that, types cannot. */
export const declared = (response: Response) => response as Response & TypedResponse<never, never, never>

async function* probeUntil(
  working: Promise<Pieces>,
  gone: AbortController,
  failed: (failure: unknown) => string,
): Pieces {
  let begun = false
  try {
    do yield PROBE
    while (!(await settledWithin(working, PATIENCE_MS)))
    begun = true
    yield* await working
  } catch (failure) {
    yield failed(failure)
  } finally {
    gone.abort()
    if (!begun) await discard(working)
  }
}

/** Work that ended although nobody waits for it any more. */
async function discard(working: Promise<Pieces>) {
  try {
    const pieces = await working
    await pieces.next()
    await pieces.return()
  } catch {
    // Aborted, as it should be.
  }
}

async function settledWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  const settled = promise.then(
    () => true,
    () => true,
  )
  try {
    return await Promise.race([settled, late])
  } finally {
    clearTimeout(timer)
  }
}
