/** The port: what the HTTP side asks of JetStream, and what the NATS side provides. Types only. */

/** Header names in their own case, each with its values in order. */
export type MessageHeaders = Readonly<Record<string, readonly string[]>>

/** A stream or consumer configuration exactly as JetStream's JSON API has it: snake_case, durations in nanoseconds. */
export type JetStreamConfig = Readonly<Record<string, unknown>>

export interface OutgoingMessage {
  readonly subject: string
  readonly payload: Uint8Array
  readonly headers: MessageHeaders
}

/** JetStream's confirmation that a message is stored. */
export interface PubAck {
  readonly stream: string
  readonly seq: number
  readonly duplicate: boolean
  /** The new value, where the message added to a counter. */
  readonly val?: string
}

/** Where publishes to a subject end. `lastSeq`: of what is stored there, 0: nothing is; undefined: it is not told. */
export interface SubjectEnd {
  readonly stream: string
  readonly lastSeq: number | undefined
}

/** JetStream's confirmation of an atomic batch: its messages have the `count` sequences up to `lastSeq`. */
export interface BatchAck {
  readonly stream: string
  readonly lastSeq: number
  readonly count: number
}

/** One message as the stream has it. `time`: RFC 3339 UTC with nanoseconds. */
export interface StoredMessage {
  readonly subject: string
  readonly seq: number
  readonly time: string
  readonly headers: MessageHeaders
  readonly payload: Uint8Array
}

/** A message handed out by a consumer. */
export interface Delivery extends StoredMessage {
  readonly replySubject: string
  readonly deliveryCount: number
  /** Which delivery of the consumer it is. */
  readonly consumerSeq: number
  readonly numPending: number
  /** When what was at hand was asked for, so that it was not delivered before; absent of what was waited for. */
  readonly askedAt?: number
  /** Both in Unix milliseconds on this machine. */
  readonly receivedAt: number
}

export interface StreamState {
  readonly messages: number
  readonly bytes: number
  readonly first_seq: number
  readonly first_ts: string
  readonly last_seq: number
  readonly last_ts: string
  readonly consumer_count: number
  readonly num_subjects?: number
  readonly num_deleted?: number
}

export interface StreamInfo {
  readonly config: JetStreamConfig & { readonly name: string }
  readonly created: string
  readonly state: StreamState
  /** When the server said so; absent where it says no time. */
  readonly asOf?: string
}

interface SequencePair {
  readonly consumer_seq: number
  readonly stream_seq: number
  readonly last_active?: string
}

export interface ConsumerInfo {
  readonly stream_name: string
  readonly name: string
  readonly created: string
  readonly config: JetStreamConfig
  readonly delivered: SequencePair
  readonly ack_floor: SequencePair
  readonly num_ack_pending: number
  readonly num_redelivered: number
  readonly num_waiting: number
  readonly num_pending: number
  readonly paused?: boolean
  readonly pause_remaining?: number
  /** Of a server that is one of several. */
  readonly cluster?: object
  /** When the server said all this, by its clock. */
  readonly ts?: string
}

/** One page of a list that JetStream gives in pages. */
export interface Listing<Item> {
  readonly items: readonly Item[]
  readonly total: number
}

export interface ServerInfo {
  readonly version: string
  /** JetStream API level: 0 before 2.11, 1 with 2.11, 2 with 2.12, 4 with 2.14. */
  readonly apiLevel: number
  readonly maxPayloadBytes: number
}

/** Where a read begins: a sequence, or the first message at or after a time. */
export type ReadFrom = { readonly seq: number } | { readonly time: string }

export interface BatchRequest {
  readonly from: ReadFrom
  /** One subject filter, wildcards allowed; absent: every message. */
  readonly filter?: string
  /** Messages, at least 1. */
  readonly batch: number
  readonly maxBytes: number
  /** Aborted: the answer is of no use any more. */
  readonly signal?: AbortSignal
}

/**
 * A run of messages in sequence order.
 * `numPending`: matching messages after the last one, as the answering replica knows it.
 */
export interface Batch {
  readonly messages: readonly StoredMessage[]
  readonly numPending: number
}

/** `upToSeq` freezes the set, so that it can be read in pages: from `fromSeq` on, in sequence order. */
export interface LastPerSubjectRequest {
  readonly filters: readonly string[]
  readonly fromSeq: number
  readonly upToSeq: number
  readonly batch: number
  readonly maxBytes: number
  /** Aborted: the answer is of no use any more. */
  readonly signal?: AbortSignal
}

/** `filters`: at least one, none that another covers. `wanted`: as many messages as are looked for. */
export interface CountRequest {
  readonly filters: readonly string[]
  readonly fromSeq: number
  readonly wanted: number
  /** Aborted: the answer is of no use any more. */
  readonly signal?: AbortSignal
}

/** `wantedFrom`: from there on there are as many as are wanted; only where that is not far behind `fromSeq`. */
export interface Count {
  readonly count: number
  readonly wantedFrom?: number
}

/** Messages by subject, as one page of JetStream's list. */
export interface SubjectCounts {
  /** A JSON object, as JetStream wrote it: it may be some megabytes, so it is not taken apart. */
  readonly json: string
  /** Where the next page begins; null at the end. */
  readonly nextOffset: number | null
}

export type MessageLookup =
  | { readonly seq: number }
  /** The first message at `seq` or later that matches. */
  | { readonly seq: number; readonly nextBySubject: string }
  | { readonly lastBySubject: string }

export interface PullRequest {
  /** Messages, at least 1. */
  readonly batch: number
  readonly maxBytes: number
  /** 0: only what is at hand. */
  readonly waitMs: number
  /** Aborted: the client is gone; what was received is given back to JetStream by a nak. */
  readonly signal: AbortSignal
}

export type AckAction =
  | { readonly action: 'ack' }
  | { readonly action: 'nak'; readonly delayMs?: number | undefined }
  | { readonly action: 'progress' }
  | { readonly action: 'term'; readonly reason?: string | undefined }

/** What a subscription to a stream's live end reports. Never called after `stop`. */
export interface LiveListener {
  /** What may be on its way before `ready` is asked again; one message always may. */
  readonly windowBytes: number
  /** In sequence order, without a repeat. */
  message(message: StoredMessage): void
  /** Asked when a window is used up; undefined: more may come at once. */
  ready(): Promise<void> | undefined
  /** The subscription ended and will not come back by itself: the connection or the stream is gone. */
  ended(failure: unknown): void
}

export interface LiveSubscription {
  /** Ends it and deletes what it had on the server. Idempotent. */
  stop(): Promise<void>
}

/**
 * JetStream as one credential sees it. Every call ends within the request time-out of the settings.
 * Throws `BridgeError`: `jetstream_unavailable`, `jetstream_timeout`, `unauthenticated`, `forbidden`, and what each call names.
 */
export interface JetStream {
  /** What the connected server is. Source: the connection's INFO and NATS ADR-44, Versioning for JetStream Assets. */
  server(): Promise<ServerInfo>
  /** A round trip to the JetStream API. */
  ping(): Promise<void>

  /**
   * Publishes and waits for the `PubAck`; never retries. Calls are sent in their order.
   * Throws `subject_not_found`, `precondition_failed`, `payload_too_large`, `stream_full`, `publish_unconfirmed`.
   */
  publish(message: OutgoingMessage): Promise<PubAck>
  /**
   * Publishes a batch that is stored as a whole or not at all; never retries. At least one message, all of one stream.
   * Throws `BatchRefused` where one cannot be sent: then none is. Throws as `publish`, and `batch_incomplete` where messages of it did not come to one stream, `batches_in_flight`.
   * Source: NATS ADR-50, JetStream Batch Publishing.
   */
  publishAtomic(messages: readonly OutgoingMessage[]): Promise<BatchAck>

  /** The stream that listens on a subject; undefined where none does, or only under what an account maps it to. */
  streamOf(subject: string): Promise<string | undefined>
  /**
   * What a subject is to the stream that stores what is published to it, whatever it is mapped or transformed to on the way.
   * Asked by a publish whose condition never holds. Undefined: no stream takes it.
   */
  lookUpSubject(subject: string): Promise<SubjectEnd | undefined>

  /** At most 256 streams (1,024 on 2.10: JetStream's own page) from `offset`, by name. */
  listStreams(offset: number): Promise<Listing<StreamInfo>>
  createStream(config: JetStreamConfig): Promise<StreamInfo>
  updateStream(config: JetStreamConfig & { readonly name: string }): Promise<StreamInfo>
  /** Asks the leader. */
  streamInfo(stream: string): Promise<StreamInfo>
  /** The subjects below `filter` that have messages, 100,000 a page from `offset`. Asks the leader. */
  subjectCounts(stream: string, filter: string, offset: number): Promise<SubjectCounts>
  deleteStream(stream: string): Promise<void>
  purgeStream(stream: string, options: { filter?: string; seq?: number; keep?: number }): Promise<number>
  deleteMessage(stream: string, seq: number): Promise<void>

  /** Asks the leader, so what it says of the end of the stream holds. Undefined: there is no such message. */
  getMessage(stream: string, lookup: MessageLookup): Promise<StoredMessage | undefined>
  /** May be answered by a replica that lags. Source: NATS ADR-31, JetStream Direct Get. */
  getBatch(stream: string, request: BatchRequest): Promise<Batch>
  /** As `getBatch`, for streams and servers without batched Direct Get: by a consumer that lives for the call. */
  getBatchByConsumer(stream: string, request: BatchRequest): Promise<Batch>
  /** How many messages match any of several filters, each counted once. May be answered by a replica that lags. */
  countMatching(stream: string, request: CountRequest): Promise<Count>
  /** The last message of each subject at `upToSeq`. May be answered by a replica that lags. */
  getLastPerSubject(stream: string, request: LastPerSubjectRequest): Promise<Batch>
  /** Follows the stream from `fromSeq` on by an ordered consumer. Source: NATS ADR-17, Ordered Consumer. */
  follow(stream: string, fromSeq: number, listener: LiveListener): Promise<LiveSubscription>

  listConsumers(stream: string, offset: number): Promise<Listing<ConsumerInfo>>
  /** Creates or updates a durable consumer; `config.durable_name` names it. */
  putConsumer(
    stream: string,
    config: JetStreamConfig & { readonly durable_name: string },
  ): Promise<ConsumerInfo>
  consumerInfo(stream: string, consumer: string): Promise<ConsumerInfo>
  deleteConsumer(stream: string, consumer: string): Promise<void>
  /** `until` undefined: resumes. */
  pauseConsumer(stream: string, consumer: string, until: string | undefined): Promise<void>
  /** Delivers again from `seq`, or from the ack floor. Answers what the consumer is then. */
  resetConsumer(stream: string, consumer: string, seq: number | undefined): Promise<ConsumerInfo>

  /**
   * Pulls the next messages, in delivery order, and answers as soon as there is one and no more are at hand.
   * Throws `consumer_not_found`, `consumer_busy`. Source: NATS ADR-13, Pull Subscribe internals.
   */
  pull(stream: string, consumer: string, request: PullRequest): Promise<readonly Delivery[]>
  /** Whether a consumer, as it is now, is the one that was created then and delivered with this reply subject. */
  isSameConsumer(
    now: ConsumerInfo,
    then: { readonly created: string; readonly replySubject: string },
  ): Promise<boolean>
  /** Settles one delivery and waits until the server has answered for it. */
  settle(replySubject: string, action: AckAction): Promise<void>
}

/** What a read of history asks for. */
export type HistoryCalls = Pick<
  JetStream,
  | 'server'
  | 'streamInfo'
  | 'getMessage'
  | 'getBatch'
  | 'getBatchByConsumer'
  | 'countMatching'
  | 'getLastPerSubject'
>

/** What a caller shows NATS: NATS decides what it may do. `own`: the credential in the bridge's settings. */
export type NatsCredential =
  | { readonly kind: 'own' }
  | { readonly kind: 'user'; readonly user: string; readonly password: string }
  | { readonly kind: 'token'; readonly token: string }

/** What NATS says of a credential each time that it is shown. */
export interface ConnectionEvents {
  /** What it throws ends the connection, and is what the dial fails with. */
  accepted(): void
  refused(): void
}

/** JetStream over one connection of one credential. Whoever opens it closes it. */
export interface JetStreamConnection {
  readonly jetstream: JetStream
  /** Whether it holds a connection now: unused for the idle time of the settings, it hangs up until the next call. */
  isConnected(): boolean
  /** Whether one is being made. */
  isDialling(): boolean
  /** Connects where there is no connection. Throws `unauthenticated`, `jetstream_unavailable`. */
  connect(): Promise<void>
  /** Ends the connection after what is under way; idempotent. */
  close(): Promise<void>
}
