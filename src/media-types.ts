/** Media types that the bridge speaks, and what a `Content-Type` names. */

/** Newline-delimited JSON, under the names that are in use. The first one is ours. */
export const LINES_TYPES = ['application/x-ndjson', 'application/ndjson', 'application/jsonl'] as const
export const LINES_TYPE = LINES_TYPES[0]
export const JSON_TYPE = 'application/json'
export const EVENTS_TYPE = 'text/event-stream'

/** The media type of a `Content-Type`, in lower case and without parameters; empty where there is none. */
export function mediaTypeOf(contentType: string | null | undefined): string {
  if (!contentType) return ''
  const end = contentType.indexOf(';')
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase()
}

const LINES: ReadonlySet<string> = new Set(LINES_TYPES)

/** Whether a `Content-Type` says newline-delimited JSON. */
export function isLinesType(contentType: string | null | undefined): boolean {
  return LINES.has(mediaTypeOf(contentType))
}

/** Characters of a stored type that is still handed out as a header. */
const MAX_TYPE_CHARS = 1_024
const MEDIA_TYPE = /^[\w!#$&^.+*'`|~%-]+\/[\w!#$&^.+*'`|~%-]+[\t ]*(?:;[\t -~]*)?$/

/** Whether what a publisher stored as a type can be the `Content-Type` of an answer: any bytes may stand there. */
export const isServable = (contentType: string): boolean =>
  contentType.length <= MAX_TYPE_CHARS && MEDIA_TYPE.test(contentType)
