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
