/** The figures that a host keeps of itself, and writes them in Prometheus' text format. */
import { HELD_KINDS, type HeldKind } from './ledger.ts'

/** Only ever grows. */
export interface Counter {
  add(n: number): void
}

/** Grows and shrinks. */
export interface Gauge {
  add(n: number): void
}

/** One request that was answered. `route`, the pattern of its path, and `method` are of a bounded number. */
export interface Answered {
  readonly route: string
  readonly method: string
  readonly status: number
  readonly seconds: number
}

/** What a figure is called, and what it tells. */
interface Description {
  readonly name: string
  readonly type: 'counter' | 'gauge'
  readonly help: string
}

type Labels = Readonly<Record<string, string>>

/** How a message came to a client: a page, lines, events of a stream, a pull, events of a consumer. */
const DELIVERY_WAYS = ['page', 'lines', 'events', 'pull', 'push'] as const

/** Settings that clients are refused over. */
const LIMITS = [
  'MAX_READERS',
  'MAX_READERS_PER_TENANT',
  'MAX_RESUMING',
  'MAX_RESUMING_PER_TENANT',
  'MAX_WAITING',
  'MAX_WAITING_PER_TENANT',
  'MAX_REQUESTS',
  'MAX_REQUESTS_PER_TENANT',
  'MAX_PUBLISHERS',
  'MAX_PUBLISHERS_PER_TENANT',
  'MAX_MEMORY_BYTES',
  'MAX_MEMORY_BYTES_PER_TENANT',
  'MAX_SCANS',
  'MAX_SCANS_PER_TENANT',
  'MAX_CONNECTIONS',
  'MAX_SIGN_INS',
  'MAX_CLIENT_CONNECTIONS',
] as const
export type Limit = (typeof LIMITS)[number]

export type Metrics = ReturnType<typeof createMetrics>
export type LiveMetrics = Metrics['live']

/** The figures of one host; `about`: what it is, as labels of `sluice_build_info`. */
export function createMetrics(about: Labels) {
  const { counter, counters, gauge, gauges, watch, watchEach, write } = createRegistry(about)
  const routes = new Map<string, RouteFigures>()
  const deliveries = counters('sluice_deliveries_total', 'Messages handed out.', 'via', DELIVERY_WAYS)
  const readers = gauges('sluice_readers', 'Readers of streams by server-sent events.', 'state', [
    'live',
    'catching_up',
  ])
  return {
    inFlight: gauge('sluice_http_requests_in_flight', 'Requests whose answer has not begun.'),
    openEvents: gauge('sluice_event_streams', 'Open server-sent events, of streams and of consumers.'),
    resuming: gauge('sluice_resuming_readers', 'Resumed readers that wait for NATS to be back.'),
    waiting: gauge('sluice_waiting_requests', 'Reads and pulls that wait for messages.'),
    arriving: gauge('sluice_arriving_requests', 'Requests that wait for NATS to accept their credential.'),
    underWay: gauge(
      'sluice_requests_under_way',
      'Requests of callers whose answer has not begun, and that do not wait.',
    ),
    publishing: gauge('sluice_publishing_requests', 'Requests under way that publish many messages.'),
    scanning: gauge('sluice_searches', 'Searches of streams under way, and lists of streams and consumers.'),
    publishes: counter('sluice_publishes_total', 'Messages that JetStream confirmed.'),
    deliveries,
    redeliveries: counter('sluice_redeliveries_total', 'Deliveries that were not the first.'),
    refused: counters('sluice_refused_total', 'Requests refused over a limit.', 'limit', LIMITS),
    /** What `live/` counts. */
    live: {
      deliveries: deliveries.events,
      gaps: counter('sluice_gaps_total', 'Gaps that readers were told of.'),
      feeds: gauge('sluice_feeds', 'Live feeds, one a stream.'),
      readersLive: readers.live,
      readersCatchingUp: readers.catching_up,
    },
    /** Counts an answer whose head is sent. */
    answered(answer: Answered) {
      const known = routes.get(answer.route) ?? new RouteFigures()
      routes.set(answer.route, known)
      known.count(answer)
    },
    /** Adds a figure that is looked up when it is asked for. */
    watch,
    /** Adds what a host, on Workers an isolate, holds in memory for its clients. */
    watchHeld: (held: Readonly<Record<HeldKind, number>>) =>
      watchEach(
        { name: 'sluice_held_bytes', type: 'gauge', help: 'Memory held for clients, bytes.' },
        'kind',
        () => HELD_KINDS.map((kind) => [kind, held[kind]]),
      ),
    /** Everything in Prometheus' text format 0.0.4. Source: Prometheus, Exposition formats. */
    write: () => write() + writeRequests(routes),
  }
}

/** A figure under labels of its own. */
class Cell {
  value = 0
  add(n: number) {
    this.value += n
  }
}

/** Makes figures, and writes them in the order in which they were made. */
function createRegistry(about: Labels) {
  const build: Samples = [[about, 1]]
  const families: [Description, () => Samples][] = [
    [{ name: 'sluice_build_info', type: 'gauge', help: 'What runs here; always 1.' }, () => build],
  ]
  const watch = (description: Description, read: () => number) => {
    families.push([description, () => [[{}, read()]]])
  }
  const watchEach = (
    description: Description,
    label: string,
    read: () => readonly (readonly [string, number])[],
  ) => {
    families.push([description, () => read().map(([value, figure]) => [{ [label]: value }, figure])])
  }
  const one = (description: Description) => {
    const cell = new Cell()
    watch(description, () => cell.value)
    return cell
  }
  const each = <Value extends string>(description: Description, label: string, values: readonly Value[]) => {
    const cells = values.map((value) => [value, new Cell()] as const)
    families.push([description, () => cells.map(([value, cell]) => [{ [label]: value }, cell.value])])
    return Object.fromEntries(cells) as Readonly<Record<Value, Cell>>
  }
  return {
    counter: (name: string, help: string): Counter => one({ name, type: 'counter', help }),
    gauge: (name: string, help: string): Gauge => one({ name, type: 'gauge', help }),
    counters: <Value extends string>(name: string, help: string, label: string, values: readonly Value[]) =>
      each({ name, type: 'counter', help }, label, values) as Readonly<Record<Value, Counter>>,
    gauges: <Value extends string>(name: string, help: string, label: string, values: readonly Value[]) =>
      each({ name, type: 'gauge', help }, label, values) as Readonly<Record<Value, Gauge>>,
    watch,
    watchEach,
    write: () => families.map(([description, samples]) => family(description, samples())).join(''),
  }
}

/** Upper bounds of the histogram, seconds: a lookup, a publish, a slow one, a time-out, a long poll. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5, 30]

/** What was answered on one route. */
class RouteFigures {
  readonly answers = new Map<string, { labels: Labels; count: number }>()
  readonly buckets = new Array<number>(BUCKETS.length + 1).fill(0)
  seconds = 0

  count({ route, method, status, seconds }: Answered) {
    const key = `${status}${method}`
    const known = this.answers.get(key)
    if (known) known.count += 1
    else this.answers.set(key, { labels: { route, method, status: String(status) }, count: 1 })
    const bucket = BUCKETS.findIndex((bound) => seconds <= bound)
    const at = bucket === -1 ? BUCKETS.length : bucket
    this.buckets[at] = (this.buckets[at] ?? 0) + 1
    this.seconds += seconds
  }
}

const DURATION = 'sluice_http_request_duration_seconds'

function writeRequests(routes: ReadonlyMap<string, RouteFigures>): string {
  const answers = [...routes.values()].flatMap((route) => [...route.answers.values()])
  const requests = {
    name: 'sluice_http_requests_total',
    type: 'counter',
    help: 'Requests answered.',
  } as const
  return [
    family(
      requests,
      answers.map(({ labels, count }) => [labels, count]),
    ),
    head(DURATION, 'histogram', 'Time to the head of the answer.'),
    ...[...routes].map(([route, figures]) => writeHistogram({ route }, figures)),
  ].join('')
}

function writeHistogram(labels: Labels, { buckets, seconds }: RouteFigures): string {
  let count = 0
  const lines = buckets.map((inBucket, index) => {
    count += inBucket
    return sample(`${DURATION}_bucket`, { ...labels, le: String(BUCKETS[index] ?? '+Inf') }, count)
  })
  const sum = sample(`${DURATION}_sum`, labels, seconds)
  return lines.join('') + sum + sample(`${DURATION}_count`, labels, count)
}

type Samples = readonly (readonly [Labels, number])[]

function family({ name, type, help }: Description, samples: Samples): string {
  return head(name, type, help) + samples.map(([labels, value]) => sample(name, labels, value)).join('')
}

const head = (name: string, type: string, help: string) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`

function sample(name: string, labels: Labels, value: number): string {
  const said = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`)
  return `${name}${said.length > 0 ? `{${said.join(',')}}` : ''} ${value}\n`
}

const escaped = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
