/** Packages that apt is to download although they are installed. */
import { expect, test } from 'vitest'
import { withoutPackages } from '../../scripts/dpkg-status.ts'

const stanza = (name: string, source?: string, more = '') =>
  `Package: ${name}\nStatus: install ok installed\n${source ? `Source: ${source}\n` : ''}${more}Description: a package\n with Package: in its text\n\n`

const INSTALLED = [
  stanza('nginx', undefined, 'Provides: httpd, nginx-abi-1.22.1-7\n'),
  stanza('nginx-common', 'nginx'),
  stanza('nginx-light', 'nginx (1.22.1-9)'),
  stanza('libnginx-mod-http-echo', undefined, 'Depends: libc6 (>= 2.4), nginx-abi-1.22.1-7\n'),
  stanza('redis-server', 'redis'),
  stanza('redis-tools', 'redis (5:7.0.15-1)'),
  stanza('libc6', 'glibc'),
].join('')

const namesIn = (status: string) => [...status.matchAll(/^Package: (\S+)/gm)].map(([, name]) => name)

test('a wanted package is left out, and so is all of its source and what needs it', () => {
  expect(namesIn(withoutPackages(INSTALLED, ['nginx', 'libnginx-mod-nchan']))).toEqual([
    'redis-server',
    'redis-tools',
    'libc6',
  ])
  expect(namesIn(withoutPackages(INSTALLED, ['webdis', 'redis-server']))).toEqual([
    'nginx',
    'nginx-common',
    'nginx-light',
    'libnginx-mod-http-echo',
    'libc6',
  ])
})

test('what is kept is kept as it is', () => {
  expect(withoutPackages(INSTALLED, ['no-such-package'])).toBe(INSTALLED)
})
