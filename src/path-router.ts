/** Which route a path takes: hono's fastest router, also where a literal stands beside a parameter. */
import { type Result, type Router, UnsupportedPathError } from 'hono/router'
import { RegExpRouter } from 'hono/router/reg-exp-router'

/**
 * Compiles all routes into one regular expression a method. `RegExpRouter` refuses a parameter where a literal stands in
 * the same place (`messages/last` and `messages/:seq`), and hono would then walk a tree for every request; here
 * such routes go into a second expression, which is asked where the first one knows nothing.
 */
export class PathRouter<Handler> implements Router<Handler> {
  readonly name = 'PathRouter'
  readonly #first = new RegExpRouter<Handler>()
  readonly #second = new RegExpRouter<Handler>()
  /** Handlers of every path. */
  #everywhere = 0

  add(method: string, path: string, handler: Handler): void {
    if (path === '*' || path === '/*') {
      this.#first.add(method, path, handler)
      this.#second.add(method, path, handler)
      this.#everywhere += 1
      return
    }
    try {
      this.#first.add(method, path, handler)
    } catch (failure) {
      if (!(failure instanceof UnsupportedPathError)) throw failure
      this.#second.add(method, path, handler)
    }
  }

  match(method: string, path: string): Result<Handler> {
    const found = this.#first.match(method, path)
    return found[0].length > this.#everywhere ? found : this.#second.match(method, path)
  }
}
