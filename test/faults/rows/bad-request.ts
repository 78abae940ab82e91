/** What a bad request is: where it goes, which operations it is for, and the bytes that it is. */
import { isLinesType } from '../../../src/media-types.ts'
import type { BareRequest } from './bare-http.ts'
import type { Operation } from './operations.ts'

/** Where a bad request goes, and what draws what is random of it. */
export interface Place {
  readonly operation: Operation
  readonly path: string
  /** The type of its body; empty where it takes none. */
  readonly type: string
  readonly random: () => number
}

/** One way to be wrong. `of`: any operation, one with a body, or one whose body is JSON. */
export interface BadKind {
  readonly name: string
  readonly of: 'any' | 'body' | 'json'
  make(place: Place): Omit<BareRequest, 'withinMs'>
}

/** JSON, or lines of it. */
export const isJson = (type: string): boolean => /[/+]json$/.test(type) || isLinesType(type)

export const KIB = 1_024
export const MIB = 1_024 * KIB
/** What no operation takes: where framing alone is wrong and the server lets it pass, this is refused. */
export const NO_BODY = '{"no_such_field":"x"}'
/** Lets no publish of one message through, to which any body is a payload. */
const GUARD = 'If-Match: "4711"'

export const pick = <Item>({ random }: Place, items: readonly Item[]): Item => {
  const item = items[Math.floor(random() * items.length)]
  if (item === undefined) throw new Error('There is nothing to pick from')
  return item
}

export interface Parts {
  readonly lines?: readonly string[]
  readonly body?: string | Buffer | Iterable<Buffer>
  readonly target?: string
  readonly ends?: boolean
}

export function request(place: Place, parts: Parts): Omit<BareRequest, 'withinMs'> {
  const { operation, type } = place
  const { lines = [], body = '', ends = false, target = place.path } = parts
  const own = [
    'Host: localhost',
    ...(type === '' ? [] : [`Content-Type: ${type}`]),
    ...(operation.id === 'publishMessage' ? [GUARD] : []),
  ]
  const head = `${operation.method} ${target} HTTP/1.1\r\n${[...own, ...lines].map((line) => `${line}\r\n`).join('')}\r\n`
  const bytes = typeof body === 'string' || Buffer.isBuffer(body) ? [Buffer.from(body as string)] : body
  return { ends, pieces: concat(Buffer.from(head, 'latin1'), bytes) }
}

function* concat(head: Buffer, body: Iterable<Buffer>): Generator<Buffer> {
  yield head
  yield* body
}

/** Framed as it should be. */
export const framed = (place: Place, body: string | Buffer, lines: readonly string[] = []) =>
  request(place, { lines: [...lines, `Content-Length: ${Buffer.byteLength(body)}`], body })
