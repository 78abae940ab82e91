/** The ways in which a token is made another one, seeded. */

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** Mulberry32: the same numbers for the same seed. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

export type Mutation = (token: string, random: (below: number) => number, others: readonly string[]) => string

export const flipBit = (bytes: Buffer, bit: number) => {
  if (bytes.length === 0) return bytes
  bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
  return bytes
}
export const partsOf = (token: string): [purpose: string, keyId: string, sealed: string] => {
  const [purpose = '', keyId = '', sealed = ''] = token.split('.')
  return [purpose, keyId, sealed]
}
const pick = <Item>(items: readonly Item[], random: (below: number) => number, none: Item): Item =>
  items[random(items.length)] ?? none

export const MUTATION_KINDS: Readonly<Record<string, Mutation>> = {
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
    if (!bytes || !foreign || Math.min(bytes.length, foreign.length) < 16) return ''
    if (random(2) === 0) foreign.copy(bytes, 0, 0, 12)
    else foreign.copy(bytes, bytes.length - 16, foreign.length - 16)
    return `${purpose}.${keyId}.${bytes.toString('base64url')}`
  },
}
