/**
 * Owns what of nats.ws goes into the Worker's bundle: its core client. Run by wrangler before it bundles.
 * nats.ws 1.x comes as one file in which the connection refers to JetStream, key-value, object store and services, so
 * that no bundler can leave them out; none is used here. Can go with nats.ws 3, which is a package for each of them.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CACHE, ROOT } from './paths.ts'

/** What stands from one line to right before another, and what takes its place. */
type Cut = { from: string; to: string; put?: string }

/** With its only users gone, what is not cut here is left out by the bundler. */
const CUTS: readonly Cut[] = [
  // SHA-256, for the object store.
  { from: '\nfunction t(t, e) {', to: '\nfunction parseSha256(' },
  // Ed25519 in JavaScript, for credentials with keys: the runtime has its own.
  {
    from: '\n(function(nacl) {',
    to: '\nlet helper;',
    put: "\nimport * as denoHelper from '../../src/adapters/nats/ed25519.ts';",
  },
  { from: '\n    async jetstreamManager(opts = {}) {', to: '\n    getServerVersion() {' },
  { from: '\n    get services() {', to: '\n    reconnect() {' },
]

const SOURCE = join(ROOT, 'node_modules', 'nats.ws', 'esm', 'nats.js')
/** `[alias]` in wrangler.toml names it. */
const TARGET = join(CACHE, 'nats.ws', 'core.js')

const without = (code: string, { from, to, put = '' }: Cut): string => {
  const start = code.indexOf(from)
  const end = code.indexOf(to, start)
  if (start < 0 || end < 0 || code.includes(from, start + 1))
    throw new Error(`nats.ws is not what it was: there is no single ${JSON.stringify(from)}.`)
  return code.slice(0, start) + put + code.slice(end)
}

// Another build may be reading it.
mkdirSync(dirname(TARGET), { recursive: true })
const fresh = `${TARGET}.${process.pid}`
writeFileSync(fresh, CUTS.reduce(without, readFileSync(SOURCE, 'utf8')))
renameSync(fresh, TARGET)
