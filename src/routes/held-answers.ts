/** Answers of some size: made as they are taken, and counted until the connection has them or is gone. */
import type { Context } from 'hono'
import { answer } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import type { Hold } from '../holds.ts'
import { JSON_TYPE } from '../media-types.ts'
import type { StartTimer } from '../timers.ts'
import { joined } from './page-bytes.ts'

/** So much a connection takes at once, or nearly: to count it would cost more than it tells. */
export const SMALL_BYTES = 65_536
/** An answer of no more is made at once; of a larger one, so much is made before it begins. */
const WHOLE_BYTES = 1_048_576
const SLICE_BYTES = 262_144
/** A client has to take the next piece within this, ms: one that does not holds it for as long as it likes. */
export const STALLED_MS = 60_000
/** workerd drops an answer without a word where the client left before it began; its first piece is not asked for. */
const UNREAD_MS = 5_000

interface AnswerHead {
  readonly headers: Readonly<Record<string, string>>
}

/** Node's own answer to a request; undefined on Workers, and where there is no server. */
const outgoingOf = (c: Context<AppEnv>) => (c.env as AppEnv['Bindings'] | undefined)?.outgoing

/** Has `act` called once Node's connection has the whole answer, or is gone. Answers whether it will be. */
function whenTaken(c: Context<AppEnv>, act: () => void): boolean {
  const outgoing = outgoingOf(c)
  if (!outgoing) return false
  if (outgoing.closed) act()
  else outgoing.once('close', act)
  return true
}

/**
 * Answers with pieces. `hold` has what they are made of, `madeOf` bytes, and is released when the client has them all. A large
 * answer is made piece by piece as the connection takes it.
 * Throws as `Hold.take`, and has released the hold when it throws.
 */
export function answerHeld(
  c: Context<AppEnv>,
  pieces: Iterator<Uint8Array<ArrayBuffer>>,
  { hold, madeOf, ...head }: AnswerHead & { readonly hold: Hold; readonly madeOf: number },
): Response {
  try {
    const { first, bytes, isWhole } = takeFirst(pieces)
    if (isWhole && bytes <= SMALL_BYTES) {
      hold.release()
      return answer(c, joined(first), head)
    }
    const more = isWhole ? bytes - madeOf : bytes
    if (more > 0) hold.take(more, 'answers')
    else hold.give(-more, 'answers')
    const release = () => hold.release()
    const isWatched = whenTaken(c, release)
    if (isWatched && isWhole) return answer(c, joined(first), head)
    // On Workers each piece is a way through the runtime: one is enough where all are there.
    if (isWhole) first.splice(0, first.length, joined(first))
    const body = streamTaken(() => first.shift() ?? nextOf(pieces), {
      startTimer: c.var.dependencies.startTimer,
      end: isWatched ? () => {} : release,
    })
    return answer(c, body, head)
  } catch (failure) {
    hold.release()
    throw failure
  }
}

/** A body that hono takes, too. */
export type HeldBody = Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>

/** An answer that is there whole, counted until its client has it. Throws as `Hold.take`. */
export function heldBody(c: Context<AppEnv>, body: Uint8Array<ArrayBuffer>): HeldBody {
  if (body.length > SMALL_BYTES) c.var.dependencies.openHold(c.var.caller.tenant).requireRoom(body.length)
  return keptBody(c, body)
}

/** The same where there has to be room, since what it tells is done. */
export function keptBody(c: Context<AppEnv>, body: Uint8Array<ArrayBuffer>): HeldBody {
  if (body.length <= SMALL_BYTES) return body
  const { openHold, startTimer } = c.var.dependencies
  const hold = openHold(c.var.caller.tenant)
  hold.keep(body.length, 'answers')
  const release = () => hold.release()
  if (whenTaken(c, release)) return body
  let at = 0
  const next = () => {
    const piece = body.subarray(at, at + SLICE_BYTES)
    at += piece.length
    return piece.length > 0 ? piece : undefined
  }
  return streamTaken(next, { startTimer, end: release })
}

const UTF8 = new TextEncoder()

/** A list as JSON, counted until its client has it. Throws as `Hold.take`. */
export function answerList(c: Context<AppEnv>, list: object): Response {
  const body = UTF8.encode(JSON.stringify(list))
  return answer(c, heldBody(c, body), { headers: { 'Content-Type': JSON_TYPE } })
}

/** Answers what to call once an answer that is a stream has ended. `release` gives back what it was made of, once the connection has it. */
export function holdUntilTaken(c: Context<AppEnv>, release: () => void): () => void {
  return whenTaken(c, release) ? () => {} : release
}

function nextOf(pieces: Iterator<Uint8Array<ArrayBuffer>>): Uint8Array<ArrayBuffer> | undefined {
  const { done, value } = pieces.next()
  return done ? undefined : value
}

/** The first pieces, up to a megabyte of them; `isWhole`: there are no more. */
export function takeFirst(pieces: Iterator<Uint8Array<ArrayBuffer>>) {
  const first: Uint8Array<ArrayBuffer>[] = []
  let bytes = 0
  for (let piece = nextOf(pieces); piece; piece = nextOf(pieces)) {
    first.push(piece)
    bytes += piece.length
    if (bytes > WHOLE_BYTES) return { first, bytes, isWhole: false }
  }
  return { first, bytes, isWhole: true }
}

interface StreamOptions {
  readonly startTimer: StartTimer
  /** Called once: all is taken, or nothing more will be. */
  readonly end: () => void
}

type Piece = Uint8Array<ArrayBuffer> | undefined

/**
 * A body of pieces, each made when the one before it was taken; undefined: there are no more. It fails where its client takes
 * nothing for a minute.
 */
export function streamTaken(
  next: () => Piece | Promise<Piece>,
  { startTimer, end }: StreamOptions,
): ReadableStream<Uint8Array> {
  let taker: ReadableStreamDefaultController<Uint8Array> | undefined
  const giveUp = () => {
    taker?.error(new Error('The client does not take the answer.'))
    end()
  }
  let stopWaiting = startTimer(giveUp, UNREAD_MS)
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        taker = controller
        stopWaiting()
        try {
          const made = next()
          const piece = made instanceof Promise ? await made : made
          if (piece) {
            controller.enqueue(piece)
            stopWaiting = startTimer(giveUp, STALLED_MS)
            return
          }
          controller.close()
        } catch (failure) {
          end()
          throw failure
        }
        end()
      },
      cancel() {
        stopWaiting()
        end()
      },
    },
    { highWaterMark: 0 },
  )
}
