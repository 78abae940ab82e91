/** Owns the proof that sealed tokens open for ever, and that nothing but what was sealed opens. */
import { describe, expect, test } from 'vitest'
import { BridgeError } from '../../src/errors.ts'
import type { NatsCredential } from '../../src/jetstream.ts'
import type { Position } from '../../src/reading.ts'
import { createAckTokens, type DeliveryClaim } from '../../src/tokens/ack.ts'
import { createCursors } from '../../src/tokens/cursor.ts'
import { type Keyring, readKeyring } from '../../src/tokens/seal.ts'
import { createTickets, type Ticket } from '../../src/tokens/ticket.ts'
import golden from './golden.json' with { type: 'json' }

const TENANT = 'golden-tenant'
const STREAM = 'ORDERS'
const GOLDEN_KEYS = readKeyring(golden.keys)

const POSITION: Position = { seq: 42, created: '2026-11-20T10:00:00.5Z', time: '2026-11-20T10:00:01Z' }
const CLAIM: DeliveryClaim = {
  stream: STREAM,
  consumer: 'billing',
  consumerCreated: '2026-11-20T10:00:00.5Z',
  deliveryCount: 1,
  replySubject: '$JS.ACK.ORDERS.billing.1.42.7.1795168800123456789.0',
  deadlineMs: 1_795_168_830_000,
}
const CREDENTIAL: NatsCredential = { kind: 'user', user: 'alice', password: 'alice-secret' }
const TICKET: Ticket = {
  credential: CREDENTIAL,
  stream: STREAM,
  subjects: ['orders.eu.>'],
  consumer: '',
  start: 'new',
  cursor: '',
  openUntilMs: 1,
  validUntilMs: 2,
}

/** A kind of token: what seals one, and what opens it; undefined: it does not open. */
interface Kind {
  readonly name: string
  seal(keyring: Keyring): string
  open(keyring: Keyring, token: string): unknown
}

/** A cursor that does not open throws; anything else than `cursor_invalid` would be a leak or a fault. */
function openCursor(keyring: Keyring, token: string): unknown {
  try {
    return createCursors(keyring, TENANT).scope(STREAM, []).open(token)
  } catch (failure) {
    if (failure instanceof BridgeError && failure.code === 'cursor_invalid') return undefined
    throw failure
  }
}

const KINDS: readonly Kind[] = [
  {
    name: 'a cursor',
    seal: (keyring) => createCursors(keyring, TENANT).scope(STREAM, []).seal(POSITION),
    open: openCursor,
  },
  {
    name: 'an ack token',
    seal: (keyring) => createAckTokens(keyring, TENANT).seal(CLAIM),
    open: (keyring, token) => createAckTokens(keyring, TENANT).open(token),
  },
  {
    name: 'a ticket',
    seal: (keyring) => createTickets(keyring).seal(TICKET) ?? '',
    open: (keyring, token) => createTickets(keyring).open(token),
  },
]

const key = (id: string, fill: number) => `${id}:${Buffer.alloc(32, fill).toString('base64url')}`

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

    expect([cursors.length, acks.length, tickets.length]).toEqual([7, 2, 3])
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
    expect(first).toMatch(/^[act]1\.k1\.[A-Za-z0-9_-]+$/)
  })

  test('opens as long as its key is there, whichever seals', () => {
    const token = seal(keyring)

    expect(open(readKeyring([two, one]), token)).toBeDefined()
    expect(seal(readKeyring([two, one]))).toMatch(/^[act]1\.k2\./)
    expect(open(readKeyring([two]), token)).toBeUndefined()
    expect(open(readKeyring([key('k1', 2)]), token)).toBeUndefined()
  })

  test('opens as no other kind, also under its name', () => {
    const token = seal(keyring)
    for (const other of KINDS.filter((kind) => kind.seal !== seal)) {
      const purpose = other.seal(keyring).split('.')[0] ?? ''

      expect(other.open(keyring, token)).toBeUndefined()
      expect(other.open(keyring, token.replace(/^[act]1/, purpose))).toBeUndefined()
      expect(open(keyring, token.replace(/^[act]1/, purpose))).toBeUndefined()
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

const SEED = 20_261_120
const MUTATIONS = 20_000
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** Mulberry32: the same numbers for the same seed. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

type Mutation = (token: string, random: (below: number) => number, others: readonly string[]) => string

const flipBit = (bytes: Buffer, bit: number) => {
  bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
  return bytes
}
const partsOf = (token: string): [purpose: string, keyId: string, sealed: string] => {
  const [purpose = '', keyId = '', sealed = ''] = token.split('.')
  return [purpose, keyId, sealed]
}
const pick = <Item>(items: readonly Item[], random: (below: number) => number, none: Item): Item =>
  items[random(items.length)] ?? none

const MUTATION_KINDS: Readonly<Record<string, Mutation>> = {
  'a bit of what is sealed is flipped': (token, random) => {
    const [purpose, keyId, sealed] = partsOf(token)
    const bytes = Buffer.from(sealed, 'base64url')
    return `${purpose}.${keyId}.${flipBit(bytes, random(8 * bytes.length)).toString('base64url')}`
  },
  'a bit of the text is flipped': (token, random) =>
    flipBit(Buffer.from(token, 'latin1'), random(8 * token.length)).toString('latin1'),
  'a character is another': (token, random) => {
    const at = random(token.length)
    return token.slice(0, at) + (ALPHABET[random(64)] ?? '') + token.slice(at + 1)
  },
  'a character is left out': (token, random) => {
    const at = random(token.length)
    return token.slice(0, at) + token.slice(at + 1)
  },
  'a character is put in': (token, random) => {
    const at = random(token.length + 1)
    return (
      token.slice(0, at) +
      pick([...ALPHABET, '.', '=', '+', '/', ' ', '\n', '\0', '%', 'é'], random, '.') +
      token.slice(at)
    )
  },
  'something is appended': (token, random) =>
    token +
    pick(
      ['=', '==', '.', '..', 'A', 'AA', 'AAA', 'AAAA', ' ', '\n', '\0', '.x', token, `.${token}`],
      random,
      '=',
    ),
  'something stands in front': (token, random) =>
    pick([' ', '.', 'x', '\uFEFF', 'c1.', '%20'], random, ' ') + token,
  'it is cut off': (token, random) => token.slice(0, random(token.length)),
  'another spelling of base64': (token, random) => {
    const [purpose, keyId, sealed] = partsOf(token)
    const standard = Buffer.from(sealed, 'base64url').toString('base64')
    const spelling = pick(
      [standard, `${sealed}=`, `${sealed} `, sealed.replace(/^./, '$& '), `${sealed}!`],
      random,
      '',
    )
    // Only where a character stands for some spare bits is there another spelling of the last one.
    const last = ALPHABET.indexOf(sealed.at(-1) ?? '')
    const spare = sealed.slice(0, -1) + (ALPHABET[last ^ (1 + random(3))] ?? '')
    return `${purpose}.${keyId}.${random(2) === 0 ? spelling : spare}`
  },
  'another purpose': (token, random) =>
    token.replace(/^[^.]*/, pick(['c1', 'a1', 't1', 'c2', 'C1', '', 'x'], random, 'x')),
  'another key': (token, random) => {
    const [purpose, , sealed] = partsOf(token)
    return `${purpose}.${pick(['g2', 'g3', 'G1', '', 'constructor', '__proto__', ' g1'], random, 'g2')}.${sealed}`
  },
  'parts are swapped': (token, random) => {
    const parts: string[] = partsOf(token)
    const [from, to] = [random(3), random(3)]
    const [one = '', other = ''] = [parts[from], parts[to]]
    parts[from] = other
    parts[to] = one
    return parts.join('.')
  },
  'the halves of two tokens are joined': (token, random, others) => {
    const other = pick(others, random, token)
    const at = random(Math.min(token.length, other.length))
    return token.slice(0, at) + other.slice(at)
  },
  "another token's nonce or tag": (token, random, others) => {
    const [purpose, keyId, sealed] = partsOf(token)
    const [bytes, foreign] = [sealed, partsOf(pick(others, random, token))[2]].map((text) =>
      Buffer.from(text, 'base64url'),
    )
    if (!bytes || !foreign) return ''
    if (random(2) === 0) foreign.copy(bytes, 0, 0, 12)
    else foreign.copy(bytes, bytes.length - 16, foreign.length - 16)
    return `${purpose}.${keyId}.${bytes.toString('base64url')}`
  },
}

describe(`mutations from seed ${SEED}`, () => {
  // Golden ones, so that the same seed makes the same mutations.
  const keyring = GOLDEN_KEYS
  const { cursors, acks, tickets } = golden
  const tokens = [cursors[1], acks[0], tickets[0]].map((sealed) => sealed?.token ?? '')
  const ours = KINDS.map((kind, index) => ({ kind, token: tokens[index] ?? '' }))
  const others = [...cursors, ...acks, ...tickets].map(({ token }) => token)

  test('begin with tokens that open', () => {
    for (const { kind, token } of ours) expect(kind.open(keyring, token)).toBeDefined()
  })

  test(`none of ${MUTATIONS} opens as anything`, () => {
    const random = randomFrom(SEED)
    const mutations = Object.entries(MUTATION_KINDS)
    const tried = new Map(mutations.map(([name]) => [name, 0]))
    const valid = new Set(others)

    let made = 0
    for (let turn = 0; made < MUTATIONS; turn += 1) {
      const { token } = ours[turn % ours.length] ?? { token: '' }
      const [name, mutate] = mutations[turn % mutations.length] ?? ['', () => '']
      const mutated = mutate(token, random, others)
      if (valid.has(mutated)) continue
      made += 1
      tried.set(name, (tried.get(name) ?? 0) + 1)
      for (const { kind } of ours) {
        if (kind.open(keyring, mutated) !== undefined)
          throw new Error(`${kind.name} opened: ${name}, ${mutated}`)
      }
    }
    expect(Math.min(...tried.values())).toBeGreaterThan(500)
  })

  test.each(ours)('$kind.name cut off at any place does not open', ({ kind, token }) => {
    for (let length = 0; length < token.length; length += 1) {
      expect([length, kind.open(keyring, token.slice(0, length))]).toEqual([length, undefined])
    }
  })

  test.each(ours)('$kind.name with any one bit flipped does not open', ({ kind, token }) => {
    const [purpose, keyId, sealed] = partsOf(token)
    for (let bit = 0; bit < 8 * Buffer.from(sealed, 'base64url').length; bit += 1) {
      const flipped = flipBit(Buffer.from(sealed, 'base64url'), bit).toString('base64url')
      expect([bit, kind.open(keyring, `${purpose}.${keyId}.${flipped}`)]).toEqual([bit, undefined])
    }
  })

  test.each([
    ['nothing', ''],
    ['a megabyte', 'x'.repeat(1_048_576)],
    ['a megabyte behind a good head', `c1.g1.${'A'.repeat(1_048_576)}`],
    ['dots', '.'.repeat(1_000)],
    ['a head alone', 'c1.g1.'],
    ['a nonce and a tag around nothing', `c1.g1.${Buffer.alloc(28).toString('base64url')}`],
  ])('%s does not open', (_, text) => {
    for (const { kind } of ours) expect(kind.open(keyring, text)).toBeUndefined()
  })
})
