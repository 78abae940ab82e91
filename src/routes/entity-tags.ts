/** Entity tags: whether a client has what it asks for already. */

/** By weak comparison, as RFC 9110 has it for `If-None-Match`. */
export function isKnown(ifNoneMatch: string | undefined, etag: string): boolean {
  const opaque = (tag: string) => tag.trim().replace(/^W\//, '')
  return ifNoneMatch?.trim() === '*' || (ifNoneMatch ?? '').split(',').map(opaque).includes(opaque(etag))
}
