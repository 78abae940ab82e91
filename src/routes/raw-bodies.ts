/** Raw bodies: what is said of bytes that somebody else stored, so that a browser never runs them as a page of the bridge. */

const UNKNOWN = 'application/octet-stream'

/**
 * What a browser may show in place. Only a type of the plainest spelling: behind a comma a browser reads another one. SVG and
 * other XML may hold scripts.
 */
const SHOWN = /^((image|audio|video)\/(?!svg)[\w.-]+|text\/plain)(\s*;\s*[\w-]+=("[\w.+ -]*"|[\w.+-]+))*\s*$/i
const XML = /^[\w-]+\/([\w.-]+[-.])?xml\b/i

/** Publishers choose the `type`, so nothing of the body may run, and what is no picture, sound or plain text is saved to a file. */
export function rawHeaders(type = UNKNOWN): Record<string, string> {
  const isShown = SHOWN.test(type) && !XML.test(type)
  return {
    'Content-Type': type,
    'Content-Security-Policy': "default-src 'none'; sandbox",
    'Cross-Origin-Resource-Policy': 'same-origin',
    ...(isShown ? {} : { 'Content-Disposition': 'attachment' }),
  }
}
