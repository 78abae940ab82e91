/** The proof that sealed tokens open for ever, for whom and for what they were sealed. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Position } from '../../src/reading.ts'
import { markOf } from '../../src/schemas/time.ts'
import { createAckTokens } from '../../src/tokens/ack.ts'
import { createCursors, STEP_MS } from '../../src/tokens/cursor.ts'
import { readKeyring } from '../../src/tokens/seal.ts'
import { createTickets } from '../../src/tokens/ticket.ts'
import golden from './golden.json' with { type: 'json' }
import { CLAIM, GOLDEN_KEYS, KINDS, key, POSITION, STREAM, TENANT, TICKET } from './token-kinds.ts'

describe('golden tokens', () => {
  test.each(golden.cursors)('a cursor of $stream with filters $filters opens as $position', (one) => {
    const scope = createCursors(GOLDEN_KEYS, golden.tenant).scope(one.stream, one.filters)

    expect(scope.open(one.token)).toEqual(one.position)
    expect(scope.openOwn(one.token)).toEqual(one.position)
  })

  test.each(golden.acks)('an ack token of $claim.stream opens', ({ claim, token }) => {
    const deadlineMs = claim.deadlineMs ?? Number.POSITIVE_INFINITY

    expect(createAckTokens(GOLDEN_KEYS, golden.tenant).open(token)).toEqual({ ...claim, deadlineMs })
  })

  test.each(golden.tickets)('a ticket of a $content.credential.kind opens', ({ content, token }) => {
    expect(createTickets(GOLDEN_KEYS).open(token)).toEqual(content)
  })

  test('stay as many as they were', () => {
    const { cursors, acks, tickets } = golden

    expect([cursors.length, acks.length, tickets.length]).toEqual([12, 6, 4])
  })
})

describe.each(KINDS)('$name', ({ seal, open }) => {
  const [one, two] = [key('k1', 1), key('k2', 2)]
  const keyring = readKeyring([one])

  test('opens as what was sealed, and is never sealed alike twice', () => {
    const [first, second] = [seal(keyring), seal(keyring)]

    expect(open(keyring, first)).toBeDefined()
    expect(open(keyring, first)).toEqual(open(keyring, second))
    expect(first).not.toBe(second)
    expect(first).toMatch(/^[act][123]\.k1\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]{22})?$/)
  })

  test('opens as long as its key is there, whichever seals', () => {
    const token = seal(keyring)

    expect(open(readKeyring([two, one]), token)).toBeDefined()
    expect(seal(readKeyring([two, one]))).toMatch(/^[act][123]\.k2\./)
    expect(open(readKeyring([two]), token)).toBeUndefined()
    expect(open(readKeyring([key('k1', 2)]), token)).toBeUndefined()
  })

  test('opens as no other kind, also under its name', () => {
    const token = seal(keyring)
    for (const other of KINDS.filter((kind) => kind.seal !== seal)) {
      const renamed = token.replace(/^[act][123]/, other.seal(keyring).split('.')[0] ?? '')

      if (other.open !== open) expect(other.open(keyring, token)).toBeUndefined()
      expect(other.open(keyring, renamed)).toBeUndefined()
      expect(open(keyring, renamed)).toBeUndefined()
    }
  })
})

test('the tokens of one tenant open for no other', () => {
  const keyring = readKeyring([key('k1', 1)])
  const cursor = createCursors(keyring, TENANT).scope(STREAM, []).seal(POSITION)
  const ack = createAckTokens(keyring, TENANT).seal(CLAIM)

  for (const tenant of ['', 'own', 'golden', 'golden-tenant2', 'c1.k1.golden-tenant']) {
    expect(() => createCursors(keyring, tenant).scope(STREAM, []).open(cursor)).toThrow(
      expect.objectContaining({ code: 'cursor_invalid' }),
    )
    expect(createAckTokens(keyring, tenant).open(ack)).toBeUndefined()
  }
})

describe('a run', () => {
  const scope = createCursors(readKeyring([key('k1', 1)]), TENANT).scope(STREAM, ['a.>'])
  const base: Position = {
    seq: 41,
    created: POSITION.created ?? '',
    time: '2026-11-20T10:00:00Z',
    snapshotSeq: 90,
  }
  const messages = Array.from({ length: 1_000 }, (_, index) => ({
    seq: 41 + index * index,
    time: `2026-11-20T10:00:00.${index}Z`,
  }))

  test('has a cursor for each message, which opens at it', () => {
    const opened = scope.run(base).seal(messages).map(scope.open)

    const { time: _, ...head } = base
    expect(opened).toEqual(messages.map(({ seq, time }) => ({ ...head, seq, mark: markOf(time) })))
  })

  test('goes on where a message is billions behind the last, and before its head', () => {
    const seqs = [42, 42 + 2 ** 33, 7, 2 ** 52]
    const tokens = scope.run(base).seal(seqs.map((seq) => ({ seq, time: base.time ?? '' })))

    expect(tokens.map((token) => scope.open(token).seq)).toEqual(seqs)
  })

  test('has blocks that are good behind no other head, and heads that are nothing alone', () => {
    const [one = '', other = ''] = [scope.run(base), scope.run(base)].map((run) => run.seal(messages)[1])
    const headOf = (token: string) => token.slice(0, token.lastIndexOf('.'))
    const blockOf = (token: string) => token.slice(token.lastIndexOf('.') + 1)

    for (const spliced of [
      `${headOf(one)}.${blockOf(other)}`,
      headOf(one),
      `${scope.seal(base)}.${blockOf(one)}`,
    ])
      expect(() => scope.open(spliced)).toThrow(expect.objectContaining({ code: 'cursor_invalid' }))
  })

  test('has blocks of which no bit may be another', () => {
    const [token = ''] = scope.run(base).seal(messages)
    const at = token.lastIndexOf('.') + 1
    for (let bit = 0; bit < 128; bit += 1) {
      const block = Buffer.from(token.slice(at), 'base64url')
      block.writeUInt8(block.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      expect(() => scope.open(token.slice(0, at) + block.toString('base64url'))).toThrow(
        expect.objectContaining({ code: 'cursor_invalid' }),
      )
    }
  })
})

describe('the cursor of a publish', () => {
  const asOf = Date.parse('2026-11-27T10:00:00.005Z')
  const created = POSITION.created ?? ''
  const scopeOf = () => createCursors(readKeyring([key('k1', 1)]), TENANT).scope(STREAM, [])
  /** How much later than `createdAsOf` a cursor says that it was made, of one that was made `laterMs` later. */
  const told = (laterMs: number) => Math.floor(laterMs / STEP_MS) * STEP_MS

  test('tells its message, and when it was confirmed, wherever those before it were', () => {
    const published = fc.record({
      seq: fc.oneof(fc.nat(2_000_000), fc.integer({ min: 2 ** 53 - 2_000_000, max: 2 ** 53 - 2 })),
      laterMs: fc.nat(20_479),
      content: fc.nat(0xffff_ffff),
    })
    fc.assert(
      fc.property(fc.array(published, { minLength: 1, maxLength: 20 }), (publishes) => {
        const scope = scopeOf()
        const createdAsOf = new Date(asOf).toISOString()
        for (const { seq, laterMs, content } of publishes) {
          const opened = scope.open(scope.seal({ seq, created, createdAsOf, laterMs, content }))
          const { createdAsOf: when = '', ...rest } = opened
          expect(rest).toEqual({ seq, created, content })
          expect(Date.parse(when)).toBe(asOf + told(laterMs))
        }
      }),
    )
  })

  test.each([-1, -3_600_000, 20_480, 3_600_000])(
    'tells the earlier time where a clock was set, by %i ms',
    (laterMs) => {
      const createdAsOf = new Date(asOf).toISOString()
      const scope = scopeOf()
      const opened = scope.open(scope.seal({ seq: 7, created, createdAsOf, laterMs, content: 1 }))
      expect(Date.parse(opened.createdAsOf ?? '')).toBe(asOf)
    },
  )

  test('tells when it was confirmed of a counter, too, whose content is not known', () => {
    const createdAsOf = new Date(asOf).toISOString()
    const scope = scopeOf()
    const opened = scope.open(scope.seal({ seq: 7, created, createdAsOf, laterMs: 337 }))
    expect(Date.parse(opened.createdAsOf ?? '')).toBe(asOf + told(337))
  })
})

test.each([
  ['1970-01-01T00:00:00Z', 0],
  ['1970-01-01T00:00:04.294967296Z', 0],
  ['1970-01-01T00:00:04.3Z', 5_032_704],
  ['2262-04-11T23:47:16.854775807Z', 0xffff_ffff],
  ['2026-11-20T10:00:01.5Z', Number(1_795_168_801_500_000_000n & 0xffff_ffffn)],
  ['2026-11-20T12:00:01.5+02:00', Number(1_795_168_801_500_000_000n & 0xffff_ffffn)],
])('the mark of %s is the low half of its nanoseconds', (time, mark) => {
  expect(markOf(time)).toBe(mark)
})

test('no ticket is sealed that would be too long to open', () => {
  const tickets = createTickets(readKeyring([key('k1', 1)]))
  const filter = (length: number) => 'x'.repeat(length)

  for (const subjects of [[filter(3_000)], Array(20).fill(filter(250))]) {
    const token = tickets.seal({ ...TICKET, subjects }) ?? ''
    expect(tickets.open(token)).toEqual({ ...TICKET, subjects })
  }
  for (const subjects of [[filter(10_000)], [filter(100_000)], Array(32).fill(filter(3_800))]) {
    expect(tickets.seal({ ...TICKET, subjects })).toBeUndefined()
  }
})

test('cursor_mismatch with another stream or filter, but a cursor without a filter goes with any', () => {
  const cursors = createCursors(readKeyring([key('k1', 1)]), TENANT)
  const mismatch = expect.objectContaining({ code: 'cursor_mismatch' })
  const plain = cursors.scope(STREAM, []).seal(POSITION)
  const filtered = cursors.scope(STREAM, ['a', 'b']).seal(POSITION)

  expect(cursors.scope(STREAM, ['a']).open(plain)).toEqual(POSITION)
  expect(cursors.scope(STREAM, ['b', 'a', 'b']).open(filtered)).toEqual(POSITION)
  expect(() => cursors.scope('OTHER', []).open(plain)).toThrow(mismatch)
  expect(() => cursors.scope(STREAM, ['a']).openOwn(plain)).toThrow(mismatch)
  for (const filters of [[], ['a'], ['a.b'], ['ab'], ['a', 'b', 'c']]) {
    expect(() => cursors.scope(STREAM, filters).open(filtered)).toThrow(mismatch)
  }
})

test('a ticket is as long whatever credential it holds', () => {
  const tickets = createTickets(readKeyring([key('k1', 1)]))
  const user = (name: string, password: string) => ({ kind: 'user', user: name, password }) as const
  const lengths = [
    { kind: 'own' } as const,
    { kind: 'token', token: 't' } as const,
    { kind: 'token', token: 'x'.repeat(700) } as const,
    user('a', 'b'),
    user('alice', 'a long passphrase, "quoted", as some people have them'),
    user('ålice', 'pæssword'),
    user('u'.repeat(64), 'p'.repeat(500)),
  ].map((credential) => {
    const token = tickets.seal({ ...TICKET, credential }) ?? ''
    expect(tickets.open(token)).toEqual({ ...TICKET, credential })
    return token.length
  })

  expect(new Set(lengths).size).toBe(1)
  // Of what is longer no more is told than how many KiB it has.
  const long = [1_100, 1_500, 1_900].map(
    (length) => tickets.seal({ ...TICKET, credential: { kind: 'token', token: 'x'.repeat(length) } })?.length,
  )
  expect(new Set(long).size).toBe(1)
})
