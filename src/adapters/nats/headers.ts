/** Message headers: plain records to nats.ws, and header blocks of received messages to plain records. */
import type { Msg, MsgHdrs } from 'nats.ws'
import { refuse } from '../../errors.ts'
import type { MessageHeaders } from '../../jetstream.ts'

const TEXT = new TextDecoder('utf-8', { ignoreBOM: true })
const VERSION = 'NATS/1.0'

/** A header block. `status` is 0 where the block has none. */
export interface HeaderBlock {
  readonly status: number
  readonly description: string
  readonly values: ReadonlyMap<string, readonly string[]>
  /** The block as it came, with its version and the empty line that ends it. */
  readonly bytes: Buffer
}

const NO_HEADERS: HeaderBlock = { status: 0, description: '', values: new Map(), bytes: Buffer.alloc(0) }

// A colon ends a name, and white space is no part of one.
const NOT_IN_A_NAME = /[^!-9;-~]/
const NOT_IN_A_VALUE = /[\r\n]/
const UTF8 = new TextEncoder()

/**
 * Headers in the form nats.ws sends; undefined where there are none. Throws `invalid_request` naming the header.
 * Written in one pass: what nats.ws has for this looks through all names for each one. A line break in a value would smuggle
 * further headers. How many there may be is checked where a message is made.
 */
export function encodeHeaders(record: MessageHeaders): MsgHdrs | undefined {
  const lines: string[] = []
  for (const name of Object.keys(record)) {
    if (name === '') throw refuse('headers', 'a name is empty')
    if (NOT_IN_A_NAME.test(name)) throw cannotCarry(name)
    for (const value of record[name] ?? []) {
      if (NOT_IN_A_VALUE.test(value)) throw cannotCarry(name)
      lines.push(`${name}: ${value.trim()}`)
    }
  }
  return lines.length === 0 ? undefined : toBlock(`${VERSION}\r\n${lines.join('\r\n')}\r\n\r\n`)
}

/** What headers take of a message on the wire, bytes. */
export const encodedBytes = (encoded: MsgHdrs | undefined): number =>
  encoded ? (encoded as EncodableHeaders).encode().length : 0

/** What nats.ws sends, which its types do not show. */
type EncodableHeaders = MsgHdrs & { encode(): Uint8Array }

const cannotCarry = (name: string) =>
  refuse(`headers.${name}`, 'has a character that NATS headers cannot carry')

/** Of headers that are to be sent, nats.ws asks no more than their bytes. */
function toBlock(text: string): MsgHdrs {
  const bytes = UTF8.encode(text)
  return { encode: () => bytes } as unknown as MsgHdrs
}

/**
 * Takes a raw header block apart.
 * Not by `MsgHdrsImpl.decode`: that throws at names which other clients may send, and one such message would make
 * everything around it unreadable.
 */
export function parseHeaderBlock(block: Uint8Array): HeaderBlock {
  const text = TEXT.decode(block)
  const firstEnd = endOfLine(text, 0)
  const first = text.slice(0, firstEnd)
  const [, status = '0', description = ''] =
    first === VERSION ? [] : (/^NATS\/1\.0\s+(\d{3})\s*(.*)$/.exec(first) ?? [])
  return {
    status: Number(status),
    description,
    values: parseLines(text, firstEnd),
    bytes: Buffer.from(block.buffer, block.byteOffset, block.length),
  }
}

const LINE_END = '\r\n'

function endOfLine(text: string, from: number): number {
  const end = text.indexOf(LINE_END, from)
  return end === -1 ? text.length : end
}

/** The headers of the lines behind the one that ends at `from`. */
function parseLines(text: string, from: number): Map<string, string[]> {
  const values = new Map<string, string[]>()
  for (let end = from; end < text.length; ) {
    const start = end + LINE_END.length
    end = endOfLine(text, start)
    const line = text.slice(start, end)
    const colon = line.indexOf(':')
    if (colon < 1) continue
    const name = line.slice(0, colon)
    const value = line.slice(colon + 1).trim()
    const known = values.get(name)
    if (known) known.push(value)
    else values.set(name, [value])
  }
  return values
}

const CARRIAGE_RETURN = 13

/** A block that is taken apart when it is asked for more than what its first line shows. */
class UnreadBlock implements HeaderBlock {
  readonly bytes: Buffer
  private parsed: HeaderBlock | undefined

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  private parse(): HeaderBlock {
    this.parsed ??= parseHeaderBlock(this.bytes)
    return this.parsed
  }

  get status(): number {
    return this.bytes[VERSION.length] === CARRIAGE_RETURN ? 0 : this.parse().status
  }

  get description(): string {
    return this.parse().description
  }

  get values(): HeaderBlock['values'] {
    return this.parse().values
  }
}

/** What nats.ws knows of a message and its types do not say. */
type ReceivedMsg = Msg & {
  size(): number
  /** `hdr`: bytes of the header block; -1: there is none. */
  readonly _msg: { readonly hdr: number }
  /** The header block and the payload behind it. */
  readonly _rdata: Uint8Array
}

/**
 * The headers of a received message. nats.ws keeps the raw block to itself, and makes a new view of the payload each time that
 * it is asked for one.
 */
export function headersOf(message: Msg): HeaderBlock {
  const { _msg, _rdata } = message as ReceivedMsg
  const { hdr } = _msg
  if (hdr < VERSION.length) return NO_HEADERS
  return new UnreadBlock(Buffer.from(_rdata.buffer, _rdata.byteOffset, hdr))
}

const NO_RESPONDERS = 503

/** Whether the server says that nobody listens. A message of others may begin with its status, too, and says more. */
export function isNoResponders(message: Msg, block: HeaderBlock = headersOf(message)): boolean {
  // First what costs nothing: nats.ws makes a new view of the data each time that it is asked for.
  if (block.status !== NO_RESPONDERS || message.data.length > 0 || message.reply) return false
  // The subject that was asked: nats-server 2.12.
  return [...block.values.keys()].every((name) => name === 'Nats-Subject')
}

/** Bytes of subject, reply subject, headers and payload: nats.ws counts them, its types do not say so. */
export const sizeOf = (message: Msg): number => (message as ReceivedMsg).size()

export const toRecord = (values: ReadonlyMap<string, readonly string[]>): MessageHeaders =>
  Object.fromEntries(values)

/** The last value of a header: the server appends its own behind what a publisher may have set. */
export const lastOf = (block: HeaderBlock, name: string): string | undefined => block.values.get(name)?.at(-1)

/** What a publisher set, without the last value of each header that the server appended. */
export function withoutLast(block: HeaderBlock, names: readonly string[]): MessageHeaders {
  const values = new Map(block.values)
  for (const name of names) {
    const rest = values.get(name)?.slice(0, -1) ?? []
    if (rest.length === 0) values.delete(name)
    else values.set(name, rest)
  }
  return toRecord(values)
}
