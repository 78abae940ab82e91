/** How subject filters relate to subjects and to each other. */

/** Whether a subject, or all that another filter stands for, falls under `filter`. */
export function covers(filter: string, subject: string): boolean {
  const filterTokens = filter.split('.')
  const tokens = subject.split('.')
  for (const [index, filterToken] of filterTokens.entries()) {
    const token = tokens[index]
    if (token === undefined) return false
    if (filterToken === '>') return true
    if (token === '>') return false
    if (filterToken !== '*' && filterToken !== token) return false
  }
  return filterTokens.length === tokens.length
}

/** The same filters without those that another one covers. */
export function withoutCovered(filters: readonly string[]): string[] {
  const distinct = [...new Set(filters)]
  return distinct.filter((filter) => !distinct.some((other) => other !== filter && covers(other, filter)))
}
