/** A JetStream in memory behind the port: the same answers and failures, in virtual time, with faults on demand. */
import { isAckSubject } from '../../src/adapters/nats/ack-subject.ts'
import { type ApiError, fromApiError } from '../../src/adapters/nats/errors.ts'
import { BridgeError, refuse as refuseField } from '../../src/errors.ts'
import type {
  AckAction,
  Batch,
  BatchRequest,
  ConsumerInfo,
  Count,
  CountRequest,
  Delivery,
  JetStream,
  JetStreamConfig,
  LastPerSubjectRequest,
  LiveListener,
  LiveSubscription,
  MessageLookup,
  OutgoingMessage,
  PubAck,
  PullRequest,
  StoredMessage,
} from '../../src/jetstream.ts'
import { fromNanosText } from '../../src/schemas/time.ts'
import { covers } from '../live/filters.ts'
import { Network, REQUEST_TIMEOUT_MS } from './network.ts'
import { SimulatedConsumer } from './simulated-consumer.ts'
import { SimulatedFollow } from './simulated-follow.ts'
import { deliveriesOf } from './simulated-pull.ts'
import { SimulatedReplica, strip } from './simulated-replica.ts'
import { type Ledger, SimulatedStream, type Stored, type StreamConfig } from './simulated-stream.ts'
import type { VirtualClock } from './virtual-clock.ts'

const NO_STREAM: ApiError = { code: 404, err_code: 10059, description: 'stream not found' }
const NO_CONSUMER: ApiError = { code: 404, err_code: 10014, description: 'consumer not found' }
const SERVER = { version: '2.15.1', apiLevel: 4, maxPayloadBytes: 1_048_576 }
const MS_DIGITS = 6
/** No stream loses its newest messages without being away for a while. */
const LOST_MS = 1_000
const DEFAULTS = {
  subjects: [],
  max_msgs: -1,
  max_msgs_per_subject: -1,
  discard: 'old',
  allow_direct: true,
  num_replicas: 1,
  duplicate_window: 120_000_000_000,
} as const

/** Calls that no command comes to. */
const notSimulated = async (): Promise<never> => {
  throw new BridgeError('internal', 'This is not simulated.')
}

interface Incarnation {
  readonly stream: SimulatedStream
  readonly consumers: Map<string, SimulatedConsumer>
}

export class SimulatedJetStream implements JetStream {
  readonly network: Network
  /** Every stream there ever was, the gone ones as well. */
  readonly history: SimulatedStream[] = []
  /** Every consumer there ever was. */
  readonly consumers: SimulatedConsumer[] = []
  readonly follows = new Set<SimulatedFollow>()
  readonly #clock: VirtualClock
  readonly #streams = new Map<string, Incarnation>()
  #ops = 0
  #ticks = 0

  constructor(clock: VirtualClock, random: () => number) {
    this.#clock = clock
    this.network = new Network(clock, random)
  }

  /** How many operations have changed something. */
  get ops(): number {
    return this.#ops
  }

  readonly #ledger: Ledger = {
    nextOp: () => {
      this.#ops += 1
      return this.#ops
    },
    nextNanos: () => {
      this.#ticks += 1
      return `${this.#clock.now}${String(this.#ticks).padStart(MS_DIGITS, '0')}`
    },
    nowMs: () => this.#clock.now,
  }

  // What follows happens in JetStream, at once; a test may have it happen, too.

  streamNamed(name: string): SimulatedStream | undefined {
    return this.#streams.get(name)?.stream
  }

  consumerNamed(stream: string, name: string): SimulatedConsumer | undefined {
    return this.#streams.get(stream)?.consumers.get(name)
  }

  makeStream(config: JetStreamConfig): SimulatedStream {
    const name = String(config.name)
    const known = this.streamNamed(name)
    if (known) return known
    const stream = new SimulatedStream({ ...DEFAULTS, ...config, name } as StreamConfig, this.#ledger)
    this.#streams.set(name, { stream, consumers: new Map() })
    this.history.push(stream)
    return stream
  }

  dropStream(name: string): void {
    const { stream, consumers } = this.#incarnation(name)
    this.#streams.delete(name)
    for (const consumer of consumers.values()) consumer.end()
    stream.end()
  }

  makeConsumer(stream: string, config: JetStreamConfig): SimulatedConsumer {
    const incarnation = this.#incarnation(stream)
    const known = incarnation.consumers.get(String(config.durable_name))
    if (known) return known
    const created = fromNanosText(this.#ledger.nextNanos())
    const consumer = new SimulatedConsumer(incarnation.stream, this.#clock, { config, created })
    incarnation.consumers.set(consumer.name, consumer)
    this.consumers.push(consumer)
    return consumer
  }

  /** `cut`: live subscriptions end with it, as those do whose connection was to the leader. */
  failOver(ms: number, cut: boolean): void {
    this.network.failOver(ms)
    if (!cut) return
    const lost = new BridgeError('jetstream_unavailable', 'The connection to NATS is lost.')
    for (const follow of [...this.follows]) follow.end(lost)
  }

  /** What its consumers had delivered of it, they deliver again when it comes again. */
  loseTail(name: string, count: number): void {
    const incarnation = this.#streams.get(name)
    if (!incarnation) return
    const nextSeq = incarnation.stream.loseTail(count)
    for (const consumer of incarnation.consumers.values()) consumer.rewind(nextSeq)
    this.failOver(LOST_MS, true)
  }

  #incarnation(name: string): Incarnation {
    const found = this.#streams.get(name)
    if (!found) throw fromApiError(NO_STREAM)
    return found
  }

  #consumer(stream: string, name: string): SimulatedConsumer {
    const found = this.#incarnation(stream).consumers.get(name)
    if (!found) throw fromApiError(NO_CONSUMER)
    return found
  }

  #listening(subject: string): SimulatedStream | undefined {
    for (const { stream } of this.#streams.values())
      if (stream.config.subjects.some((one) => covers(one, subject))) return stream
    return undefined
  }

  // The port.

  async server() {
    return SERVER
  }

  ping = () => this.network.call('api', () => undefined)

  publish(message: OutgoingMessage): Promise<PubAck> {
    const kind = 'Nats-Msg-Id' in message.headers ? 'keyed' : 'publish'
    return this.network.call(kind, () => {
      const stream = this.#listening(message.subject)
      if (!stream) throw new BridgeError('subject_not_found', `No stream listens on "${message.subject}".`)
      return stream.publish(message)
    })
  }

  lookUpSubject = (subject: string) =>
    this.network.call('api', () => {
      const stream = this.#listening(subject)
      return (
        stream && { stream: stream.config.name, lastSeq: stream.lookUp({ lastBySubject: subject })?.seq ?? 0 }
      )
    })

  streamOf = (subject: string) => this.network.call('api', () => this.#listening(subject)?.config.name)

  createStream = (config: JetStreamConfig) => this.network.call('api', () => this.makeStream(config).info(0))

  streamInfo = (name: string) =>
    this.network.call('api', () => {
      const { stream, consumers } = this.#incarnation(name)
      return stream.info(consumers.size)
    })

  deleteStream = (name: string) => this.network.call('api', () => this.dropStream(name))

  purgeStream = (name: string, options: { filter?: string; seq?: number; keep?: number }) =>
    this.network.call('api', () => {
      const { stream, consumers } = this.#incarnation(name)
      const purged = stream.purge(options)
      for (const consumer of consumers.values()) consumer.postpone()
      return purged
    })

  deleteMessage = (name: string, seq: number) =>
    this.network.call('api', () => this.#incarnation(name).stream.delete(seq))

  getMessage(name: string, lookup: MessageLookup): Promise<StoredMessage | undefined> {
    return this.network.call('api', () => plain(this.#incarnation(name).stream.lookUp(lookup)))
  }

  getBatch(name: string, request: BatchRequest): Promise<Batch> {
    return this.network.call('direct', async () => {
      const { stream } = this.#incarnation(name)
      if (!stream.config.allow_direct)
        throw new BridgeError('not_supported', 'The stream or the NATS server has no batched Direct Get.')
      return await this.#replica(stream).readBatch(request)
    })
  }

  getBatchByConsumer(name: string, request: BatchRequest): Promise<Batch> {
    return this.network.call('api', () => {
      const { stream } = this.#incarnation(name)
      const found = stream.match(request, [...stream.present.values()])
      const messages = found.slice(0, stream.fitting(request, found))
      return {
        messages: messages.map(strip),
        numPending: messages.length > 0 ? found.length - messages.length : 0,
      }
    })
  }

  countMatching(name: string, { filters, fromSeq, wanted }: CountRequest): Promise<Count> {
    return this.network.call('api', () => {
      const { stream } = this.#incarnation(name)
      const found = [...stream.present.values()].filter(
        ({ seq, subject }) => seq >= fromSeq && filters.some((filter) => covers(filter, subject)),
      )
      const first = found.at(-wanted)
      return { count: found.length, ...(found.length >= wanted && first ? { wantedFrom: first.seq } : {}) }
    })
  }

  subjectCounts = notSimulated

  isSameConsumer = async (now: ConsumerInfo, then: { readonly created: string }) =>
    now.created === then.created

  getLastPerSubject(name: string, request: LastPerSubjectRequest): Promise<Batch> {
    return this.network.call('direct', () => {
      const { stream } = this.#incarnation(name)
      return this.#replica(stream).lastPerSubject(request)
    })
  }

  async follow(name: string, fromSeq: number, listener: LiveListener): Promise<LiveSubscription> {
    const { network } = this
    const onEnd = () => this.follows.delete(follow)
    const find = () => this.streamNamed(name)
    const follow: SimulatedFollow = new SimulatedFollow(
      { find, network, listener, onEnd, clock: this.#clock },
      fromSeq,
    )
    try {
      await network.call('api', () => {
        this.#incarnation(name)
        follow.bind()
        this.follows.add(follow)
      })
      return follow.begin(await this.streamInfo(name))
    } catch (failure) {
      await follow.stop()
      throw failure
    }
  }

  putConsumer = (stream: string, config: JetStreamConfig & { readonly durable_name: string }) =>
    this.network.call('api', () => this.makeConsumer(stream, config).info())

  consumerInfo = (stream: string, name: string): Promise<ConsumerInfo> =>
    this.network.call('api', () => this.#consumer(stream, name).info())

  deleteConsumer = (stream: string, name: string) =>
    this.network.call('api', () => {
      this.#consumer(stream, name).end()
      this.#incarnation(stream).consumers.delete(name)
    })

  /** As the adapter: what came to a client that is gone is given back. */
  async pull(stream: string, name: string, request: PullRequest): Promise<readonly Delivery[]> {
    const { signal } = request
    signal.throwIfAborted()
    let taken: readonly Delivery[] = []
    try {
      const pulled = await this.network.call('pull', async () => {
        taken = await deliveriesOf(this.#consumer(stream, name), request, this.#clock)
        return taken
      })
      signal.throwIfAborted()
      const receivedAt = this.#clock.now
      return pulled.map((delivery) => ({ ...delivery, receivedAt }))
    } catch (failure) {
      if (!signal.aborted) throw failure
      for (const { replySubject } of taken)
        this.consumerNamed(stream, name)?.settle(replySubject, { action: 'nak' })
      throw signal.reason
    }
  }

  async settle(replySubject: string, action: AckAction): Promise<void> {
    if (!isAckSubject(replySubject)) throw refuseField('reply', 'is not the reply subject of a delivery')
    await this.network.call('settle', async () => {
      if (this.#settleNow(replySubject, action)) return
      await this.#clock.delay(REQUEST_TIMEOUT_MS)
      throw new BridgeError('jetstream_timeout', 'JetStream did not answer in time.')
    })
  }

  publishAtomic = notSimulated
  listStreams = notSimulated
  updateStream = notSimulated
  listConsumers = notSimulated
  pauseConsumer = notSimulated
  resetConsumer = notSimulated

  #replica(stream: SimulatedStream): SimulatedReplica {
    return new SimulatedReplica(stream, { clock: this.#clock, network: this.network, ops: () => this.#ops })
  }

  #settleNow(replySubject: string, action: AckAction): boolean {
    const [, , stream = '', name = ''] = replySubject.split('.')
    const consumer = this.consumerNamed(stream, name)
    if (!consumer) throw new BridgeError('consumer_not_found', 'The consumer of this delivery is gone.')
    return consumer.settle(replySubject, action)
  }
}

const plain = (stored: Stored | undefined): StoredMessage | undefined => stored && strip(stored)
