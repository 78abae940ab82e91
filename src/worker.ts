/** The Workers entry: who asks is settled in the isolate, and the caller's Durable Object answers. */
import type { DurableObjectNamespace, Request as WorkerRequest } from '@cloudflare/workers-types'
import { getPath } from 'hono/utils/url'
import { chooseType } from './accept.ts'
import { eventsHeaders } from './answer.ts'
import { createApp } from './app.ts'
import { createDependencies } from './bridge.ts'
import type { Caller, Dependencies, Session } from './context.ts'
import { BridgeError, toProblem } from './errors.ts'
import { comeBack } from './farewell.ts'
import { createHolds, type OpenHold } from './holds.ts'
import { createSessions } from './hosts/sessions.ts'
import { tellAllUnhandled, watchUnhandled } from './hosts/unhandled.ts'
import { Ledger } from './ledger.ts'
import { createLog } from './log.ts'
import { EVENTS_TYPE, JSON_TYPE } from './media-types.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { identify, isEventsPath, rememberCaller } from './middleware/authenticate.ts'
import { headFault } from './middleware/heads.ts'
import { resumesEvents } from './middleware/resumed-events.ts'
import { BadSettings, readSettings, type Settings, settingNotes, shardsOf } from './settings.ts'
import { createTimers } from './timers.ts'
import { version } from './version.ts'

interface Bindings extends Readonly<Record<string, unknown>> {
  readonly HOST: DurableObjectNamespace
}

interface Bridge {
  readonly dependencies: Dependencies
  /** `of`: the parts of a Durable Object; absent: those of the isolate. */
  fetch(request: Request, of?: Dependencies): Response | Promise<Response>
}

/**
 * The app of the isolate: it answers what asks nothing of JetStream, and words refusals; with the parts of a Durable Object it
 * is that one's, too. An app for each would be most of what an object takes, and whoever makes up credentials has one made for each.
 */
let front: Bridge | undefined

/** What a request passes on its way to being refused. */
const NO_SESSION = new Proxy({} as Session, {
  get() {
    throw new Error('The isolate keeps no sessions.')
  },
})

/** Of the isolate's memory, which all Durable Objects in it share. */
let ledger: Ledger | undefined

/** What the isolate's app or a Durable Object holds memory by. */
function openHolds(settings: Settings, metrics: Metrics): OpenHold {
  ledger ??= new Ledger(settings)
  metrics.watchHeld(ledger.held)
  return createHolds({ ledger, metrics, startTimer: createTimers() })
}

type Parts = Pick<Dependencies, 'metrics' | 'openHold' | 'openSession'>

/** The parts that the isolate's app and the Durable Object's have alike. */
function createParts(settings: Settings, parts: Parts) {
  const writeLine = (line: string) => console.log(line)
  return createDependencies(settings, { ...parts, host: 'workers', writeLine })
}

function newMetrics(): Metrics {
  const metrics = createMetrics({ version, host: 'workers', runtime: 'workerd' })
  watchUnhandled(metrics)
  return metrics
}

tellAllUnhandled(createLog('failures', (line) => console.log(line)))

function openFront(env: Bindings): Bridge {
  const settings = readSettings(env)
  const metrics = newMetrics()
  const openHold = openHolds(settings, metrics)
  const dependencies = createParts(settings, { metrics, openHold, openSession: () => NO_SESSION })
  for (const note of settingNotes(env)) console.warn(note)
  const app = createApp(dependencies)
  return { dependencies, fetch: (request, of = dependencies) => app.fetch(request, { dependencies: of }) }
}

export default {
  async fetch(request: Request, env: Bindings): Promise<Response> {
    try {
      front ??= openFront(env)
    } catch (failure) {
      return refuseAll(failure)
    }
    const place = placeOf(request, front.dependencies)
    if (!place) return front.fetch(request)
    try {
      const host = env.HOST.get(env.HOST.idFromName(place.name))
      // The same thing by two type packages.
      const answer = (await host.fetch(request as unknown as WorkerRequest)) as unknown as Response
      if ((answer.ok && place.isKnown) || answer.status === 401)
        rememberCaller(request, place.caller, answer.ok)
      return answer
    } catch (failure) {
      return answerLostHost(request, failure, front.dependencies)
    }
  },
}

/** The paths of which the isolate can answer none by itself. */
const NEEDS_HOST = /^\/(v1|readyz|metrics)(\/|$)/

interface Place {
  readonly caller: Caller
  /** Whether an answer shows that NATS knows the caller. */
  readonly isKnown: boolean
  readonly name: string
}

/** The Durable Object that holds the caller's connection; undefined where the isolate answers by itself. */
function placeOf(request: Request, dependencies: Dependencies): Place | undefined {
  const path = getPath(request)
  if (request.method === 'OPTIONS' || !NEEDS_HOST.test(path) || headFault(request.headers)) return undefined
  try {
    const caller = identify(request, dependencies)
    const isKnown = path.startsWith('/v1/')
    return { caller, isKnown, name: `${caller.tenant}/${chooseShard(request, path, dependencies.settings)}` }
  } catch {
    return undefined
  }
}

/** What is read as events goes where the readers are. */
const FORMS_OF_READS = [JSON_TYPE, EVENTS_TYPE]

/** Which of a caller's Durable Objects is asked: any, but for the figures of a certain one. */
function chooseShard(request: Request, path: string, settings: Settings): number {
  if (path === '/metrics') return shardSaid(request.url) % shardsOf(settings)
  const takesEvents =
    isEventsPath(path) && chooseType(request.headers.get('Accept'), FORMS_OF_READS) === EVENTS_TYPE
  return Math.floor(Math.random() * (takesEvents ? settings.READER_SHARDS : settings.CONNECTION_SHARDS))
}

/** Whether there is such a shard, and whether that is a number at all, is for the app to say. */
function shardSaid(url: string): number {
  const said = new URL(url).searchParams.get('shard') ?? ''
  return /^\d{1,2}$/.test(said) ? Number(said) : 0
}

/** A Durable Object is restarted at any time: what it was doing may have been done. */
function answerLostHost(request: Request, cause: unknown, dependencies: Dependencies): Response {
  const { log, settings } = dependencies
  const reads = request.method === 'GET' || request.method === 'HEAD'
  const failure = new BridgeError(
    reads ? 'jetstream_unavailable' : 'internal',
    'The connection host was restarted.',
  )
  log.warn({ code: failure.code, detail: failure.message, cause: String(cause) })
  const origin = request.headers.get('Origin') ?? ''
  const listed = settings.CORS_ORIGINS.includes(origin)
  const headers = listed ? { 'Access-Control-Allow-Origin': origin } : {}
  // A browser that resumes its events would not come back to a failure.
  if (resumesEvents(request, identify(request, dependencies), dependencies))
    return new Response(comeBack(), { headers: { ...ownHeaders(), ...eventsHeaders, ...headers } })
  return problemResponse(failure, headers)
}

function refuseAll(failure: unknown): Response {
  console.error(failure instanceof Error ? failure.message : 'Bad settings.')
  if (!(failure instanceof BadSettings)) return problemResponse(failure)
  // Names alone: what a setting is may be a secret.
  const detail = `Bad or missing settings of this bridge: ${failure.names.join(', ')}. Its log says more.`
  return problemResponse(new BridgeError('internal', detail))
}

function problemResponse(failure: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  const own = ownHeaders()
  const problem = toProblem(failure, own['X-Request-Id'])
  return new Response(JSON.stringify(problem), {
    status: problem.status,
    headers: { ...own, 'Content-Type': 'application/problem+json', ...headers },
  })
}

/** What an answer says that no app has made. */
const ownHeaders = () => ({
  'X-Request-Id': crypto.randomUUID(),
  Date: new Date().toUTCString(),
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  Vary: 'Origin, Authorization, Cookie',
})

/**
 * Holds the NATS connection of one tenant, which an isolate cannot: there an I/O object belongs to one request. It keeps
 * nothing that matters; evicted, the next request builds it again.
 */
export class SluiceHost {
  readonly #app: Bridge
  readonly #dependencies: Dependencies

  constructor(_state: unknown, env: Bindings) {
    front ??= openFront(env)
    this.#app = front
    const { settings } = front.dependencies
    const metrics = newMetrics()
    const openHold = openHolds(settings, metrics)
    const sessions = createSessions(settings, metrics, openHold)
    const openSession = (caller: Caller) => sessions.open(caller)
    this.#dependencies = createParts(settings, { metrics, openHold, openSession })
  }

  fetch(request: Request): Response | Promise<Response> {
    return this.#app.fetch(request, this.#dependencies)
  }
}
