/** Bodies that are framed or compressed as they must not be. */
import { gzipSync } from 'node:zlib'
import { type BadKind, framed, KIB, MIB, NO_BODY, pick, request } from './bad-request.ts'

const LARGE_BYTES = 20 * MIB
const PIECE = Buffer.alloc(64 * KIB, 'x')

const bomb = gzipSync(Buffer.alloc(64 * MIB))
const whole = gzipSync(NO_BODY)

const CHUNKED = 'Transfer-Encoding: chunked'
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
const LAST_CHUNK = '0\r\n\r\n'

function* largeChunks(random: () => number): Generator<Buffer> {
  for (let left = LARGE_BYTES; left > 0; ) {
    const size = Math.min(left, 1 + Math.floor(random() * PIECE.length))
    yield Buffer.from(`${size.toString(16)}\r\n`)
    yield PIECE.subarray(0, size)
    yield Buffer.from('\r\n')
    left -= size
  }
  yield Buffer.from(LAST_CHUNK)
}

const SMUGGLED =
  'POST /v1/subjects/bad.smuggled/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx'

/** Both lengths, said in ways on which two servers in a row may not agree. */
const SMUGGLING: readonly ((length: number) => readonly string[])[] = [
  (length) => [`Content-Length: ${length}`, CHUNKED],
  (length) => [CHUNKED, `Content-Length: ${length}`],
  (length) => [`Content-Length: ${length}`, 'Transfer-Encoding : chunked'],
  (length) => [`Content-Length: ${length}`, 'Transfer-Encoding: xchunked'],
  (length) => [`Content-Length: ${length}`, 'Transfer-Encoding: chunked, identity'],
  (length) => [`Content-Length: ${length}`, 'Transfer-Encoding:\x0bchunked'],
  (length) => [`Content-Length: ${length}`, CHUNKED, CHUNKED],
  (length) => [`Content-Length: ${length}`, ' Transfer-Encoding: chunked'],
  (length) => [`Content-Length: ${length}`, 'X: y\nTransfer-Encoding: chunked'],
  (length) => [`Content-Length: ${length}`, 'Content-Length: 5'],
]

export const FRAMING: readonly BadKind[] = [
  {
    name: 'a body shorter than said',
    of: 'body',
    make: (place) =>
      request(place, {
        lines: [`Content-Length: ${NO_BODY.length + 1 + Math.floor(place.random() * MIB)}`],
        body: NO_BODY,
        ends: true,
      }),
  },
  {
    name: 'a body longer than said',
    of: 'body',
    make: (place) =>
      request(place, {
        lines: [`Content-Length: ${1 + Math.floor(place.random() * 10)}`],
        body: NO_BODY.repeat(9),
      }),
  },
  {
    name: 'a chunk whose size is none',
    of: 'body',
    make: (place) => {
      const size = pick(place, ['zz', '-1', '0x5', '5 5', 'f'.repeat(20), '1e1', '+5', 'g'])
      return request(place, { lines: [CHUNKED], body: `${size}\r\n${NO_BODY}\r\n${LAST_CHUNK}`, ends: true })
    },
  },
  {
    name: 'a chunk shorter than said',
    of: 'body',
    make: (place) =>
      request(place, { lines: [CHUNKED], body: `fff\r\n${NO_BODY}\r\n${LAST_CHUNK}`, ends: true }),
  },
  {
    name: 'a chunk longer than said',
    of: 'body',
    make: (place) =>
      request(place, { lines: [CHUNKED], body: `2\r\n${NO_BODY}\r\n${LAST_CHUNK}`, ends: true }),
  },
  {
    name: 'chunks without an end',
    of: 'body',
    make: (place) =>
      request(place, {
        lines: [CHUNKED],
        body: chunk(NO_BODY.slice(0, 5)).repeat(1 + Math.floor(place.random() * 50)),
        ends: true,
      }),
  },
  {
    name: 'a length that is none',
    of: 'body',
    make: (place) => {
      const length = pick(place, ['-1', '+5', '1e3', '0x10', '5, 6', '9'.repeat(25), 'five', '5 5', '-'])
      return request(place, { lines: [`Content-Length: ${length}`], body: NO_BODY, ends: true })
    },
  },
  {
    name: 'two lengths',
    of: 'body',
    make: (place) =>
      request(place, {
        lines: [`Content-Length: ${NO_BODY.length}`, 'Content-Length: 3'],
        body: NO_BODY,
        ends: true,
      }),
  },
  {
    name: 'a terabyte said, and an end',
    of: 'body',
    make: (place) =>
      request(place, { lines: [`Content-Length: ${2 ** 40}`], body: PIECE.toString(), ends: true }),
  },
  {
    name: '20 MiB in chunks of any size',
    of: 'body',
    make: (place) => request(place, { lines: [CHUNKED], body: largeChunks(place.random) }),
  },
  {
    name: 'two lengths on which servers may not agree, around a request of its own',
    of: 'body',
    make(place) {
      const body = `${chunk(NO_BODY)}${LAST_CHUNK}${SMUGGLED}`
      const lines = pick(place, SMUGGLING)(pick(place, [body.length, 4, NO_BODY.length]))
      return request(place, { lines, body, ends: true })
    },
  },
]

export const COMPRESSION: readonly BadKind[] = [
  {
    name: 'a gzip bomb of 64 MiB',
    of: 'body',
    make: (place) => framed(place, bomb, ['Content-Encoding: gzip']),
  },
  {
    name: 'gzip that is cut off, damaged, or more than whole',
    of: 'body',
    make(place) {
      const cut = whole.subarray(0, Math.floor(place.random() * whole.length))
      const damaged = Buffer.from(whole)
      const at = 10 + Math.floor(place.random() * (whole.length - 10))
      damaged.writeUInt8(damaged.readUInt8(at) ^ 0xff, at)
      const bad = pick(place, [
        cut,
        damaged,
        Buffer.concat([whole, PIECE.subarray(0, 9)]),
        Buffer.from(NO_BODY),
      ])
      return framed(place, bad, [`Content-Encoding: ${pick(place, ['gzip', 'x-gzip', 'GZIP'])}`])
    },
  },
  {
    name: 'an encoding that is not known',
    of: 'body',
    make: (place) =>
      framed(place, whole, [
        `Content-Encoding: ${pick(place, ['br', 'deflate', 'zstd', 'gzip, gzip', 'gzip;q=1', 'identity, gzip', '*', 'x'])}`,
      ]),
  },
]
