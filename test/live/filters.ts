/** The tests' own notion of which subjects a filter takes, so that nothing is shared with what is under test. */

const escaped = (text: string) => text.replace(/[*^$.|?+()[\]{}\\]/g, '\\$&')

/** A filter as a regular expression. */
export const patternOf = (filter: string): RegExp => {
  const tokens = filter.split('.').map((text) => {
    if (text === '*') return '[^.]+'
    return text === '>' ? '[^.]+(?:\\.[^.]+)*' : escaped(text)
  })
  return new RegExp(`^${tokens.join('\\.')}$`)
}

const patterns = new Map<string, RegExp>()

/** Whether a subject falls under a filter. */
export const covers = (filter: string, subject: string): boolean => {
  const pattern = patterns.get(filter) ?? patternOf(filter)
  patterns.set(filter, pattern)
  return pattern.test(subject)
}
