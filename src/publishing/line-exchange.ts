/** A conversation in lines: messages come, their results go, and neither waits for the other to end. */
import { BridgeError, toProblem } from '../errors.ts'
import type { OutgoingMessage } from '../jetstream.ts'
import type { Tally } from '../tally.ts'
import type { StartTimer } from '../timers.ts'
import { delay } from '../turns.ts'
import type { Line } from './lines.ts'
import type { Outcome, Pipeline } from './pipeline.ts'

/** A client that takes no result for so long is given up. */
const STALLED_MS = 60_000
/** What a client sends after its last answer is taken off the connection, up to so much: else the answer is lost. */
const DRAIN_MS = 2_000
const DRAINED_LINES = 100_000

const UTF8 = new TextEncoder()

export interface LineExchangeParts {
  readonly lines: AsyncIterable<readonly Line[]>
  readonly pipeline: Pipeline
  readonly startTimer: StartTimer
  /** Throws what is wrong with a line. */
  read(line: Line): OutgoingMessage
  /** The result lines of these outcomes, the first of which is about the message at `index`. */
  write(outcomes: readonly Outcome[], index: number): Promise<string>
  /** Counts what is under way. */
  readonly tally: Tally
  readonly requestId: string
  /** How long results may stay unread while lines come, ms. */
  readonly unreadMs: number
  /** Called once, however it ends. */
  onEnd(): void
}

/** The body of an answer: results in the order of the lines. Lines are read as long as results are taken. */
export class LineExchange implements UnderlyingDefaultSource<Uint8Array> {
  readonly #parts: LineExchangeParts
  readonly #pipeline: Pipeline
  #answered = 0
  #drained = 0
  /** Nothing more is read or written. */
  #isOver = false
  #isRead = false
  /** Results are left unread: what comes is passed over, so that the client gets to read why. */
  #isUnread = false
  /** Whether a line was passed over: at all, and since this was looked at. */
  #hasUnsent = false
  #hasPassed = false
  #unreadable: unknown
  #reading: Promise<void> | undefined
  #stopWaiting: (() => void) | undefined
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined

  constructor(parts: LineExchangeParts) {
    this.#parts = parts
    this.#pipeline = parts.pipeline
    this.#awaitClient()
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    this.#stopWaiting?.()
    this.#controller = controller
    this.#reading ??= this.#publishAll()
    while (!this.#isAnswered()) {
      const outcomes = await this.#pipeline.take()
      this.#parts.tally.shrink(this.#pipeline.bytes)
      if (outcomes.length === 0) continue
      const text = await this.#parts.write(outcomes, this.#answered)
      this.#answered += outcomes.length
      controller.enqueue(UTF8.encode(text))
      return this.#awaitClient()
    }
    await this.#finish(controller)
  }

  cancel(): void {
    this.#end()
  }

  /** Whether every message that was sent has its result, and no further one will be sent. */
  #isAnswered(): boolean {
    return this.#pipeline.isEmpty && (this.#isRead || this.#isEnding)
  }

  /** Whether nothing more is sent, though more may come. */
  get #isEnding(): boolean {
    return this.#isUnread || this.#pipeline.outage !== undefined
  }

  /** Never rejects. */
  async #publishAll(): Promise<void> {
    try {
      for await (const together of this.#parts.lines) {
        for (const line of together) {
          const mayPublish = !this.#isOver && !this.#isEnding && this.#pipeline.hasRoom
          if (!mayPublish && !(await this.#waitForRoom())) return
          if (this.#isEnding) this.#hasUnsent = this.#hasPassed = true
          else this.#publish(line)
        }
        const hasRoom = this.#parts.tally.follow(this.#pipeline.bytes)
        if (hasRoom) await hasRoom
      }
    } catch (failure) {
      this.#unreadable = failure
    } finally {
      this.#isRead = true
      this.#pipeline.wake()
    }
  }

  /** Answers whether to read on: also when nothing more is sent, so that the client comes to read what it is told. */
  async #waitForRoom(): Promise<boolean> {
    const pipeline = this.#pipeline
    while (!this.#isOver && !this.#isEnding && !pipeline.hasRoom) await pipeline.room()
    if (pipeline.outage !== undefined) this.#drained += 1
    return !this.#isOver && this.#drained < DRAINED_LINES
  }

  #publish(line: Line): void {
    try {
      this.#pipeline.send(this.#parts.read(line), typeof line === 'string' ? line.length : 0)
    } catch (failure) {
      this.#pipeline.refuse(failure)
    }
  }

  async #finish(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const failure = this.#pipeline.outage ?? this.#unread() ?? this.#unreadable
    if (failure !== undefined) {
      const problem = { ...toProblem(asUnsent(failure), this.#parts.requestId), next_index: this.#answered }
      controller.enqueue(UTF8.encode(`${JSON.stringify({ error: problem })}\n`))
      await Promise.race([this.#reading, delay(DRAIN_MS)])
    }
    controller.close()
    this.#end()
  }

  #unread(): BridgeError | undefined {
    if (!this.#isUnread || (this.#isRead && !this.#hasUnsent)) return undefined
    return new BridgeError(
      'results_unread',
      `Results were not read while lines were sent: messages from index ${this.#answered} on were not sent to JetStream. ` +
        'Send those again, and read results meanwhile, or send fewer at a time.',
    )
  }

  /**
   * Lines that wait for a client that reads nothing may be all that keeps it from reading: from then on they are passed over.
   * As long as some come, it gets nearer to it.
   */
  #awaitClient(waitedMs = 0): void {
    const { startTimer, unreadMs } = this.#parts
    this.#stopWaiting = startTimer(() => {
      const isStalled = !this.#isRead && !this.#isUnread && !this.#pipeline.hasRoom
      if (isStalled) {
        this.#isUnread = true
        this.#pipeline.wake()
      }
      const waited = isStalled || this.#hasPassed ? 0 : waitedMs + unreadMs
      this.#hasPassed = false
      if (waited < STALLED_MS) this.#awaitClient(waited)
      else this.#giveUp()
    }, unreadMs)
  }

  #giveUp(): void {
    this.#controller?.error(new Error('The client takes no results.'))
    this.#end()
  }

  #end(): void {
    this.#stopWaiting?.()
    if (this.#isOver) return
    this.#isOver = true
    this.#pipeline.wake()
    this.#parts.onEnd()
  }
}

/** What ends an answer is about the messages behind its last result, which JetStream never heard of. */
function asUnsent(failure: unknown): unknown {
  if (!(failure instanceof BridgeError) || !failure.code.startsWith('publish_unconfirmed')) return failure
  return new BridgeError(
    'jetstream_unavailable',
    'JetStream did not confirm a message; those after it were not sent.',
    {
      cause: failure,
    },
  )
}
