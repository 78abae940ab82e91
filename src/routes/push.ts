/** The loop that pushes a consumer's messages to one client. */
import type { Context } from 'hono'
import type { AppEnv } from '../context.ts'
import { countDeliveries, deliveryEncoder, giveBack, isDismissed, type Look, lookAt } from '../deliveries.ts'
import { BridgeError, isPassing, toProblem } from '../errors.ts'
import { farewell } from '../farewell.ts'
import type { ConsumerInfo, Delivery } from '../jetstream.ts'
import { heldBytes } from '../message-size.ts'
import type { Pieces } from '../pieces.ts'
import type { CursorScope, PayloadForm } from '../reading.ts'
import { rememberRefusal } from './refused-lately.ts'

/** Few at a time: what waits here for a slow client is delivered to no other. */
const BATCH = 32
const MAX_UNSENT_BYTES = 1_048_576
const RETRY_MS = 1_000
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000

interface Push {
  /** The consumer as the client came. */
  readonly look: Look
  /** Seals event ids; `created`: of the stream. */
  readonly scope: CursorScope
  readonly created: string
  readonly form: PayloadForm
  /** Called once when the events are over. */
  readonly onEnd: () => void
}

/** Server-sent events of a consumer's messages, until the client leaves or the consumer fails. */
export async function* pushDeliveries(c: Context<AppEnv>, push: Push, gone: AbortSignal): Pieces {
  const { jetstream } = c.var.session
  const { HEARTBEAT_MS, MAX_PAGE_BYTES } = c.var.dependencies.settings
  const { stream_name: stream, name } = push.look.info
  const maxBytes = Math.min(MAX_PAGE_BYTES, MAX_UNSENT_BYTES)
  const request = { batch: BATCH, maxBytes, waitMs: HEARTBEAT_MS, signal: gone }
  const hold = c.var.dependencies.openHold(c.var.caller.tenant)
  let held = 0
  const count = () => {
    hold.give(held, 'answers')
    held = 0
    const bytes = heldBytes(unsent)
    hold.take(bytes, 'answers')
    held = bytes
  }
  let { look } = push
  let unsent: Delivery[] = []
  let cursor = firstCursor(push)
  let pauseMs = FIRST_PAUSE_MS
  try {
    yield `retry: ${RETRY_MS}\nid: ${cursor}\n\n`
    for (;;) {
      try {
        unsent = [...(await jetstream.pull(stream, name, request))]
        // Without room it is as with NATS away: what came goes back, and the reader stays.
        count()
        if (unsent.length > 0) look = await lookAtSame(c, push.look.info)
        pauseMs = FIRST_PAUSE_MS
      } catch (failure) {
        if (isDismissed(failure, gone)) return yield farewell(cursor)
        // NATS away, or between leaders: the reader stays, since a browser does not come back to a refusal.
        if (gone.aborted || !isPassing(failure)) throw failure
        await giveBack(c.var.session, unsent.splice(0), look)
        await new Promise((resolve) => setTimeout(resolve, Math.min(pauseMs, HEARTBEAT_MS)))
        pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
      }
      if (unsent.length === 0) yield ': \n\n'
      else yield* probe(c, gone)
      const encode = deliveryEncoder(c.var.session, { look, last: unsent.at(-1), form: push.form })
      for (let delivery = unsent[0]; delivery; delivery = unsent[0]) {
        cursor = cursorOf(push, delivery)
        yield `id: ${cursor}\nevent: message\ndata: ${encode(delivery)}\n\n`
        countDeliveries(c.var.dependencies.metrics, 'push', [delivery])
        unsent.shift()
      }
    }
  } catch (failure) {
    rememberRefusal(c, failure)
    yield `event: error\ndata: ${JSON.stringify(toProblem(failure, c.var.requestId))}\n\n`
  } finally {
    push.onEnd()
    hold.release()
    await giveBack(c.var.session, unsent, look)
  }
}

/** The tokens of what another consumer of the same name delivers would settle nothing. */
async function lookAtSame(
  c: Context<AppEnv>,
  { stream_name: stream, name: consumer, created }: ConsumerInfo,
) {
  const look = await lookAt(c.var.session, { stream, consumer })
  if (look.info.created !== created)
    throw new BridgeError('consumer_not_found', 'The consumer was deleted and made again.')
  return look
}

/** An id at once: after its first minute a ticket reconnects with one alone, and a message may be long in coming. */
function firstCursor({ look, scope, created }: Push): string {
  return scope.seal({ seq: look.info.delivered.stream_seq, created })
}

/** After a wait the client may be gone, and the first message would be lost on it. */
async function* probe(c: Context<AppEnv>, gone: AbortSignal) {
  const { presence } = c.var.dependencies
  yield ': \n\n'
  await presence.probed(presence.isNoticed)
  gone.throwIfAborted()
}

function cursorOf({ scope, created }: Push, { seq, time }: Delivery): string {
  return scope.seal({ seq, time, created })
}
