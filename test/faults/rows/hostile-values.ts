/** Values that no honest client sends, and the JSON texts that hold them: drawn for a field of the contract's own schemas. */

/** As much of JSON Schema as the contract uses. */
export interface Schema {
  readonly $ref?: string
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly example?: unknown
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly additionalProperties?: Schema | boolean
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly allOf?: readonly Schema[]
}

/** Follows a reference into the document's components. */
export type Resolve = (schema: Schema) => Schema

export interface Draw {
  /** From 0 to below 1. */
  readonly random: () => number
  readonly resolve: Resolve
}

export const pickOf = <Item>(random: () => number, items: readonly Item[]): Item => {
  const item = items[Math.floor(random() * items.length)]
  if (item === undefined) throw new Error('There is nothing to pick from')
  return item
}

const MAX_DEPTH = 6

/** A value that the schema takes, or nearly: examples where it has them, all that is required, some of the rest. */
export function plausible(schema: Schema, draw: Draw, depth = 0): unknown {
  const { random, resolve } = draw
  const known = resolve(schema)
  if (known.example !== undefined) return known.example
  if (known.const !== undefined) return known.const
  if (known.enum) return pickOf(random, known.enum)
  const [first] = known.anyOf ?? known.oneOf ?? known.allOf ?? []
  if (first) return depth > MAX_DEPTH ? null : plausible(first, draw, depth + 1)
  switch (known.type) {
    case 'object':
      return plausibleObject(known, draw, depth)
    case 'array':
      return depth > MAX_DEPTH || !known.items ? [] : [plausible(known.items, draw, depth + 1)]
    case 'integer':
    case 'number':
      return 1
    case 'boolean':
      return random() < 0.5
    default:
      return 'x'
  }
}

const OPTIONAL_SHARE = 0.2

function plausibleObject(schema: Schema, draw: Draw, depth: number): Record<string, unknown> {
  const { properties = {}, required = [] } = schema
  const chosen = Object.entries(properties).filter(
    ([name]) => required.includes(name) || (depth <= MAX_DEPTH && draw.random() < OPTIONAL_SHARE),
  )
  return Object.fromEntries(chosen.map(([name, field]) => [name, plausible(field, draw, depth + 1)]))
}

/** Where a hostile value goes: names of fields, and indexes of arrays. */
export type Path = readonly (string | number)[]

/** Every field that the schema has, at any depth; `[]` is the whole. */
export function pathsOf(schema: Schema, resolve: Resolve, depth = 0): Path[] {
  const known = resolve(schema)
  if (depth > MAX_DEPTH) return [[]]
  const variants = (known.anyOf ?? known.oneOf ?? known.allOf ?? []).flatMap((one) =>
    pathsOf(one, resolve, depth + 1),
  )
  const fields = Object.entries(known.properties ?? {}).flatMap(([name, field]) =>
    pathsOf(field, resolve, depth + 1).map((path) => [name, ...path]),
  )
  const items = known.items ? pathsOf(known.items, resolve, depth + 1).map((path) => [0, ...path]) : []
  const { additionalProperties: more } = known
  const named =
    typeof more === 'object' ? pathsOf(more, resolve, depth + 1).map((path) => ['n', ...path]) : []
  return [[], ...variants, ...fields, ...items, ...named]
}

const MARK = '@hostile@'

/** The JSON text of a value with `text` at a place in it, whatever text that is. */
export function withTextAt(value: unknown, path: Path, text: string): string {
  return JSON.stringify(placed(value, path)).replace(`"${MARK}"`, () => text)
}

function placed(value: unknown, [at, ...rest]: Path): unknown {
  if (at === undefined) return MARK
  if (typeof at === 'number') return [placed(Array.isArray(value) ? value[at] : undefined, rest)]
  const fields = typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
  return { ...fields, [at]: placed((fields as Record<string, unknown>)[at], rest) }
}

/** How a value can be hostile, by the name it has in the fault log; each draws a JSON text. */
export const HOSTILE_TEXTS: Readonly<Record<string, (random: () => number) => string>> = {
  huge: (random) =>
    `"${pickOf(random, ['x', '\\u0001', '💥', '{type}', '.']).repeat(sizeOf(random, 500_000))}"`,
  deep: (random) => {
    const depth = sizeOf(random, 200_000)
    return pickOf(random, [
      () => `${'['.repeat(depth)}${']'.repeat(depth)}`,
      () => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`,
      () => '['.repeat(depth),
    ])()
  },
  many: (random) => `[${manyOf(random, pickOf(random, ['0', '""', '"a.b"', '{}', '[]', '1e1', 'null']))}]`,
  named: (random) => {
    const value = pickOf(random, ['"v"', '["v"]', '1', '{}', '[""]'])
    const count = sizeOf(random, 40_000)
    return `{${Array.from({ length: count }, (_, at) => `"n${at}":${value}`).join(',')}}`
  },
  repeated: (random) => `{${manyOf(random, `"${pickOf(random, ['a', '', '__proto__', 'subject'])}":1`)}}`,
  'of a wrong type': (random) =>
    pickOf(random, [
      'null',
      'true',
      '{}',
      '[]',
      '""',
      '"\\ud800"',
      '"\\u0000"',
      '-1',
      '0',
      '1e400',
      '1.5',
      '9007199254740993',
      '-9223372036854775809',
      '1e-400',
      '[[]]',
      '{"__proto__":{"a":1}}',
      '{"constructor":1,"toString":"x"}',
      '"2026-02-30T00:00:00Z"',
      '"_INBOX.>"',
      '"$JS.API.>"',
      '">"',
      '" "',
      '"a..b"',
    ]),
}

/** Small ones too: a bound is passed at some size, and that is where things go wrong. */
const sizeOf = (random: () => number, most: number): number => Math.ceil(most ** random())

const manyOf = (random: () => number, item: string): string =>
  Array.from({ length: sizeOf(random, 300_000) }, () => item).join(',')
