/** What dpkg has installed, with some of it left out: so apt downloads packages that are installed already. */

const fieldOf = (stanza: string, name: string): string =>
  new RegExp(`^${name}: (.+)$`, 'm').exec(stanza)?.[1] ?? ''

/** The names in a list such as `a (>= 1), b | c`. */
const namesIn = (list: string): string[] =>
  list.split(/[,|]/).map((one) => one.trim().split(/[ (:]/)[0] ?? '')

interface Installed {
  readonly stanza: string
  readonly source: string
  /** Its own name and what it stands for. */
  readonly names: readonly string[]
  readonly needs: readonly string[]
}

const parse = (stanza: string): Installed => {
  const name = fieldOf(stanza, 'Package')
  return {
    stanza,
    source: namesIn(fieldOf(stanza, 'Source'))[0] || name,
    names: [name, ...namesIn(fieldOf(stanza, 'Provides'))].filter((one) => one !== ''),
    needs: ['Depends', 'Pre-Depends'].flatMap((field) => namesIn(fieldOf(stanza, field))),
  }
}

/**
 * A dpkg status without the packages of these names, without all that is built from the same sources, and without what
 * depends on those: packages of one source often need each other in the very same version, and the one to be downloaded may be
 * another; and apt does nothing on a system of which something is missing.
 */
export const withoutPackages = (status: string, names: readonly string[]): string => {
  const installed = status
    .split(/\n\n+/)
    .filter((stanza) => stanza.trim() !== '')
    .map(parse)
  const isNamed = (one: Installed) => names.includes(one.names[0] ?? '')
  const sources = new Set([...names, ...installed.filter(isNamed).map(({ source }) => source)])
  const gone = new Set(installed.filter((one) => isNamed(one) || sources.has(one.source)))
  for (let size = -1; size !== gone.size; ) {
    size = gone.size
    const missing = new Set([...gone].flatMap((one) => one.names))
    for (const one of installed) if (one.needs.some((name) => missing.has(name))) gone.add(one)
  }
  const kept = installed.filter((one) => !gone.has(one))
  return kept.map(({ stanza }) => `${stanza.trimEnd()}\n\n`).join('')
}
