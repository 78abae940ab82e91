/** What every generated client is used for: each does it with the types that were generated for it. */

/** A failure as its client gives it. */
export interface Refusal {
  readonly status: number
  readonly code: string
  readonly retryable: boolean
  readonly currentSeq: number | undefined
}

/** A message that was pulled, and what the server said to its acknowledgement. */
export interface Settled {
  readonly data: string | undefined
  readonly deliveryCount: number
  readonly result: 'ok' | 'stale' | 'error'
}

/** An event of a stream: its name, and the sequence where it is a message. */
export interface Seen {
  readonly event: string
  readonly seq: number | undefined
}

/** What became of one of many messages: its sequence, or the code of its problem. */
export type Published = number | string

export interface GeneratedClient {
  /** Makes a stream that listens on everything below its name, with a consumer. */
  makeStream(stream: string, consumer: string): Promise<void>
  /** Answers the sequence, and whether the stream had the key already. */
  publish(subject: string, payload: string, key: string): Promise<{ seq: number; duplicate: boolean }>
  /** Publishes payloads in one JSON document, all or none where `atomic`. */
  publishBatch(subject: string, payloads: readonly string[], atomic: boolean): Promise<Published[]>
  /** Publishes values as lines of JSON, each on the condition that the stream ends at its sequence. */
  publishLines(
    subject: string,
    values: readonly (readonly [value: unknown, lastSeq: number])[],
  ): Promise<Published[]>
  /** Publishes a CloudEvent. Answers whether the stream had it already. */
  publishEvent(subject: string, type: string, data: unknown): Promise<boolean>
  /** The types of all messages as CloudEvents. */
  readEventTypes(stream: string): Promise<string[]>
  /** Follows the cursor until there is no more. */
  readPages(stream: string, subject: string, limit: number): Promise<(string | undefined)[]>
  /** The payloads of all lines, up to the line that ends them. */
  readLines(stream: string): Promise<(string | undefined)[]>
  /** Events from the beginning, up to and with the first of this name. */
  readEvents(stream: string, lastEvent: string): Promise<Seen[]>
  pullAndAck(stream: string, consumer: string): Promise<Settled[]>
  /** Publishes on a condition that does not hold. */
  publishOnto(subject: string, expectedSeq: number): Promise<Refusal>
}

/** A line of this type each. */
export const toLines = <Line>(lines: readonly Line[]): string =>
  lines.map((line) => `${JSON.stringify(line)}\n`).join('')

/** Makes a client of the bridge at `url`. */
export type CreateClient = (url: string) => GeneratedClient

/** Lines of a body, as they come. */
export async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}
