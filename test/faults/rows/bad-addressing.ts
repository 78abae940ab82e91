/** Heads that are too large, or say what no head may. */
import { type BadKind, KIB, MIB, NO_BODY, type Parts, type Place, pick, request } from './bad-request.ts'

const HEADERS = 4_096

/** Whole in all but one thing, and refused for another where that passes. */
const whole4xx = (place: Place, parts: Pick<Parts, 'lines' | 'target'>) =>
  request(place, {
    target: `${place.path}?no_such_parameter=1`,
    ...parts,
    lines: [...(parts.lines ?? []), ...(place.type === '' ? [] : [`Content-Length: ${NO_BODY.length}`])],
    body: place.type === '' ? '' : NO_BODY,
    ends: true,
  })

export const ADDRESSING: readonly BadKind[] = [
  {
    name: '4,096 headers',
    of: 'any',
    make: (place) =>
      whole4xx(place, { lines: Array.from({ length: HEADERS }, (_, at) => `X-Filler-${at}: ${at}`) }),
  },
  {
    name: 'a header of up to a MiB',
    of: 'any',
    make(place) {
      const name = pick(place, [
        'X-Filler',
        'Authorization',
        'Last-Event-ID',
        'Idempotency-Key',
        'Accept',
        'If-None-Match',
      ])
      return whole4xx(place, { lines: [`${name}: ${'v'.repeat(pick(place, [9 * KIB, 100 * KIB, MIB]))}`] })
    },
  },
  {
    name: 'a path of up to a MiB',
    of: 'any',
    make: (place) => {
      const filler = pick(place, ['a', '/', '%2e', '..%2f', '%25'])
      return whole4xx(place, {
        target: `${place.path}/${filler.repeat(pick(place, [5_000, 100_000, 300_000]))}`,
      })
    },
  },
  {
    name: 'a query of up to 10,000 parameters',
    of: 'any',
    make: (place) => {
      const name = pick(place, [...place.operation.queryNames, 'subject', 'no_such_parameter'])
      const count = pick(place, [300, 1_000, 10_000])
      return whole4xx(place, {
        target: `${place.path}?no_such_parameter=1&${Array.from({ length: count }, (_, at) => `${name}=${at}`).join('&')}`,
      })
    },
  },
  {
    name: 'escapes that are none',
    of: 'any',
    make: (place) => {
      const bad = pick(place, [
        '%',
        '%zz',
        '%ff',
        '%c0%af',
        '%ed%a0%80',
        '%00',
        '%',
        '%u0041',
        '%f8%88%80%80%80',
      ])
      return whole4xx(place, {
        target: pick(place, [
          `${place.path}?no_such_parameter=${bad}`,
          `${place.path}?${bad}=1`,
          `${place.path}/no-such-path${bad}`,
          `/v1/streams/${bad}?no_such_parameter=1`,
        ]),
      })
    },
  },
  {
    name: 'bytes that no head may hold',
    of: 'any',
    make: (place) =>
      whole4xx(place, {
        lines: [
          pick(place, [
            'X: a\0b',
            'X y: 1',
            'X\0: 1',
            ': nothing',
            'X: a\rb',
            'no colon',
            '\x7f: 1',
            'X: \x01',
          ]),
        ],
      }),
  },
]
