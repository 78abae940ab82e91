/** The proof that nothing but what was sealed opens: seeded mutations of golden tokens. */
import { describe, expect, test } from 'vitest'
import golden from './golden.json' with { type: 'json' }
import { GOLDEN_KEYS, KINDS } from './token-kinds.ts'
import { flipBit, MUTATION_KINDS, partsOf, randomFrom } from './token-mutations.ts'

const SEED = 20_261_120
const MUTATIONS = 20_000

describe(`mutations from seed ${SEED}`, () => {
  // Golden ones, so that the same seed makes the same mutations.
  const keyring = GOLDEN_KEYS
  const { cursors, acks, tickets } = golden
  const tokens = [cursors[1], cursors[7], acks[0], tickets[0]].map((sealed) => sealed?.token ?? '')
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
