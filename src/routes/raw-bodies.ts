/** Raw bodies: what is said of bytes that somebody else stored, so that a browser never runs them as a page of the bridge. */

import { isServable } from '../media-types.ts'

const UNKNOWN = 'application/octet-stream'

/**
 * What a browser may show in place. Only a type of the plainest spelling: behind a comma a browser reads another one. SVG and
 * other XML may hold scripts.
 */
const SHOWN = /^((image|audio|video)\/(?!svg)[\w.-]+|text\/plain)(\s*;\s*[\w-]+=("[\w.+ -]*"|[\w.+-]+))*\s*$/i
const XML = /^[\w-]+\/([\w.-]+[-.])?xml\b/i

/** The stored type, where HTTP can carry it. */
export const servedType = (said: string | undefined): string =>
  said !== undefined && isServable(said) ? said : UNKNOWN

/** Publishers choose the type, so nothing of the body may run, and what is no picture, sound or plain text is saved to a file. */
export function rawHeaders(said: string | undefined): Record<string, string> {
  const type = servedType(said)
  const isShown = SHOWN.test(type) && !XML.test(type)
  return {
    'Content-Type': type,
    'Content-Security-Policy': "default-src 'none'; sandbox",
    'Cross-Origin-Resource-Policy': 'same-origin',
    ...(isShown ? {} : { 'Content-Disposition': 'attachment' }),
  }
}
