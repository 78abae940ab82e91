/** Owns the figures that a host keeps of itself, and writes them in Prometheus' text format. */

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

/** A figure that is looked up when it is asked for. `name`: as Prometheus shall have it. */
export interface Reading {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge'
  read(): number
}

type Labels = Readonly<Record<string, string>>

/** How a message came to a client: a page, lines, events of a stream, a pull, events of a consumer. */
export const DELIVERY_WAYS = ['page', 'lines', 'events', 'pull', 'push'] as const
type DeliveryWay = (typeof DELIVERY_WAYS)[number]

export const LIMITS = [
  'MAX_READERS',
  'MAX_READERS_PER_TENANT',
  'MAX_WAITING',
  'MAX_WAITING_PER_TENANT',
  'MAX_CONNECTIONS',
] as const
export type Limit = (typeof LIMITS)[number]

/** Upper bounds of the histogram, seconds: a lookup, a publish, a slow one, a time-out, a long poll. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5, 30]

/** A figure that stands in a family under labels of its own. */
class Cell implements Counter {
  value = 0
  add(n: number) {
    this.value += n
  }
}

const cells = <Name extends string>(names: readonly Name[]) =>
  Object.fromEntries(names.map((name) => [name, new Cell()])) as Readonly<Record<Name, Cell>>

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

export type Metrics = ReturnType<typeof createMetrics>
export type LiveMetrics = Metrics['live']

/** The figures of one host; `about`: what it is, as labels of `sluice_build_info`. */
export function createMetrics(about: Labels) {
  const routes = new Map<string, RouteFigures>()
  const readings: Reading[] = []
  const inFlight = new Cell()
  const openEvents = new Cell()
  const waiting = new Cell()
  const publishes = new Cell()
  const deliveries = cells(DELIVERY_WAYS)
  const redeliveries = new Cell()
  const refused = cells(LIMITS)
  const [gaps, feeds, readersLive, readersCatchingUp] = [new Cell(), new Cell(), new Cell(), new Cell()]

  const write = (): string =>
    [
      family('sluice_build_info', 'gauge', 'What runs here; always 1.', [[about, 1]]),
      ...writeRequests(routes),
      family(
        'sluice_http_requests_in_flight',
        'gauge',
        'Requests whose answer has not begun.',
        one(inFlight),
      ),
      family('sluice_event_streams', 'gauge', 'Open streams of server-sent events.', one(openEvents)),
      family('sluice_waiting_requests', 'gauge', 'Reads and pulls that wait for messages.', one(waiting)),
      family('sluice_refused_total', 'counter', 'Requests refused over a limit.', each('limit', refused)),
      family('sluice_publishes_total', 'counter', 'Messages that JetStream confirmed.', one(publishes)),
      family('sluice_deliveries_total', 'counter', 'Messages handed out.', each('via', deliveries)),
      family(
        'sluice_redeliveries_total',
        'counter',
        'Deliveries that were not the first.',
        one(redeliveries),
      ),
      family(
        'sluice_readers',
        'gauge',
        'Readers of streams by server-sent events.',
        each('state', { live: readersLive, catching_up: readersCatchingUp }),
      ),
      family('sluice_feeds', 'gauge', 'Live feeds, one a stream.', one(feeds)),
      family('sluice_gaps_total', 'counter', 'Gaps that readers were told of.', one(gaps)),
      ...readings.map(({ name, type, help, read }) => family(name, type, help, [[{}, read()]])),
    ].join('')

  return {
    /** Counts an answer whose head is sent. */
    answered(answer: Answered) {
      const known = routes.get(answer.route) ?? new RouteFigures()
      routes.set(answer.route, known)
      known.count(answer)
    },
    inFlight: inFlight as Gauge,
    /** Open streams of server-sent events, of streams and of consumers. */
    openEvents: openEvents as Gauge,
    waiting: waiting as Gauge,
    publishes: publishes as Counter,
    deliveries: deliveries as Readonly<Record<DeliveryWay, Counter>>,
    redeliveries: redeliveries as Counter,
    refused: refused as Readonly<Record<Limit, Counter>>,
    /** What `live/` counts. */
    live: {
      deliveries: deliveries.events as Counter,
      gaps: gaps as Counter,
      feeds: feeds as Gauge,
      readersLive: readersLive as Gauge,
      readersCatchingUp: readersCatchingUp as Gauge,
    },
    /** Adds a figure that is looked up when it is asked for. */
    watch(reading: Reading) {
      readings.push(reading)
    },
    /** Everything in Prometheus' text format 0.0.4. Source: Prometheus, Exposition formats. */
    write,
  }
}

function writeRequests(routes: ReadonlyMap<string, RouteFigures>): string[] {
  const answers = [...routes.values()].flatMap((route) => [...route.answers.values()])
  return [
    family(
      'sluice_http_requests_total',
      'counter',
      'Requests answered.',
      answers.map(({ labels, count }) => [labels, count] as const),
    ),
    head('sluice_http_request_duration_seconds', 'histogram', 'Time to the head of the answer.'),
    ...[...routes].map(([route, figures]) => writeHistogram({ route }, figures)),
  ]
}

function writeHistogram(labels: Labels, { buckets, seconds }: RouteFigures): string {
  const name = 'sluice_http_request_duration_seconds'
  let count = 0
  const lines = buckets.map((inBucket, index) => {
    count += inBucket
    return sample(`${name}_bucket`, { ...labels, le: String(BUCKETS[index] ?? '+Inf') }, count)
  })
  return [...lines, sample(`${name}_sum`, labels, seconds), sample(`${name}_count`, labels, count)].join('')
}

type Samples = readonly (readonly [Labels, number])[]

const one = ({ value }: Cell): Samples => [[{}, value]]
const each = (label: string, family: Readonly<Record<string, Cell>>): Samples =>
  Object.entries(family).map(([name, { value }]) => [{ [label]: name }, value])

function family(name: string, type: 'counter' | 'gauge', help: string, samples: Samples): string {
  return head(name, type, help) + samples.map(([labels, value]) => sample(name, labels, value)).join('')
}

const head = (name: string, type: string, help: string) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`

function sample(name: string, labels: Labels, value: number): string {
  const said = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`)
  return `${name}${said.length > 0 ? `{${said.join(',')}}` : ''} ${value}\n`
}

const escaped = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
