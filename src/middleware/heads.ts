/** What the head of a request says of its host and framing, as far as the runtime lets it be seen. */
import { type BridgeError, refuse } from '../errors.ts'

/** One authority: two `Host` headers come joined by a comma. */
const HOST = /^[\w.\-~%!$&'()*+;=:[\]]*$/
const CHUNKED = /^chunked$/i

/**
 * Why a request is refused whose head two servers in a row may read differently, or that no URL can be made of; undefined
 * where nothing is wrong. A body is compressed by `Content-Encoding`: what `Transfer-Encoding` says is not undone here.
 */
export function headFault(headers: Headers): BridgeError | undefined {
  const host = headers.get('Host')
  if (host !== null && !HOST.test(host)) return refuse('Host', 'must be one host and port')
  const coding = headers.get('Transfer-Encoding')
  if (coding === null) return undefined
  if (!CHUNKED.test(coding)) return refuse('Transfer-Encoding', 'must be chunked, and nothing else')
  if (headers.has('Content-Length'))
    return refuse('Content-Length', 'must not be sent together with Transfer-Encoding')
  return undefined
}
