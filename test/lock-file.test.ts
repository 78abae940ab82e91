/** What package-lock.json says of every package: enough to know it again, and nothing of where it was fetched. */
import { expect, test } from 'vitest'
import lock from '../package-lock.json' with { type: 'json' }

interface Locked {
  readonly version?: string
  readonly integrity?: string
  readonly resolved?: string
  readonly link?: boolean
}

const packages = Object.entries<Locked>(lock.packages).filter(([path]) => path !== '')
const pathsOf = (found: typeof packages) => found.map(([path]) => path)

test('each package has a SHA-512 hash, those of other platforms too', () => {
  expect(packages.length).toBeGreaterThan(100)
  expect(pathsOf(packages.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')))).toEqual([])
})

test('no package names an address, so that it comes from the registry of whoever installs', () => {
  expect(pathsOf(packages.filter(([, { resolved, link }]) => resolved !== undefined || link))).toEqual([])
})
