/** What of nats.ws and zod goes into the Worker's bundle. Run by wrangler before it bundles; `[alias]` there leads here. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { CACHE, ROOT } from './paths.ts'

const FOLDER = join(CACHE, 'cut')
const PACKAGES = join(ROOT, 'node_modules')

/** What stands from one line to right before another, and what takes its place. */
type Cut = { from: string; to: string; put?: string }

/**
 * nats.ws 1.x comes as one file in which the connection refers to JetStream, key-value, object store and services, so
 * that no bundler can leave them out; none is used here. With their only users gone, what is not cut is left out by the
 * bundler. Can go with nats.ws 3, which is a package for each of them.
 */
const NATS_CUTS: readonly Cut[] = [
  // SHA-256, for the object store.
  { from: '\nfunction t(t, e) {', to: '\nfunction parseSha256(' },
  // Ed25519 in JavaScript, for credentials with keys: the runtime has its own.
  {
    from: '\n(function(nacl) {',
    to: '\nlet helper;',
    put: `\nimport * as denoHelper from '${relative(FOLDER, join(ROOT, 'src/adapters/nats/ed25519.ts'))}';`,
  },
  // Requests: adapters/nats has an inbox of its own.
  { from: '\n    requestMany(', to: '\n    flush() {' },
  // The table of CRC-16 (XMODEM), for keys: worked out in a few lines instead of 256 numbers.
  {
    from: '\nconst crc16tab = ',
    to: '\nclass crc16 {',
    put: `
const crc16tab = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  return crc;
});`,
  },
  { from: '\n    async jetstreamManager(opts = {}) {', to: '\n    getServerVersion() {' },
  { from: '\n    get services() {', to: '\n    reconnect() {' },
]

const without = (code: string, { from, to, put = '' }: Cut): string => {
  const start = code.indexOf(from)
  const end = code.indexOf(to, start)
  if (start < 0 || end < 0 || code.includes(from, start + 1))
    throw new Error(`nats.ws is not what it was: there is no single ${JSON.stringify(from)}.`)
  return code.slice(0, start) + put + code.slice(end)
}

/** Enums as TypeScript writes them: a bundler cannot know that nothing but the enum comes of it. */
const ENUM = /\nvar (\w+);\n\(function\(\1\) \{\n([\s\S]*?)\n\}\)\(\1 \|\| \(\1 = \{\}\)\);/g

/** Enums that are left out where nothing uses them. */
const withPureEnums = (code: string): string =>
  code.replace(
    ENUM,
    (_, name: string, body: string) =>
      `\nvar ${name} = /* @__PURE__ */ (function(${name}) {\n${body}\nreturn ${name};\n})({});`,
  )

const cutNats = (): string =>
  withPureEnums(NATS_CUTS.reduce(without, readFileSync(join(PACKAGES, 'nats.ws', 'esm', 'nats.js'), 'utf8')))

/**
 * Every class of zod refers to a writer of JSON Schema; here zod-to-openapi writes it. Can go when zod's classes no
 * longer do.
 */
const cutZodJsonSchema = (): string => {
  const source = join(PACKAGES, 'zod', 'v4', 'core', 'json-schema-processors.js')
  const processors = [...readFileSync(source, 'utf8').matchAll(/^export const (\w+Processor) /gm)]
  const names = [
    'createToJSONSchemaMethod',
    'createStandardJSONSchemaMethod',
    'toJSONSchema',
    ...processors.map(([, name]) => name),
  ]
  return `const leftOut = () => () => { throw new Error('Left out of the bundle: see scripts/cut-packages.ts.') }
export { ${names.map((name) => `leftOut as ${name}`).join(', ')} }
export { aggregateChecks } from '${relative(FOLDER, source)}'
`
}

/** Another build may be reading it. */
const write = (name: string, code: string): void => {
  const fresh = join(FOLDER, `${name}.${process.pid}`)
  writeFileSync(fresh, code)
  renameSync(fresh, join(FOLDER, name))
}

mkdirSync(FOLDER, { recursive: true })
write('nats.ws.js', cutNats())
write('zod-json-schema.js', cutZodJsonSchema())
