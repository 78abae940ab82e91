/** What clients, operators and faults do in the model test, as fast-check draws it. */
import fc from 'fast-check'
import { EventClient, type EventWish } from './event-client.ts'
import type { CallKind } from './network.ts'
import { PageReader, type PageRequest, type PageWish } from './page-reader.ts'
import { Publications, type Wish } from './publications.ts'
import { Workers } from './workers.ts'
import { type Setup, STREAM, type World } from './world.ts'

/** Everybody in one sequence. */
export class Cast {
  readonly world: World
  readonly publications: Publications
  readonly workers: Workers
  readonly pageReaders: PageReader[] = []
  readonly eventClients: EventClient[] = []

  constructor(world: World) {
    this.world = world
    this.publications = new Publications(world)
    this.workers = new Workers(world)
  }
}

/** `pause`: how long it has before the next command, ms; undefined: until everything under way is answered. */
interface Timed {
  readonly pause: number | undefined
}

export type Step = Timed &
  (
    | { readonly kind: 'publish'; readonly wish: Wish }
    | { readonly kind: 'publishMany'; readonly wishes: readonly Wish[]; readonly form: 'lines' | 'batch' }
    | {
        readonly kind: 'read'
        readonly wish: PageWish
        readonly request: PageRequest
        readonly ofPublish: boolean
      }
    | { readonly kind: 'readOn'; readonly at: number; readonly request: PageRequest }
    | { readonly kind: 'open'; readonly wish: EventWish }
    | { readonly kind: 'cut' | 'resume' | 'stall' | 'unstall'; readonly at: number }
    | { readonly kind: 'pull'; readonly batch: number; readonly waitMs: number }
    | { readonly kind: 'leave' }
    | {
        readonly kind: 'settle'
        readonly action: 'ack' | 'nak' | 'progress' | 'term'
        readonly at: number
        readonly count: number
      }
    | { readonly kind: 'purge'; readonly body: Readonly<Record<string, unknown>>; readonly upTo: number }
    | { readonly kind: 'delete'; readonly at: number }
    | { readonly kind: 'recreate'; readonly absentMs: number }
    | { readonly kind: 'failOver'; readonly ms: number; readonly cut: boolean }
    | { readonly kind: 'loseTail'; readonly count: number }
    | { readonly kind: 'lag'; readonly ops: number }
    | { readonly kind: 'lose'; readonly call: CallKind; readonly loss: 'request' | 'reply' }
    | { readonly kind: 'pass'; readonly ms: number }
  )

const FAULTS: ReadonlySet<string> = new Set(['failOver', 'lose', 'loseTail'])

/** One command of fast-check's, which runs a step and says what it was. */
export class StepCommand implements fc.AsyncCommand<object, Cast> {
  readonly step: Step

  constructor(step: Step) {
    this.step = step
  }

  check(): boolean {
    return true
  }

  async run(_: object, cast: Cast): Promise<void> {
    const { step } = this
    if (FAULTS.has(step.kind)) cast.world.wasFaulty = true
    const client = clientOf(cast, step)
    if (step.kind === 'pass') await cast.world.pass(step.ms)
    else if (client) cast.world.begin(`A ${step.kind}`, async () => void (await client()))
    else befall(cast, step)
    if (step.pause === undefined) await cast.world.clock.until(() => cast.world.isIdle, LONGEST_WAIT_MS)
    else await cast.world.pass(step.pause)
  }

  toString(): string {
    return JSON.stringify(this.step)
  }
}

const LONGEST_WAIT_MS = 30_000

/** What clients and operators do over HTTP; undefined: the step is none of theirs. */
function clientOf(cast: Cast, step: Step): (() => Promise<unknown>) | undefined {
  const { world, publications, workers, pageReaders, eventClients } = cast
  switch (step.kind) {
    case 'publish':
      return () => publications.publish(step.wish)
    case 'publishMany':
      return () => publications.publishMany(step.wishes, step.form)
    case 'read': {
      const reader = new PageReader(
        world,
        step.wish,
        step.ofPublish ? publications.cursors.at(-1) : undefined,
      )
      pageReaders.push(reader)
      return () => reader.read(step.request)
    }
    case 'readOn':
      return async () => await at(pageReaders, step.at)?.read(step.request)
    case 'open': {
      const client = new EventClient(world, step.wish)
      eventClients.push(client)
      return () => client.open()
    }
    case 'resume':
      return async () => await at(eventClients, step.at)?.open()
    case 'pull':
      return () => workers.pull(step.batch, step.waitMs)
    case 'settle':
      return () => workers.settle(step.action, step.at, step.count)
    case 'purge':
      return () => purge(world, step)
    case 'delete':
      return () => remove(world, step.at)
    default:
      return undefined
  }
}

/** What befalls clients, the network and JetStream. */
function befall({ world, workers, eventClients }: Cast, step: Step): void {
  const { jetstream } = world
  const { faults } = jetstream.network
  if (step.kind === 'cut') at(eventClients, step.at)?.cut()
  if (step.kind === 'stall') at(eventClients, step.at)?.stall()
  if (step.kind === 'unstall') at(eventClients, step.at)?.unstall()
  if (step.kind === 'leave') workers.leave()
  if (step.kind === 'recreate') recreate(world, step.absentMs)
  if (step.kind === 'failOver') jetstream.failOver(step.ms, step.cut)
  if (step.kind === 'loseTail') jetstream.loseTail(STREAM, step.count)
  if (step.kind === 'lag') faults.lag = step.ops
  if (step.kind === 'lose') faults.losses.push({ kinds: [step.call], loss: step.loss })
}

const at = <Item>(items: readonly Item[], index: number): Item | undefined =>
  items[index % Math.max(1, items.length)]

const JSON_BODY = { 'Content-Type': 'application/json' }

async function purge(world: World, { body, upTo }: Step & { kind: 'purge' }): Promise<void> {
  const seq = (world.stream?.firstSeq ?? 0) + upTo
  const asked = 'seq' in body ? { ...body, seq } : body
  const invokedOp = world.ops
  const { status, text } = await world.ask(`/v1/streams/${STREAM}/purge`, {
    method: 'POST',
    headers: JSON_BODY,
    body: JSON.stringify(asked),
  })
  if (status !== 200) return
  const gone = world.jetstream.history
    .flatMap(({ log }) => log)
    .filter(({ removedOp }) => removedOp > invokedOp && removedOp < Number.POSITIVE_INFINITY)
  const { purged } = JSON.parse(text) as { purged: number }
  if (purged > gone.length) world.complain(`A purge of ${purged} removed ${gone.length}`)
}

async function remove(world: World, index: number): Promise<void> {
  const stored = at([...(world.stream?.present.values() ?? [])], index)
  if (!stored) return
  const { status } = await world.ask(`/v1/streams/${STREAM}/messages/${stored.seq}`, { method: 'DELETE' })
  const isThere = world.stream?.present.get(stored.seq) === stored
  if (status === 204 && isThere)
    world.complain(`Message ${stored.seq} is still there after its delete was confirmed`)
}

function recreate(world: World, absentMs: number): void {
  if (!world.stream) return
  world.jetstream.dropStream(STREAM)
  if (absentMs === 0) world.makeStream()
  else world.clock.after(absentMs, () => world.makeStream())
}

const pause = fc.oneof(
  { weight: 3, arbitrary: fc.constant(undefined) },
  { weight: 4, arbitrary: fc.nat(6) },
  { weight: 1, arbitrary: fc.nat(300) },
)
const FILTERS = [
  [],
  [],
  [`${STREAM}.a`],
  [`${STREAM}.*`],
  [`${STREAM}.a.>`],
  [`${STREAM}.a`, `${STREAM}.b`],
  [`${STREAM}.b`, `${STREAM}.a.>`],
]
const filters = fc.constantFrom(...FILTERS)
const onGap = fc.constantFrom<'error' | 'skip'>('error', 'skip')
const wish: fc.Arbitrary<Wish> = fc.record({
  subject: fc.constantFrom('a', 'b', 'a.x'),
  key: fc.option(fc.nat(2), { nil: undefined }),
  conflict: fc.constantFrom(false, false, false, false, true),
  match: fc.constantFrom('any', 'any', 'any', 'right', 'wrong', 'none'),
})
const request: fc.Arbitrary<PageRequest> = fc.record({
  limit: fc.constantFrom(1, 2, 3, 100),
  waitMs: fc.constantFrom(0, 0, 5, 50, 3_000),
  form: fc.constantFrom('page', 'page', 'page', 'lines'),
})

const steps: readonly [weight: number, fields: Record<string, fc.Arbitrary<unknown>>][] = [
  [6, { kind: fc.constant('publish'), wish }],
  [
    4,
    {
      kind: fc.constant('publishMany'),
      wishes: fc.array(wish, { minLength: 1, maxLength: 6 }),
      form: fc.constantFrom('lines', 'batch'),
    },
  ],
  [
    3,
    {
      kind: fc.constant('read'),
      wish: fc.record({
        filters,
        onGap,
        start: fc.constantFrom(
          'beginning',
          'beginning',
          'new',
          'seq:2',
          'tail:2',
          'last',
          'since:1',
          'since:3',
        ),
      }),
      request,
      ofPublish: fc.boolean(),
    },
  ],
  [4, { kind: fc.constant('readOn'), at: fc.nat(3), request }],
  [
    3,
    {
      kind: fc.constant('open'),
      wish: fc.record({ filters, onGap, start: fc.constantFrom('beginning', 'new') }),
    },
  ],
  [4, { kind: fc.constantFrom('cut', 'resume', 'resume', 'stall', 'unstall'), at: fc.nat(3) }],
  [
    4,
    { kind: fc.constant('pull'), batch: fc.constantFrom(1, 2, 100), waitMs: fc.constantFrom(0, 10, 1_000) },
  ],
  [1, { kind: fc.constant('leave') }],
  [
    4,
    {
      kind: fc.constant('settle'),
      action: fc.constantFrom('ack', 'ack', 'ack', 'nak', 'progress', 'term'),
      at: fc.nat(5),
      count: fc.integer({ min: 1, max: 3 }),
    },
  ],
  [
    2,
    {
      kind: fc.constant('purge'),
      body: fc.constantFrom({}, { seq: 1 }, { seq: 1 }, { keep: 1 }, { keep: 3 }, { filter: `${STREAM}.a` }),
      upTo: fc.nat(6),
    },
  ],
  [2, { kind: fc.constant('delete'), at: fc.nat(6) }],
  [1, { kind: fc.constant('recreate'), absentMs: fc.constantFrom(0, 0, 3, 200) }],
  [1, { kind: fc.constant('failOver'), ms: fc.constantFrom(0, 5, 300, 6_000), cut: fc.boolean() }],
  [1, { kind: fc.constant('loseTail'), count: fc.integer({ min: 1, max: 4 }) }],
  [1, { kind: fc.constant('lag'), ops: fc.nat(6) }],
  [
    2,
    {
      kind: fc.constant('lose'),
      call: fc.constantFrom<CallKind>('publish', 'keyed', 'keyed', 'settle', 'pull', 'direct', 'api'),
      loss: fc.constantFrom('request', 'reply', 'reply'),
    },
  ],
  [3, { kind: fc.constant('pass'), ms: fc.constantFrom(1, 100, 1_000, 2_500, 6_000, 130_000) }],
]

/** Each as often as its weight says. */
export const commandArbitraries = steps.flatMap(([weight, fields]) => {
  const command = fc.record({ ...fields, pause }).map((step) => new StepCommand(step as unknown as Step))
  return Array.from({ length: weight }, () => command)
})

export const setupArbitrary: fc.Arbitrary<Setup> = fc.record({
  seed: fc.nat(0xff_ff_ff),
  host: fc.constantFrom('node', 'workers'),
  maxMsgs: fc.constantFrom(-1, -1, -1, 4, 8),
  perSubject: fc.constantFrom(-1, -1, -1, 2),
  direct: fc.constantFrom(true, true, true, false),
  replicas: fc.constantFrom(1, 3),
  maxAckPending: fc.constantFrom(1_000, 1_000, 2),
})
