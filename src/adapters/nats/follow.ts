/** Following a stream's live end by an ordered consumer. Source: NATS ADR-17, Ordered Consumer. */
import { createInbox, type Msg, type NatsConnection, nuid } from 'nats.ws'
import type { LiveListener, LiveSubscription } from '../../jetstream.ts'
import { msToNanos } from '../../schemas/time.ts'
import { encodeJson } from './api.ts'
import type { Connection } from './connection.ts'
import { createConsumer, deleteConsumer } from './consumers.ts'
import { fromClient, hasCode, refusedPublish, unavailable } from './errors.ts'
import { subscribeTo, unsubscribe } from './exchange.ts'
import { type HeaderBlock, headersOf, lastOf, sizeOf } from './headers.ts'
import { Incarnation } from './incarnation.ts'
import { onSucceeded } from './lame-duck.ts'
import { detached, fromConsumer, isStatus } from './messages.ts'
import {
  CONFLICT,
  HEARTBEAT,
  NOT_FOUND,
  orderedConsumer,
  type Session,
  TIMED_OUT,
  TOO_LARGE,
} from './ordered-consumer.ts'
import { onRefused, quoted } from './refusals.ts'

const HEARTBEAT_MS = 1_500
const SILENT_HALF_BEATS = 5
/** How long one request for messages stands. */
const EXPIRES_MS = 25_000
const MAX_BATCH = 5_000

const RETRY_MS = 500
/** A consumer often goes with its stream: one made in a stream that is going would never be heard of again. */
const DELETED_MS = 100
const MOST_RETRIES = 60

export interface FollowRequest {
  readonly stream: string
  readonly fromSeq: number
  readonly listener: LiveListener
  /** How often the server speaks when there is nothing to say, ms. Default 5,000. */
  readonly heartbeatMs?: number
}

class Follower implements LiveSubscription {
  readonly #connection: Connection
  #client: NatsConnection
  readonly #request: FollowRequest
  readonly #heartbeatMs: number
  #session: Session | undefined
  #nextSeq: number
  readonly #incarnation = new Incarnation()
  #silentHalfBeats = 0
  #watch: ReturnType<typeof setInterval> | undefined
  #stopped = false
  #unhear: () => void = () => undefined
  #stay: () => void = () => undefined
  /** What ended it before it had begun. */
  #failed: { readonly failure: unknown } | undefined

  constructor(connection: Connection, client: NatsConnection, request: FollowRequest) {
    this.#connection = connection
    this.#client = client
    this.#request = request
    this.#heartbeatMs = request.heartbeatMs ?? HEARTBEAT_MS
    this.#nextSeq = Math.max(1, request.fromSeq)
  }

  async start(): Promise<void> {
    try {
      await this.#begin()
      if (this.#failed) throw this.#failed.failure
    } catch (err) {
      await this.stop()
      throw err
    }
    this.#watch = setInterval(() => this.#listen(), this.#heartbeatMs / 2)
    this.#settleOn(this.#client)
  }

  #settleOn(client: NatsConnection): void {
    this.#client = client
    // A credential that may not ask for messages would wait without end.
    this.#unhear = onRefused(client, (refused) => {
      const subject = this.#session && this.#nextSubject(this.#session)
      if (subject !== undefined && refused === quoted(subject))
        this.#end(this.#session, refusedPublish(subject))
    })
    this.#stay = onSucceeded(client, (successor) => this.#move(successor))
  }

  /** Goes on over another connection; what is being begun over the old one does so when it has. */
  #move(successor: NatsConnection): void {
    this.#unhear()
    this.#stay()
    this.#settleOn(successor)
    if (this.#session && !this.#session.held) this.#restart(this.#session)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearInterval(this.#watch)
    this.#unhear()
    this.#stay()
    await this.#discard(this.#session)
  }

  /** Makes a consumer that goes on at the next message. */
  async #begin(): Promise<void> {
    const { stream } = this.#request
    const session = this.#subscribe()
    this.#session = session
    this.#silentHalfBeats = 0
    const config = orderedConsumer(session.consumer, this.#nextSeq)
    await createConsumer(this.#connection, stream, config, session.client)
    const place = { stream, nextSeq: this.#nextSeq, client: session.client }
    await this.#incarnation.check(this.#connection, place)
    if (this.#stopped) {
      await this.#discard(session)
      return
    }
    const held = session.held ?? []
    session.held = undefined
    for (const message of held) this.#receive(session, message)
    if (session.client !== this.#client) this.#restart(session)
    else if (session === this.#session) this.#ask(session)
  }

  #nextSubject({ consumer }: Session): string {
    return `$JS.API.CONSUMER.MSG.NEXT.${this.#request.stream}.${consumer}`
  }

  /** Asks for a window of messages. `alone`: for the next one, whatever its size. */
  #ask(session: Session, alone = false): void {
    const { windowBytes } = this.#request.listener
    session.requests += 1
    const bytes = alone ? Number.POSITIVE_INFINITY : windowBytes
    session.window = { id: session.requests, messages: alone ? 1 : MAX_BATCH, bytes }
    const body = {
      batch: session.window.messages,
      ...(alone ? {} : { max_bytes: windowBytes }),
      expires: msToNanos(EXPIRES_MS),
      idle_heartbeat: msToNanos(this.#heartbeatMs),
    }
    const reply = `${session.inbox}.${session.requests}`
    session.client.publish(this.#nextSubject(session), encodeJson(body), { reply })
  }

  /** The window is used up: the next is asked for as soon as the listener can take it. */
  #askWhenReady(session: Session, alone = false): void {
    session.window = undefined
    const ask = () => {
      if (session === this.#session && !this.#stopped && !session.client.isClosed()) this.#ask(session, alone)
    }
    const becomingReady = this.#request.listener.ready()
    if (!becomingReady) ask()
    else
      becomingReady
        .then(ask)
        .catch((failure: unknown) => this.#end(session, fromClient(failure, session.client.isClosed())))
  }

  #subscribe(): Session {
    const { stream } = this.#request
    const client = this.#client
    const consumer = nuid.next()
    const inbox = createInbox()
    const subscription = subscribeTo(
      client,
      { inbox: `${inbox}.*`, requestSubject: `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}` },
      (failure, message) => {
        if (failure === undefined) this.#receive(session, message)
        else this.#end(session, fromClient(failure, client.isClosed()))
      },
    )
    const session: Session = {
      client,
      consumer,
      subscription,
      inbox,
      nextConsumerSeq: 1,
      window: undefined,
      requests: 0,
      held: [],
    }
    subscription.closed.then(() => this.#end(session, unavailable())).catch(() => undefined)
    return session
  }

  /** Never throws: it is called by nats.ws, which would stop reading. */
  #receive(session: Session, message: Msg): void {
    if (session !== this.#session || this.#stopped) return
    this.#silentHalfBeats = 0
    if (session.held) {
      session.held.push(message)
      return
    }
    try {
      const block = headersOf(message)
      if (isStatus(message, block)) this.#control(session, message, block)
      else this.#deliver(session, message, block)
    } catch (err) {
      this.#end(session, err)
    }
  }

  #deliver(session: Session, received: Msg, block: HeaderBlock): void {
    const delivered = fromConsumer(received, block)
    if (!delivered) return
    if (delivered.ack.consumerSeq !== session.nextConsumerSeq) {
      this.#restart(session)
      return
    }
    session.nextConsumerSeq += 1
    this.#nextSeq = delivered.ack.streamSeq + 1
    this.#request.listener.message(detached(delivered.message))
    const { window } = session
    if (!window) return
    window.messages -= 1
    // The server counts as `sizeOf` does, and ends a request whose bytes come out even without a word.
    window.bytes -= sizeOf(received)
    if (window.messages === 0 || window.bytes <= 0) this.#askWhenReady(session)
  }

  /** Statuses end the request that stands, or say that it does; any other says that the consumer is gone. */
  #control(session: Session, message: Msg, block: HeaderBlock): void {
    const { status, description } = block
    if (status === HEARTBEAT) {
      if (Number(lastOf(block, 'Nats-Last-Consumer') ?? 0) >= session.nextConsumerSeq) this.#restart(session)
      return
    }
    // It may be of a request whose bytes came out even, and which therefore counts as ended.
    if (!message.subject.endsWith(`.${session.window?.id}`)) return
    if (status === NOT_FOUND || status === TIMED_OUT) this.#askWhenReady(session)
    else if (status === CONFLICT && description.startsWith(TOO_LARGE)) {
      // A window that brought something is asked for again; one that brought nothing is too small for what comes.
      this.#askWhenReady(session, session.window?.messages === MAX_BATCH)
    } else this.#restart(session, DELETED_MS)
  }

  /** Where nothing is asked for, nothing is heard. */
  #listen(): void {
    if (!this.#session || this.#session.held || !this.#session.window) return
    this.#silentHalfBeats += 1
    if (this.#silentHalfBeats > SILENT_HALF_BEATS) this.#restart(this.#session)
  }

  /** Something is missing or the consumer is gone: goes on with a new one, unheard by the listener. */
  #restart(session: Session, afterMs = 0): void {
    if (session !== this.#session || this.#stopped) return
    void this.#discard(session)
    void this.#beginAgain(afterMs)
  }

  async #beginAgain(afterMs: number): Promise<void> {
    if (afterMs > 0) await new Promise((resolve) => setTimeout(resolve, afterMs))
    for (let attempt = 1; !this.#stopped; attempt += 1) {
      try {
        return await this.#begin()
      } catch (err) {
        const passing = hasCode(err, 'jetstream_unavailable', 'jetstream_timeout') && !this.#client.isClosed()
        if (!passing || attempt === MOST_RETRIES)
          return this.#end(this.#session, fromClient(err, this.#client.isClosed()))
        await this.#discard(this.#session)
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
      }
    }
  }

  #end(session: Session | undefined, failure: unknown): void {
    if (session !== this.#session || this.#stopped) return
    if (!this.#watch) {
      this.#failed ??= { failure }
      return
    }
    void this.stop()
    this.#request.listener.ended(failure)
  }

  /** Never rejects: the server deletes by itself what it cannot be told of. */
  async #discard(session: Session | undefined): Promise<void> {
    if (!session) return
    this.#session = undefined
    try {
      unsubscribe(session.client, session.subscription)
      if (this.#client.isClosed()) return
      await deleteConsumer(this.#connection, this.#request.stream, session.consumer, this.#client)
    } catch {
      // The connection is on its way out.
    }
  }
}

/** `JetStream.follow`. Lost messages, a stall or a deleted consumer are made good by a new consumer. */
export async function follow(connection: Connection, request: FollowRequest): Promise<LiveSubscription> {
  const follower = new Follower(connection, await connection.client(), request)
  await follower.start()
  return follower
}
