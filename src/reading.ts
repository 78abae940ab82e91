/** The port of reads: positions, pages and tails, as the HTTP side asks for them. Types only. */
import type { Hold } from './holds.ts'
import type { OutgoingMessage, PubAck, StoredMessage } from './jetstream.ts'

/**
 * Where a reader stands: right after `seq`. The rest tells whether this is still the stream it was:
 * sequences are reused after a stream was made again or has lost its tail.
 */
export interface Position {
  readonly seq: number
  /** The stream's creation time; absent where the credential may not ask for it. */
  readonly created?: string
  /** Until when the stream is known to have been that one: of a publish, about when it was confirmed. */
  readonly createdAsOf?: string
  /** How much later than that, ms: in a position that is to be sealed. */
  readonly laterMs?: number
  /** Time of the message at `seq`, where it is known. */
  readonly time?: string
  /** Stands for that time in a cursor of a run: `markOf` it. */
  readonly mark?: number
  /** Stands for the message at `seq` where its time is not known, right after a publish: `contentMark` of it. */
  readonly content?: number
  /** The same in older cursors, where it stands for the subject as it was published to: `checksumOf` it. */
  readonly checksum?: number
  /** The same in cursors of version 1. */
  readonly digest?: string
  /** While the last message of each subject is being read: the sequence where that snapshot ends. */
  readonly snapshotSeq?: number
}

/** Where to begin without a cursor. */
export type Start =
  | { readonly at: 'beginning' | 'new' | 'last' | 'last_per_subject' }
  | { readonly at: 'seq'; readonly seq: number }
  | { readonly at: 'time'; readonly time: string }
  | { readonly at: 'tail'; readonly count: number }

export type ReadOrigin = { readonly position: Position } | { readonly start: Start }

/** Messages that were removed before the reader came to them; both ends included. */
export interface Gap {
  readonly fromSeq: number
  readonly toSeq: number
}

/** Cursors of messages that are handed out together, one after another or over time: much cheaper than one by one. */
export interface CursorRun {
  /** The cursor right after each of these messages, in their order. */
  seal(messages: readonly { readonly seq: number; readonly time: string }[]): string[]
}

/** Cursors of one stream under one filter. */
export interface CursorScope {
  seal(position: Position): string
  /** Cursors of messages after `base`, which differ from it in sequence and time alone. */
  run(base: Position): CursorRun
  /**
   * Throws `cursor_invalid` for what the bridge did not seal for this tenant, and `cursor_mismatch` for a cursor of
   * another stream or filter. One made without a filter goes with any.
   */
  open(token: string): Position
  /** As `open`, but takes only a cursor of this very filter. */
  openOwn(token: string): Position
}

/** What to read. `filters`: subject filters; empty: every message. `scope`: seals its cursors. */
export interface ReadRequest {
  readonly stream: string
  readonly filters: readonly string[]
  readonly scope: CursorScope
  readonly from: ReadOrigin
  /** Where messages after the position are gone: fail with `cursor_expired`, or report the gap and go on behind it. */
  readonly onGap: 'error' | 'skip'
  /** Asked for where the read is a search: aborted when the client leaves, as far as its host can tell. */
  readonly left?: () => AbortSignal
}

/** What counts the bytes of messages that are read. */
export interface ReadRoom {
  readonly hold: Hold
  /** How long to wait for room before anything is read, ms: then it is refused. */
  readonly withinMs: number
}

export interface PageRequest extends ReadRequest {
  readonly limit: number
  readonly maxBytes: number
  /** Where there is nothing, wait for a message so long, ms, or until the client leaves. */
  readonly wait?: { readonly forMs: number; readonly signal: AbortSignal }
  /** There should be something: the first batch is asked for together with what the position is checked against. */
  readonly eager?: boolean
  /** What the page is counted by while it is read, as an answer; absent: nobody counts it. */
  readonly room?: ReadRoom
  /** The page may end where a batch of JetStream's does, short of its bounds: for reads that go on at once. */
  readonly oneBatch?: boolean
}

/** `position` is right after the page, also past what the filter left out. */
export interface Page {
  readonly messages: readonly StoredMessage[]
  readonly position: Position
  /** Nothing more was there when the leader was asked. */
  readonly upToDate: boolean
  /** What its request's room counts for it, bytes. */
  readonly heldBytes?: number
  readonly gap?: Gap
  /** Where the messages are of a snapshot of last messages: the sequence where it ends. */
  readonly snapshotSeq?: number
}

/** Reads a stream by position: pages of history, and history joined to live. */
export interface StreamReader {
  /**
   * The next page. Throws `stream_not_found`, `cursor_expired`, and `stream_recreated` for a position of another
   * incarnation or past the stream's end.
   */
  page(request: PageRequest): Promise<Page>
  /** The position right after a message of ours that was just stored. */
  positionAfter(message: OutgoingMessage, ack: PubAck): Promise<Position>
  /** How long the stream remembers a key, ms; undefined where the credential may not ask. */
  duplicateWindowOf(stream: string): Promise<number | undefined>
  /** Server-sent events of the stream, encoded: history, then live, until it is cancelled. Throws as `page`. */
  tail(request: TailRequest): Promise<ReadableStream<Uint8Array>>
}

export interface TailRequest extends ReadRequest {
  readonly form: MessageForm
  readonly requestId: string
  /** Called once when the body is over: ended, failed or cancelled. Not where there is none, since `tail` threw. */
  readonly onEnd: () => void
}

/** How a payload is written in JSON: text where it is text, always base64, or parsed beside the text. */
export type PayloadForm = 'text' | 'base64' | 'json'

/** How a message is written: by its stream's own words and a form of its payload, or as a CloudEvent. */
export type MessageForm = PayloadForm | 'cloudevents'
