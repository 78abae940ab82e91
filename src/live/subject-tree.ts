/** Finding all that listen on a subject at a cost that does not grow with how many listen on others. */

/** One token of the filters: what ends here, what takes all below, and where the next token leads. */
interface Branch<Value> {
  readonly ending: Set<Value>
  readonly below: Set<Value>
  readonly literal: Map<string, Branch<Value>>
  any: Branch<Value> | undefined
}

const createBranch = <Value>(): Branch<Value> => ({
  ending: new Set(),
  below: new Set(),
  literal: new Map(),
  any: undefined,
})

const isBare = <Value>({ ending, below, literal, any }: Branch<Value>): boolean =>
  ending.size === 0 && below.size === 0 && literal.size === 0 && any === undefined

/** Values by subject filters, with NATS's wildcards: `*` for one token, `>` for one or more at the end. */
export class SubjectTree<Value> {
  readonly #root = createBranch<Value>()
  #size = 0

  /** How many pairs of a filter and a value there are. */
  get size(): number {
    return this.#size
  }

  add(filter: string, value: Value): void {
    let branch = this.#root
    const tokens = filter.split('.')
    const takesAllBelow = tokens.at(-1) === '>'
    for (const token of takesAllBelow ? tokens.slice(0, -1) : tokens) branch = grow(branch, token)
    const values = takesAllBelow ? branch.below : branch.ending
    if (values.has(value)) return
    values.add(value)
    this.#size += 1
  }

  remove(filter: string, value: Value): void {
    if (prune(this.#root, filter.split('.'), value)) this.#size -= 1
  }

  /** Each value once, however many of its filters match. */
  matching(subject: string): Set<Value> {
    const found = new Set<Value>()
    collect(this.#root, subject.split('.'), 0, found)
    return found
  }
}

function grow<Value>(branch: Branch<Value>, token: string): Branch<Value> {
  const known = token === '*' ? branch.any : branch.literal.get(token)
  if (known) return known
  const grown = createBranch<Value>()
  if (token === '*') branch.any = grown
  else branch.literal.set(token, grown)
  return grown
}

/** Takes a value out, and cuts branches that bear nothing any more. Answers whether the value was there. */
function prune<Value>(branch: Branch<Value>, [token, ...rest]: readonly string[], value: Value): boolean {
  if (token === undefined) return branch.ending.delete(value)
  if (token === '>' && rest.length === 0) return branch.below.delete(value)
  const next = token === '*' ? branch.any : branch.literal.get(token)
  if (!next || !prune(next, rest, value)) return false
  if (!isBare(next)) return true
  if (token === '*') branch.any = undefined
  else branch.literal.delete(token)
  return true
}

function collect<Value>(branch: Branch<Value>, tokens: readonly string[], at: number, found: Set<Value>) {
  const token = tokens[at]
  if (token === undefined) {
    for (const value of branch.ending) found.add(value)
    return
  }
  for (const value of branch.below) found.add(value)
  const literal = branch.literal.get(token)
  if (literal) collect(literal, tokens, at + 1, found)
  if (branch.any) collect(branch.any, tokens, at + 1, found)
}
