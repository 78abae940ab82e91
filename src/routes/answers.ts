/** Answers whose content may take long to come, to clients that may leave meanwhile. */
import type { Context, TypedResponse } from 'hono'
import { abortWith } from '../abort.ts'
import { answer } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import { type Problem, toProblem } from '../errors.ts'
import { type Pieces, streamPieces } from '../pieces.ts'
import { STALLED_MS } from './held-answers.ts'

/** A client that asked so recently is there. */
const FRESH_MS = 50
/** How long an answer may wait for its content before it begins, so that it can still be a refusal. */
const PATIENCE_MS = 400
const stalledMs = STALLED_MS
/** White space before a JSON text means nothing. */
const PROBE = ' '

interface WaitingAnswer {
  /**
   * Gets the content, and says so before it begins to wait for it. Throws when `signal` is aborted, and then has no
   * effect left.
   */
  work(signal: AbortSignal, waits: () => void): Promise<Pieces>
  /** The content that tells a failure after the answer has begun. */
  failed(problem: Problem): string
}

/**
 * Answers JSON that may take long to come. A client that leaves meanwhile aborts the work: where the host does not
 * notice that by itself, the answer begins early, white space probes the connection, and so it does right before the
 * content, which would be lost on a client that is gone.
 */
export async function answerWhileWaiting(
  c: Context<AppEnv>,
  { work, failed }: WaitingAnswer,
): Promise<Response> {
  const { presence, startTimer } = c.var.dependencies
  const gone = new AbortController()
  abortWith(gone, c.req.raw.signal)
  let waited = false
  const working = work(gone.signal, () => {
    waited = true
  })
  const head = { headers: { 'Content-Type': 'application/json' } }
  if (presence.isNoticed || ((await presence.settled(working, FRESH_MS)) && !waited)) {
    const content = presence.isNoticed ? undefined : working
    return answer(c, await streamPieces(await working, { startTimer, gone, content, stalledMs }), head)
  }
  // A failure that comes early enough is still a status.
  if (await presence.settled(working, PATIENCE_MS)) await working
  const probing = probeUntil(c, working, gone.signal, (failure) =>
    failed(toProblem(failure, c.var.requestId)),
  )
  return answer(c, await streamPieces(probing, { startTimer, gone, content: working, stalledMs }), head)
}

/** Marks a body written piece by piece as what the contract declares: contract tests hold it to that, types cannot. */
export const declared = (response: Response) => response as Response & TypedResponse<never, never, never>

async function* probeUntil(
  c: Context<AppEnv>,
  working: Promise<Pieces>,
  gone: AbortSignal,
  failed: (failure: unknown) => string,
): Pieces {
  const { presence } = c.var.dependencies
  let begun = false
  try {
    do yield PROBE
    while (!(await presence.settled(working, PATIENCE_MS)) && !gone.aborted)
    presence.probeAll()
    yield PROBE
    await presence.probed()
    if (gone.aborted) return
    const pieces = await working
    begun = true
    yield* pieces
  } catch (failure) {
    yield failed(failure)
  } finally {
    if (!begun) await discard(working)
  }
}

/** Work whose content nobody waits for any more. */
async function discard(working: Promise<Pieces>) {
  try {
    const pieces = await working
    await pieces.next()
    await pieces.return()
  } catch {
    // It was aborted, or it failed: there is nothing to give back.
  }
}
