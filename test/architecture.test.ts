/** Holds the layering: imports point down, make no circle, and each library has its one place. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'

const SRC = join(import.meta.dirname, '..', 'src')

/** What stands below what: a file imports from its own layer's row or from further down. */
const LEFT = [
  'app.ts',
  'answer.ts',
  'accept.ts',
  'router.ts',
  'path-router.ts',
  'read-body.ts',
  'deliveries.ts',
  'publishing/',
  'middleware/',
  'routes/',
]
const RIGHT = ['hosts/', 'live/', 'adapters/']
const TOP = ['worker.ts', 'node.ts', 'bridge.ts', 'line-buffer.ts', 'version.ts']
const BOTTOM = [
  'jetstream.ts',
  'reading.ts',
  'context.ts',
  'schemas/',
  'tokens/',
  'errors.ts',
  'media-types.ts',
  'settings.ts',
  'server-clock.ts',
  'farewell.ts',
  'pieces.ts',
  'presence.ts',
  'timers.ts',
  'turns.ts',
  'abort.ts',
  'linked-list.ts',
  'metrics.ts',
  'limits.ts',
  'ledger.ts',
  'message-size.ts',
  'holds.ts',
  'tally.ts',
  'setting-names.ts',
  'public-address.ts',
  'scans.ts',
  'log.ts',
]

interface Import {
  readonly file: string
  readonly target: string
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))

/** Every import in the sources: relative ones as paths below src, the others by package name. */
const imports: Import[] = files.flatMap((file) => {
  const text = readFileSync(join(SRC, file), 'utf8')
  const found = text.matchAll(/^(?:import|export)\s[^'"]*?\sfrom\s+'([^']+)'/gms)
  return [...found].map(([, from = '']) => ({
    file,
    target: from.startsWith('.') ? relative(SRC, join(SRC, dirname(file), from)) : from,
  }))
})

const isIn = (layer: readonly string[], path: string) =>
  layer.some((part) => (part.endsWith('/') ? path.startsWith(part) : path === part))
const offenders = (wrong: (one: Import) => boolean) =>
  imports.filter(wrong).map(({ file, target }) => `${file} imports ${target}`)

describe('the layers of src', () => {
  it('have a place for every file', () => {
    const all = [...LEFT, ...RIGHT, ...TOP, ...BOTTOM]
    expect(files.filter((file) => !isIn(all, file))).toEqual([])
    expect(imports.length).toBeGreaterThan(100)
  })

  it('left and right never import each other', () => {
    expect(offenders(({ file, target }) => isIn(LEFT, file) && isIn(RIGHT, target))).toEqual([])
    expect(offenders(({ file, target }) => isIn(RIGHT, file) && isIn(LEFT, target))).toEqual([])
  })

  it('the bottom imports nothing above it', () => {
    expect(
      offenders(({ file, target }) => isIn(BOTTOM, file) && isIn([...LEFT, ...RIGHT, ...TOP], target)),
    ).toEqual([])
  })

  it('nothing imports an entry', () => {
    expect(offenders(({ target }) => target === 'worker.ts' || target === 'node.ts')).toEqual([])
  })

  it('nats.ws is imported in adapters/nats alone', () => {
    expect(
      offenders(({ file, target }) => target.startsWith('nats') && !file.startsWith('adapters/nats/')),
    ).toEqual([])
  })

  it('zod is imported by schemas/zod.ts alone: the bundle has no other `z`', () => {
    const named = files.filter((file) =>
      /^import [^;]*?\bz\b[^;]*? from '(zod|@hono\/zod-openapi)'/m.test(
        readFileSync(join(SRC, file), 'utf8'),
      ),
    )
    expect(named).toEqual([])
    const direct = offenders(
      ({ file, target }) => target.startsWith('zod') && !file.startsWith('schemas/zod'),
    )
    expect(direct).toEqual([])
  })

  it('live reaches NATS by the port alone', () => {
    expect(
      offenders(({ file, target }) => file.startsWith('live/') && target.startsWith('adapters/')),
    ).toEqual([])
  })

  it('hono stays on the left', () => {
    const isHono = (target: string) => target === 'hono' || target.startsWith('hono/')
    expect(offenders(({ file, target }) => isHono(target) && !isIn([...LEFT, ...TOP], file))).toEqual([])
  })

  it('make no circle', () => {
    const next = new Map(files.map((file) => [file, new Set<string>()]))
    for (const { file, target } of imports) if (next.has(target)) next.get(file)?.add(target)
    const settled = new Set<string>()
    const circles: string[] = []
    const walk = (file: string, path: readonly string[]) => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' → '))
      if (path.includes(file) || settled.has(file)) return
      for (const target of next.get(file) ?? []) walk(target, [...path, file])
      settled.add(file)
    }
    for (const file of files) walk(file, [])
    expect(circles).toEqual([])
  })

  it.each(['jetstream.ts', 'reading.ts'])('the port %s is types alone', (file) => {
    const text = readFileSync(join(SRC, file), 'utf8')
    expect(text.match(/^(export )?(const|let|function|class|enum)\b/gm)).toBeNull()
  })
})
