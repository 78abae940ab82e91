/** What the READMEs of the examples have people type: it holds on a slow machine, too. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT } from '../../scripts/paths.ts'

const EXAMPLES = join(ROOT, 'examples')
const readmes = [
  join(ROOT, 'README.md'),
  ...readdirSync(EXAMPLES).map((name) => join(EXAMPLES, name, 'README.md')),
]

test.each(readmes)('%s ends nothing after a fixed time: it waits until something has happened', (path) => {
  expect(readFileSync(path, 'utf8')).not.toMatch(/\btimeout -s/)
})

test.each(readmes)('%s encodes what a URL may not have', (path) => {
  const urls = [...readFileSync(path, 'utf8').matchAll(/'?https?:\/\/[^\s'")]+/g)].map(([url]) => url)
  expect(urls.filter((url) => /[<>"]/.test(url))).toEqual([])
})

test('README.md uses no stream that an example counts on to be empty', () => {
  const streamsOf = (path: string) =>
    [...readFileSync(path, 'utf8').matchAll(/\/v1\/streams\/([A-Z]+)|"name":"([A-Z]+)"/g)].map(
      (found) => found[1] ?? found[2],
    )
  const [own = '', ...examples] = readmes
  const used = new Set(streamsOf(own))
  expect(used.size).toBeGreaterThan(1)
  expect(examples.flatMap(streamsOf).filter((name) => used.has(name))).toEqual([])
})

test('README.md names every setting', () => {
  const names = [
    ...readFileSync(join(ROOT, 'src', 'settings.ts'), 'utf8').matchAll(/^ {2}([A-Z][A-Z_]+): /gm),
  ]
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  expect(names.length).toBeGreaterThan(30)
  expect(names.map(([, name]) => name).filter((name) => !readme.includes(`\`${name}\``))).toEqual([])
})
