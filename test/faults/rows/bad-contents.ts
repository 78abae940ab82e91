/** Bodies that hold what they must not, however well they are framed. */
import { isLinesType } from '../../../src/media-types.ts'
import { type BadKind, framed, NO_BODY, type Place, pick } from './bad-request.ts'

const DEPTH = 100_000

const isLines = ({ type }: Place) => isLinesType(type)
/** An end of line makes it a line. */
const content = (place: Place, body: string | Buffer) =>
  framed(place, isLines(place) ? Buffer.concat([Buffer.from(body as string), Buffer.from('\n')]) : body)

const CONTENTS: readonly (readonly [string, (place: Place) => string | Buffer])[] = [
  ['arrays nested 100,000 deep', () => `${'['.repeat(DEPTH)}${']'.repeat(DEPTH)}`],
  ['objects nested 100,000 deep', () => `${'{"a":'.repeat(DEPTH)}1${'}'.repeat(DEPTH)}`],
  ['arrays nested 100,000 deep, without an end', () => '['.repeat(DEPTH)],
  [
    'a field nested 100,000 deep',
    (place) =>
      `{"${pick(place, ['acks', 'messages', 'data', 'json', 'config', 'stream', 'filter_subjects', 'metadata'])}":` +
      `${'[{"a":'.repeat(DEPTH / 2)}1${'}]'.repeat(DEPTH / 2)}}`,
  ],
  ['UTF-16', () => Buffer.from(NO_BODY, 'utf16le')],
  [
    'bytes that are not UTF-8',
    (place) =>
      Buffer.concat([
        Buffer.from('{"'),
        pick(
          place,
          [[0xff], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80], [0x80]].map((b) =>
            Buffer.from(b),
          ),
        ),
        Buffer.from('":1}'),
      ]),
  ],
  ['50,000 fields', () => `{${Array.from({ length: 50_000 }, (_, at) => `"field${at}":${at}`).join(',')}}`],
  [
    'JSON that is none',
    (place) =>
      pick(place, [
        '{',
        'x',
        '{"a":1}}',
        "{'a':1}",
        '{"a":NaN}',
        '{"a":1,}',
        '[1',
        '"',
        '\ufeff{',
        '\0',
        '-',
        '1e9',
      ]),
  ],
  [
    'a field called __proto__',
    (place) => `{"${pick(place, ['__proto__', 'constructor', 'toString'])}":{"a":1}}`,
  ],
  ['a name of a MB', () => `{"${'n'.repeat(1_000_000)}":1}`],
]

export const CONTENT: readonly BadKind[] = CONTENTS.map(([name, body]) => ({
  name,
  of: 'json',
  make: (place) => content(place, body(place)),
}))
