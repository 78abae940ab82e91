/** Calls of the port as fast-check draws them, and their answers in a form that two JetStreams can be compared in. */
import fc from 'fast-check'
import { BridgeError } from '../../src/errors.ts'
import type {
  Batch,
  Delivery,
  JetStream,
  LiveListener,
  StoredMessage,
  StreamInfo,
} from '../../src/jetstream.ts'

const CONSUMER = 'C'
const SUBJECTS = ['a', 'b', 'a.x']
const FILTERS = ['a', '*', 'a.>', '>', 'b', 'none']
const MAX_BYTES = 1_048_576
const LONG_MS = 300_000
const PULLS = 4
const NANOS_PER_MS = 1e6

export type Call =
  | {
      readonly kind: 'publish'
      readonly subject: string
      readonly key?: string
      readonly conditions: Readonly<Record<string, string>>
    }
  | { readonly kind: 'get'; readonly seq: number; readonly next?: string }
  | { readonly kind: 'last'; readonly subject: string }
  | {
      readonly kind: 'batch'
      readonly seq: number
      readonly batch: number
      readonly filter?: string
      readonly byConsumer: boolean
    }
  | {
      readonly kind: 'lastPerSubject'
      readonly filters: readonly string[]
      readonly upToSeq: number
      readonly fromSeq: number
    }
  | { readonly kind: 'info' | 'recreate' | 'putConsumer' | 'consumerInfo' | 'deleteConsumer' | 'streamOf' }
  | {
      readonly kind: 'purge'
      readonly options: { readonly filter?: string; readonly seq?: number; readonly keep?: number }
    }
  | { readonly kind: 'delete'; readonly seq: number }
  | { readonly kind: 'pull'; readonly batch: number }
  | { readonly kind: 'settle'; readonly action: 'ack' | 'nak' | 'progress' | 'term'; readonly at: number }
  | { readonly kind: 'follow'; readonly fromSeq: number }
  | { readonly kind: 'wait'; readonly ms: number }

/** What streams of the sequences differ in. */
export const configArbitrary = fc.record({
  max_msgs: fc.constantFrom(-1, -1, 4),
  max_msgs_per_subject: fc.constantFrom(-1, -1, 2),
  discard: fc.constantFrom('old', 'old', 'new'),
  storage: fc.constant('memory'),
  allow_direct: fc.constant(true),
})

const subject = fc.constantFrom(...SUBJECTS)
const filter = fc.option(fc.constantFrom(...FILTERS), { nil: undefined })
const seq = fc.integer({ min: 1, max: 12 })
const optionalSeq = fc.option(seq, { nil: undefined })
const conditions = fc.oneof(
  { weight: 5, arbitrary: fc.constant({}) },
  { weight: 1, arbitrary: fc.nat(6).map((last) => ({ 'Nats-Expected-Last-Sequence': String(last) })) },
  {
    weight: 2,
    arbitrary: fc.nat(6).map((last) => ({ 'Nats-Expected-Last-Subject-Sequence': String(last) })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('k0', 'k1', 'none').map((id) => ({ 'Nats-Expected-Last-Msg-Id': id })),
  },
  { weight: 1, arbitrary: fc.constant({ 'Nats-Expected-Stream': 'OTHER' }) },
)
const call = (kind: Call['kind'], fields: Record<string, fc.Arbitrary<unknown>> = {}) =>
  fc.record({ kind: fc.constant(kind), ...fields }) as fc.Arbitrary<unknown> as fc.Arbitrary<Call>

export const callArbitrary: fc.Arbitrary<Call> = fc.oneof(
  {
    weight: 10,
    arbitrary: call('publish', {
      subject,
      key: fc.option(fc.constantFrom('k0', 'k1', 'k2'), { nil: undefined }),
      conditions,
    }),
  },
  { weight: 2, arbitrary: call('get', { seq, next: filter }) },
  { weight: 1, arbitrary: call('last', { subject: fc.constantFrom(...FILTERS) }) },
  {
    weight: 3,
    arbitrary: call('batch', { seq, batch: fc.constantFrom(1, 3, 100), filter, byConsumer: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: call('lastPerSubject', {
      filters: fc.uniqueArray(fc.constantFrom(...FILTERS), { minLength: 1, maxLength: 1 }),
      upToSeq: seq,
      fromSeq: fc.constantFrom(1, 1, 3),
    }),
  },
  { weight: 2, arbitrary: call('info') },
  { weight: 1, arbitrary: call('streamOf') },
  {
    weight: 2,
    arbitrary: call('purge', {
      options: fc.oneof(
        fc.record({ seq: optionalSeq, filter }),
        fc.record({ keep: fc.integer({ min: 1, max: 4 }), filter }),
      ),
    }),
  },
  { weight: 2, arbitrary: call('delete', { seq }) },
  { weight: 2, arbitrary: call('putConsumer') },
  { weight: 1, arbitrary: call('consumerInfo') },
  { weight: 1, arbitrary: call('deleteConsumer') },
  { weight: 4, arbitrary: call('pull', { batch: fc.constantFrom(1, 2, 100) }) },
  {
    weight: 4,
    arbitrary: call('settle', { action: fc.constantFrom('ack', 'nak', 'progress', 'term'), at: fc.nat(5) }),
  },
  { weight: 1, arbitrary: call('follow', { fromSeq: seq }) },
  { weight: 1, arbitrary: call('recreate') },
)

/** Where calls are made: in a stream of this name, whose consumer waits so long for acks. */
export interface Place {
  readonly name: string
  readonly config: object
  readonly ackWaitMs?: number
  readonly wait: (ms: number) => Promise<unknown>
}

type Makers<Kind extends Call['kind']> = {
  readonly [Each in Kind]: (call: Call & { readonly kind: Each }) => Promise<unknown>
}

/** Makes calls one after another; the answers are without times, and as if the stream had no name. */
export function createCaller(jetstream: JetStream, place: Place): (call: Call) => Promise<unknown> {
  const makers: Makers<Call['kind']> = {
    ...readers(jetstream, place),
    ...writers(jetstream, place),
    ...consumers(jetstream, place),
    wait: ({ ms }) => place.wait(ms),
  }
  return async (call) => {
    try {
      const make = makers[call.kind] as (one: Call) => Promise<unknown>
      return [call.kind, await make(call)]
    } catch (failure) {
      if (!(failure instanceof BridgeError)) throw failure
      return [call.kind, { code: failure.code, ...failure.members }]
    }
  }
}

const fullIn = (name: string) => (subject: string) => (subject === '>' ? '>' : `${name}.${subject}`)
const told = (message: StoredMessage | undefined) => {
  if (!message) return undefined
  const { seq, subject, headers, payload } = message
  return [seq, subject.slice(subject.indexOf('.') + 1), headers, Buffer.from(payload).toString()]
}
const toldBatch = ({ messages, numPending }: Batch) => ({ messages: messages.map(told), numPending })

type ReadKind = 'get' | 'last' | 'batch' | 'lastPerSubject' | 'info' | 'streamOf' | 'follow'

function readers(jetstream: JetStream, { name }: Place): Makers<ReadKind> {
  const full = fullIn(name)
  return {
    async get({ seq, next }) {
      const lookup = next === undefined ? { seq } : { seq, nextBySubject: full(next) }
      return told(await jetstream.getMessage(name, lookup))
    },
    last: async ({ subject }) => told(await jetstream.getMessage(name, { lastBySubject: full(subject) })),
    async batch({ seq, batch, filter, byConsumer }) {
      const filtered = filter === undefined ? {} : { filter: full(filter) }
      const request = { from: { seq }, batch, maxBytes: MAX_BYTES, ...filtered }
      if (byConsumer) return toldBatch(await jetstream.getBatchByConsumer(name, request))
      return toldBatch(await jetstream.getBatch(name, request))
    },
    async lastPerSubject({ fromSeq, upToSeq, filters }) {
      const request = { filters: filters.map(full), fromSeq, upToSeq, batch: 100, maxBytes: MAX_BYTES }
      return toldBatch(await jetstream.getLastPerSubject(name, request))
    },
    info: async () => toldOfStream(await jetstream.streamInfo(name)),
    streamOf: async () => (await jetstream.streamOf(full('a'))) === name,
    follow: ({ fromSeq }) => seqsFollowed(jetstream, name, fromSeq),
  }
}

type WriteKind = 'publish' | 'purge' | 'delete' | 'recreate'

function writers(jetstream: JetStream, { name, config }: Place): Makers<WriteKind> {
  const full = fullIn(name)
  let published = 0
  return {
    async publish({ subject, key, conditions }) {
      published += 1
      const said = { ...conditions, ...(key === undefined ? {} : { 'Nats-Msg-Id': key }) }
      const headers = Object.fromEntries(Object.entries(said).map(([header, value]) => [header, [value]]))
      const message = { subject: full(subject), payload: Buffer.from(`p${published}`), headers }
      const { seq, duplicate } = await jetstream.publish(message)
      return { seq, duplicate }
    },
    async purge({ options: { filter, ...rest } }) {
      const filtered = filter === undefined ? {} : { filter: full(filter) }
      return await jetstream.purgeStream(name, { ...rest, ...filtered })
    },
    delete: ({ seq }) => jetstream.deleteMessage(name, seq),
    async recreate() {
      await jetstream.deleteStream(name)
      return toldOfStream(await jetstream.createStream({ name, subjects: [`${name}.>`], ...config }))
    },
  }
}

type ConsumerKind = 'putConsumer' | 'consumerInfo' | 'deleteConsumer' | 'pull' | 'settle'

/** What is pulled stays to be settled, also when its consumer or its stream is gone. */
function consumers(jetstream: JetStream, { name, ackWaitMs = LONG_MS }: Place): Makers<ConsumerKind> {
  const held: Delivery[] = []
  return {
    async putConsumer() {
      const ack_wait = ackWaitMs * NANOS_PER_MS
      await jetstream.putConsumer(name, { durable_name: CONSUMER, ack_policy: 'explicit', ack_wait })
    },
    consumerInfo: async () => (await jetstream.consumerInfo(name, CONSUMER)).num_ack_pending,
    deleteConsumer: () => jetstream.deleteConsumer(name, CONSUMER),
    async pull({ batch }) {
      const pulled = await pullSettled(jetstream, name, batch)
      held.push(...pulled)
      return pulled.map((delivery) => [told(delivery), delivery.deliveryCount])
    },
    async settle({ action, at }) {
      const delivery = held[at % Math.max(1, held.length)]
      if (delivery) await jetstream.settle(delivery.replySubject, { action })
    },
  }
}

const toldOfStream = ({ state }: StreamInfo) => {
  const { messages, first_seq, last_seq } = state
  return { messages, first_seq, last_seq }
}

/** A consumer hears of what was just published a little later: one that has nothing is asked again. */
async function pullSettled(jetstream: JetStream, name: string, batch: number): Promise<readonly Delivery[]> {
  const { signal } = new AbortController()
  for (let tries = 1; ; tries += 1) {
    const pulled = await jetstream.pull(name, CONSUMER, { batch, maxBytes: MAX_BYTES, waitMs: 0, signal })
    if (pulled.length > 0 || tries === PULLS) return pulled
    await jetstream.ping()
  }
}

/** What a subscription hears up to the last message there is. */
async function seqsFollowed(jetstream: JetStream, name: string, fromSeq: number): Promise<readonly number[]> {
  const all = { from: { seq: 1 }, batch: 1_000, maxBytes: MAX_BYTES }
  const last = (await jetstream.getBatchByConsumer(name, all)).messages.at(-1)
  const seqs: number[] = []
  const { promise: heardAll, resolve } = Promise.withResolvers<void>()
  const listener: LiveListener = {
    windowBytes: MAX_BYTES,
    ready: () => undefined,
    ended: () => resolve(),
    message({ seq }) {
      seqs.push(seq)
      if (seq === last?.seq) resolve()
    },
  }
  const subscription = await jetstream.follow(name, fromSeq, listener)
  if (last && last.seq >= fromSeq) await heardAll
  await subscription.stop()
  return seqs
}
