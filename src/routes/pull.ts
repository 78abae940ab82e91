/** What consumers deliver: pulls, and the same messages pushed as server-sent events. */
import { createRoute } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { chooseType } from '../accept.ts'
import { answer, eventsHeaders } from '../answer.ts'
import type { AppEnv } from '../context.ts'
import {
  countDeliveries,
  deliveryEncoder,
  giveBack,
  isDismissed,
  type Look,
  lookAt,
  waitOf,
} from '../deliveries.ts'
import { BridgeError } from '../errors.ts'
import type { ConsumerInfo, Delivery, JetStream } from '../jetstream.ts'
import { EVENTS_TYPE } from '../media-types.ts'
import { heldBytes } from '../message-size.ts'
import { type Pieces, streamPieces } from '../pieces.ts'
import type { PayloadForm } from '../reading.ts'
import { createRouter } from '../router.ts'
import { MAX_PASSED_CHARS } from '../schemas/bounds.ts'
import { consumerEventSchema, pulledSchema, pullSchema } from '../schemas/consumer.ts'
import { examplesOf, json } from '../schemas/examples.ts'
import { payloadForm } from '../schemas/message.ts'
import { consumerName, streamName } from '../schemas/names.ts'
import { hasPercent, percentFault } from '../schemas/percent-names.ts'
import { problems } from '../schemas/problem.ts'
import { lastEventId } from '../schemas/read.ts'
import * as z from '../schemas/zod.ts'
import { deliveryFilter } from '../tokens/cursor.ts'
import { answerWhileWaiting, declared } from './answers.ts'
import { holdUntilTaken, SMALL_BYTES } from './held-answers.ts'
import { pushDeliveries } from './push.ts'
import { useTicket } from './read-origin.ts'
import { throwIfRefused } from './refused-lately.ts'

const params = z.object({ stream: streamName, consumer: consumerName })
const missing = ['stream_not_found', 'consumer_not_found', 'consumer_busy'] as const

const pullMessagesRoute = createRoute({
  method: 'post',
  path: '/v1/streams/{stream}/consumers/{consumer}/pull',
  operationId: 'pullMessages',
  tags: ['Consumers'],
  summary: 'Pull messages of a consumer',
  description:
    'Answers as soon as there is at least one message and no more are at hand. Settle each by its `ack_token` before its ' +
    '`ack_deadline`. What a client that goes away did not get is delivered to the next one at once. An answer that takes ' +
    'its time may begin with white space, and then tells a failure in `error`, since its status has been sent.',
  request: {
    params,
    query: z.strictObject({ payload: payloadForm }),
    body: { required: false, content: json(pullSchema, 'pull') },
  },
  responses: {
    200: {
      description: 'The messages; none where none came in time.',
      content: json(pulledSchema, 'pulled', 'pulledNothing'),
    },
    ...problems(...missing, 'payload_too_large', 'unsupported_media_type', 'host_full'),
  },
})

const pushMessagesRoute = createRoute({
  method: 'get',
  path: '/v1/streams/{stream}/consumers/{consumer}/messages',
  operationId: 'pushMessages',
  tags: ['Consumers'],
  summary: 'Receive the messages of a consumer as server-sent events',
  description:
    'Pushes what a pull would answer, never more unsettled than `max_ack_pending`. What was not sent when the connection ' +
    'drops goes to the next client at once.',
  request: {
    params,
    query: z.strictObject({
      payload: payloadForm,
      lastEventId,
      ticket: z
        .string()
        .max(MAX_PASSED_CHARS)
        .optional()
        .openapi({ description: 'A ticket from `POST /v1/tickets` for this consumer.' }),
    }),
  },
  responses: {
    200: {
      description: 'Events, of which each has the shape given.',
      content: {
        'text/event-stream': {
          schema: consumerEventSchema,
          examples: examplesOf('deliveryEvent', 'errorEvent'),
        },
      },
    },
    ...problems(
      ...missing,
      'not_acceptable',
      'cursor_invalid',
      'cursor_mismatch',
      'too_many_readers',
      'host_full',
    ),
  },
})

export const pull = createRouter()
  .openapi(pullMessagesRoute, async (c) => {
    const { stream, consumer } = c.req.valid('param')
    const { batch: wanted, wait_ms, max_bytes } = c.req.valid('json')
    const { settings, waits } = c.var.dependencies
    const batch = Math.min(wanted, settings.MAX_PULL_BATCH)
    const longestWaitMs = Math.min(wait_ms, settings.MAX_WAIT_MS)
    const maxBytes = Math.min(max_bytes ?? Number.POSITIVE_INFINITY, settings.MAX_PAGE_BYTES)
    const form = c.req.valid('query').payload ?? 'text'
    c.var.dependencies.openHold(c.var.caller.tenant).requireRoom(SMALL_BYTES)

    const answer = await answerWhileWaiting(c, {
      async work(signal, startsToWait) {
        const pullWithin = (waitMs: number) =>
          pullWithLook(c, { stream, consumer }, { batch, maxBytes, waitMs, signal })
        const atHand = c.var.dependencies.presence.isNoticed ? undefined : await pullWithin(0)
        if (atHand && (longestWaitMs === 0 || atHand[1].length > 0)) return encodePulled(c, ...atHand, form)
        startsToWait()
        const pull = () => pullWithin(longestWaitMs)
        const wait = () => {
          c.var.waits()
          return pull()
        }
        const pulled = await (longestWaitMs > 0 ? waits.hold(c.var.caller.tenant, wait) : pull())
        return encodePulled(c, ...pulled, form)
      },
      failed: (problem) => JSON.stringify({ messages: [], num_pending: 0, error: problem }),
    })
    return declared(answer)
  })
  .openapi(pushMessagesRoute, async (c) => {
    const { stream, consumer } = c.req.valid('param')
    if (!chooseType(c.req.header('Accept'), [EVENTS_TYPE]))
      throw new BridgeError('not_acceptable', `Accept must allow ${EVENTS_TYPE}.`)
    checkTicket(c, stream, consumer)
    throwIfRefused(c)
    const look = await lookAt(c.var.session, { stream, consumer })
    await checkPullable(c.var.session.jetstream, look.info)
    const { created } = await c.var.session.jetstream.streamInfo(stream)
    const scope = deliveryScope(c, stream, consumer)
    const gone = new AbortController()
    const form = c.req.valid('query').payload ?? 'text'
    const { readers, startTimer } = c.var.dependencies
    const release = readers.take(c.var.caller.tenant)
    const leave = c.var.session.use()
    const onEnd = () => {
      release()
      leave()
    }
    const pieces = pushDeliveries(c, { look, created, scope, form, onEnd }, gone.signal)
    return declared(answer(c, await streamPieces(pieces, { startTimer, gone }), { headers: eventsHeaders }))
  })

interface PullOptions {
  readonly batch: number
  readonly maxBytes: number
  readonly waitMs: number
  readonly signal: AbortSignal
}

/** Below this the time of a delivery that was waited for is asked of the server: a pause of this machine would matter. */
const SHORT_WAIT_MS = 10_000

/** Both at once; where the consumer cannot be told, what was pulled is given back. */
async function pullWithLook(
  c: Context<AppEnv>,
  target: { readonly stream: string; readonly consumer: string },
  options: PullOptions,
): Promise<[Look, readonly Delivery[]]> {
  const { session } = c.var
  const [look, pulled] = await Promise.allSettled([
    lookAt(session, target),
    session.jetstream
      .pull(target.stream, target.consumer, options)
      .catch((failure: unknown): readonly Delivery[] => {
        if (isDismissed(failure, options.signal)) return []
        throw failure
      }),
  ])
  if (pulled.status === 'rejected') throw pulled.reason
  const deliveries = pulled.value
  try {
    if (look.status === 'rejected') throw look.reason
    const wasWaitedFor = deliveries.some(({ askedAt }) => askedAt === undefined)
    const asksAgain = wasWaitedFor && waitOf(look.value.info, 1) < SHORT_WAIT_MS
    return [asksAgain ? await lookAt(session, target) : look.value, deliveries]
  } catch (failure) {
    await giveBack(session, deliveries, undefined)
    throw failure
  }
}

/** Pieces of an answer, large enough that their number does not cost. */
const PIECE_CHARS = 65_536

/** Writes the answer; what the client did not take the whole of is given back. */
async function* encodePulled(
  c: Context<AppEnv>,
  look: Look,
  deliveries: readonly Delivery[],
  form: PayloadForm,
): Pieces {
  let taken = false
  countDeliveries(c.var.dependencies.metrics, 'pull', deliveries)
  const bytes = heldBytes(deliveries)
  const hold = c.var.dependencies.openHold(c.var.caller.tenant)
  const release = () => hold.release()
  const letGo = bytes > SMALL_BYTES ? holdUntilTaken(c, release) : release
  try {
    hold.take(bytes, 'answers')
    const encode = deliveryEncoder(c.var.session, { look, last: deliveries.at(-1), form })
    let piece = '{"messages":['
    for (const [index, delivery] of deliveries.entries()) {
      piece += (index > 0 ? ',' : '') + encode(delivery)
      if (piece.length < PIECE_CHARS) continue
      yield piece
      piece = ''
    }
    yield `${piece}],"num_pending":${deliveries.at(-1)?.numPending ?? look.info.num_pending}}`
    // A connection whose other end is gone takes one write; it is the next one that fails.
    if (deliveries.length > 0) {
      await c.var.dependencies.presence.probed(true)
      yield '\n'
    }
    taken = true
  } finally {
    letGo()
    const { signal } = c.req.raw
    const giveAllBack = () => giveBack(c.var.session, deliveries, look)
    if (!taken || signal.aborted) await giveAllBack()
    // Node's server takes a small answer before it writes: that the client is gone shows after that.
    else signal.addEventListener('abort', () => void giveAllBack(), { once: true })
  }
}

/** Refuses before the events begin, since a browser asks again and again after that. */
async function checkPullable(jetstream: JetStream, { stream_name: stream, name, config }: ConsumerInfo) {
  if (hasPercent(stream, name)) {
    const fault = percentFault((await jetstream.server()).version, stream, name)
    if (fault) throw fault
  }
  const { deliver_subject: pushesTo, priority_groups: groups } = config
  if (pushesTo === undefined && !(Array.isArray(groups) && groups.length > 0)) return
  const what = pushesTo === undefined ? 'has priority groups' : 'pushes'
  throw new BridgeError('refused_by_jetstream', `The consumer ${what}: it cannot be pulled from here.`)
}

/** Throws `ticket_invalid` where the caller came with a ticket for something else. */
function checkTicket(c: Context<AppEnv>, stream: string, consumer: string) {
  const { ticket } = c.var.caller
  if (!ticket) return
  if (ticket.stream !== stream || ticket.consumer !== consumer) {
    throw new BridgeError('ticket_invalid', 'The ticket is for something else.')
  }
  useTicket(c, ticket, (lastEventId) => deliveryScope(c, stream, consumer).openOwn(lastEventId))
}

/** Event ids of a consumer's deliveries: they show a ticket's reconnect, and are no position to read from. */
export function deliveryScope(c: Context<AppEnv>, stream: string, consumer: string) {
  return c.var.session.cursors.scope(stream, deliveryFilter(consumer))
}
