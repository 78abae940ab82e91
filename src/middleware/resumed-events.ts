/** Event streams that are resumed: `EventSource` never comes back to another status than 200, so it has to get that. */
import type { Context } from 'hono'
import { getPath } from 'hono/utils/url'
import { abortWith } from '../abort.ts'
import { chooseType } from '../accept.ts'
import { answer, eventsHeaders } from '../answer.ts'
import type { AppEnv, Caller, Dependencies } from '../context.ts'
import { ERRORS, type ErrorCode, SHUTTING_DOWN } from '../errors.ts'
import { comeBack } from '../farewell.ts'
import type { Slots } from '../limits.ts'
import type { LoggedFailure } from '../log.ts'
import { EVENTS_TYPE, JSON_TYPE } from '../media-types.ts'
import { streamPieces } from '../pieces.ts'
import { deliveryFilter } from '../tokens/cursor.ts'
import { delay } from '../turns.ts'
import { identify, isEventsPath } from './authenticate.ts'

/** How long a resumed request may wait for its answer before it is given one. */
const PATIENCE_MS = 400
const RETRY_MS = 1_000
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 1_000
const HEARTBEAT = ': \n\n'
/** Refusals that a reader was told in a stream and will meet again when it comes back. */
const MAX_REMEMBERED = 1_000

/** What may pass by itself while the reader waits: NATS is away, or between leaders. */
const WORTH_WAITING: ReadonlySet<string> = new Set<ErrorCode>(['jetstream_unavailable', 'jetstream_timeout'])

/** Requests that stand for a resumed one, and how they failed. */
const attempts = new WeakMap<Request, { failure?: LoggedFailure | undefined }>()

/** Whether a request is one of those that `resumeEvents` makes: it is not counted as a client's. */
export const isAttempt = (request: Request): boolean => attempts.has(request)

/** Says how an attempt ended; undefined: it did not fail. */
export function noteOutcome(request: Request, failure: LoggedFailure | undefined): void {
  const attempt = attempts.get(request)
  if (attempt) attempt.failure = failure
}

/** Whether a request may be one that resumes events: what most requests are not, found out at once. */
export function mayResume({ method, headers, url }: Request, path: string): boolean {
  if (method !== 'GET' || !path.endsWith('/messages')) return false
  return headers.has('Last-Event-ID') || url.includes('lastEventId=')
}

/**
 * Whether a request resumes events by an id that this bridge sealed for its caller, stream and filter. What is not known
 * for certain is answered as any other request.
 */
export function resumesEvents(
  request: Request,
  { tenant, ticket }: Caller,
  { openCursors }: Dependencies,
): boolean {
  const path = getPath(request)
  if (!mayResume(request, path) || !isEventsPath(path)) return false
  const [, , , stream = '', kind, consumer = ''] = path.split('/').map(decoded)
  const ofConsumer = kind === 'consumers'
  const offered = ofConsumer ? [EVENTS_TYPE] : [JSON_TYPE, EVENTS_TYPE]
  if (chooseType(request.headers.get('Accept'), offered) !== EVENTS_TYPE) return false
  const query = new URL(request.url).searchParams
  const id = request.headers.get('Last-Event-ID') || query.get('lastEventId')
  if (!id || (ticket && (ticket.stream !== stream || ticket.consumer !== (ofConsumer ? consumer : ''))))
    return false
  const filters = ofConsumer ? deliveryFilter(consumer) : (ticket?.subjects ?? query.getAll('subject'))
  try {
    const scope = openCursors(tenant).scope(stream, filters)
    if (ticket || ofConsumer) scope.openOwn(id)
    else scope.open(id)
    return true
  } catch {
    return false
  }
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}

/** Answers requests that resume events. */
export interface Resumption {
  /** The answer; undefined where the request is none of these. Throws what `identify` does. */
  answer(c: Context<AppEnv>): Promise<Response | undefined>
}

interface ResumptionParts {
  readonly dependencies: Dependencies
  /** The whole bridge: what answers a request from its beginning. */
  dispatch(request: Request, env: unknown): Response | Promise<Response>
}

interface Outcome {
  readonly response: Response
  readonly failure: LoggedFailure | undefined
}

export function createResumption({ dependencies, dispatch }: ResumptionParts): Resumption {
  const { settings, presence, startTimer, resumers } = dependencies
  // Who was told a refusal in a stream is told it by a status when it comes back, and so comes back no more.
  const refused = new Set<string>()
  const remember = (key: string) => {
    if (refused.size >= MAX_REMEMBERED) refused.clear()
    refused.add(key)
  }

  async function* waitFor(
    first: Promise<Outcome>,
    parts: WaitParts,
  ): AsyncGenerator<string | Uint8Array, void> {
    let outcome = first
    try {
      yield `retry: ${RETRY_MS}\n\n${HEARTBEAT}`
      for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
        while (!(await presence.settled(outcome, settings.HEARTBEAT_MS))) yield HEARTBEAT
        const { response, failure } = await outcome
        if (!failure) {
          parts.release()
          return yield* bodyOf(response, parts.gone.signal)
        }
        if (isLimit(failure)) return yield comeBack()
        if (!WORTH_WAITING.has(failure.code)) {
          remember(parts.key)
          return yield `event: error\ndata: ${await response.text()}\n\n`
        }
        await delay(Math.min(pauseMs, settings.HEARTBEAT_MS))
        yield HEARTBEAT
        outcome = parts.attempt()
      }
    } finally {
      parts.release()
      // What comes too late is let go of.
      outcome.then(letGo, () => undefined)
    }
  }

  return {
    async answer(c) {
      const request = c.req.raw
      const caller = identify(request, dependencies)
      if (!resumesEvents(request, caller, dependencies)) return undefined
      const gone = new AbortController()
      abortWith(gone, request.signal)
      const attempt = async (): Promise<Outcome> => {
        const headers = new Headers(request.headers)
        headers.set('X-Request-Id', c.get('requestId'))
        const made = new Request(request.url, { headers, signal: gone.signal })
        attempts.set(made, {})
        const response = await dispatch(made, c.env)
        return { response, failure: attempts.get(made)?.failure }
      }
      const key = `${caller.tenant} ${c.req.path}`
      const first = attempt()
      if (refused.has(key) || (await presence.settled(first, PATIENCE_MS))) {
        const { response, failure } = await first
        refused.delete(key)
        if (!failure || !(isLimit(failure) || WORTH_WAITING.has(failure.code)))
          return adopt(c, { response, failure })
        if (isLimit(failure)) return answer(c, comeBack(), { headers: eventsHeaders })
      }
      const release = takeSlot(resumers, caller.tenant)
      if (!release) {
        gone.abort()
        first.then(letGo, () => undefined)
        return answer(c, comeBack(), { headers: eventsHeaders })
      }
      const pieces = waitFor(first, { attempt, key, gone, release })
      return answer(c, await streamPieces(pieces, { startTimer, gone }), { headers: eventsHeaders })
    },
  }
}

/** An attempt's answer is that of the request. */
function adopt(c: Context<AppEnv>, { response, failure }: Outcome): Response {
  c.set('answered', response)
  if (failure) c.set('failure', failure)
  return response
}

interface WaitParts {
  readonly key: string
  readonly gone: AbortController
  attempt(): Promise<Outcome>
  release(): void
}

/** A limit that is reached may have room again; a host that ends has another one in its place soon. */
function isLimit({ code, detail }: LoggedFailure): boolean {
  if (detail === SHUTTING_DOWN) return true
  return !WORTH_WAITING.has(code) && code in ERRORS && ERRORS[code as ErrorCode].retryable
}

function takeSlot(slots: Slots, tenant: string): (() => void) | undefined {
  try {
    return slots.take(tenant)
  } catch {
    return undefined
  }
}

/** Of an answer that nobody reads. */
function letGo({ response: { body } }: Outcome): void {
  if (body && !body.locked) void body.cancel().catch(() => undefined)
}

/** What a body has, until the client leaves. */
async function* bodyOf({ body }: Response, gone: AbortSignal): AsyncGenerator<Uint8Array, void> {
  if (!body) return
  const reader = body.getReader() as ReadableStreamDefaultReader<Uint8Array>
  const cancel = () => void reader.cancel().catch(() => undefined)
  if (gone.aborted) cancel()
  else gone.addEventListener('abort', cancel, { once: true })
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield value
    }
  } finally {
    gone.removeEventListener('abort', cancel)
    cancel()
  }
}
