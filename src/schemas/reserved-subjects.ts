/** Subjects that are NATS's own: who may not be published to, listened on, or written to by a stream. */
import { BridgeError, type FieldError } from '../errors.ts'
import type { JetStreamConfig } from '../jetstream.ts'

/** Replies: to requests, over service imports, over gateways. */
const REPLIES: ReadonlySet<string> = new Set(['_INBOX', '_R_', '_GR_'])

/** What is under a first token, and what to use instead of publishing there. */
const INSTEAD: Readonly<Record<string, string>> = {
  $KV: 'It is a key of a key-value bucket: write it with the key-value client of a NATS library.',
  $O: 'It is part of an object store: write it with the object store client of a NATS library.',
  $JS: 'It is JetStream itself: use /v1/streams and what is below.',
  $SYS: 'It is the NATS server itself: use a NATS client of its system account.',
  $SRV: 'It is the protocol of NATS services: use a NATS client.',
}
const REPLY = 'Replies to requests go there: send them with a NATS client.'
const OWN = 'What begins with $ is kept for NATS: choose another first token.'

const firstToken = (subject: string): string => subject.split('.', 1)[0] ?? ''

const isOwnToken = (token: string) => token.startsWith('$') || REPLIES.has(token)

/** Whether a subject is NATS's own: what is published there is no message of a client's, even where a stream listens. */
export const isReserved = (subject: string): boolean =>
  (subject.startsWith('$') || subject.startsWith('_')) && isOwnToken(firstToken(subject))

/** Why a reserved subject is not published to. `field`: what it was said in, where that is not the subject itself. */
export function reservedSubject(subject: string, field?: string): BridgeError {
  const first = firstToken(subject)
  const instead = INSTEAD[first] ?? (REPLIES.has(first) ? REPLY : OWN)
  const message = `"${subject}" is not published to over HTTP. ${instead}`
  return new BridgeError(
    'subject_not_found',
    field === undefined ? message : `${field}: ${message}`,
    field === undefined ? {} : { errors: [{ field, message }] },
  )
}

/** A part of a stream's configuration that reaches what is NATS's own. */
export interface ReservedPart extends FieldError {
  readonly value: string
}

const LISTENS =
  "must begin with a token of its own: what begins with $, _INBOX or a wildcard takes in NATS's own subjects"
const WRITES =
  "must begin with a token of its own: what begins with $, _INBOX or a wildcard may be one of NATS's own subjects"
const READS = "must not begin with $ or _INBOX, where NATS's own subjects are"

const API =
  'must be a JetStream API, under $JS or a token of its own: requests of the stream are published there'

/** The API of another domain or account is under $JS, or where an import puts it. */
const isForeignApi = (prefix: string) => writes(prefix) && firstToken(prefix) !== '$JS'

/** A first token that stands for any, in a filter of more than one token. */
const isAnyFirst = (filter: string) => filter === '>' || filter.startsWith('*.')
/** A first token of a destination that comes out of the subject: `$1`, `{{wildcard(1)}}`. */
const isTakenFirst = (destination: string) => /^(?:\$\d+(?:\.|$)|\{\{)/.test(destination)

const listens = (filter: string) => isReserved(filter) || isAnyFirst(filter)
const becomes = (destination: string) => isReserved(destination) && !isTakenFirst(destination)
const writes = (destination: string) => listens(destination) || isTakenFirst(destination)

/**
 * What of a stream's configuration, in JetStream's form, reaches what is NATS's own: a stream that listens on inboxes reads
 * the replies to others, one that publishes there forges them. What is read of another stream may begin with a wildcard.
 */
export function reservedParts(config: JetStreamConfig): readonly ReservedPart[] {
  const parts: ReservedPart[] = []
  const check = (field: string, value: unknown, isFault: (text: string) => boolean, message: string) => {
    if (typeof value === 'string' && value !== '' && isFault(value)) parts.push({ field, value, message })
  }
  const checkTransform = (field: string, value: unknown) => {
    const { src, dest } = recordOf(value)
    check(`${field}.src`, src, becomes, READS)
    check(`${field}.dest`, dest, becomes, READS)
  }
  const checkSource = (field: string, value: unknown) => {
    const { filter_subject, subject_transforms, external } = recordOf(value)
    check(`${field}.filter_subject`, filter_subject, becomes, READS)
    check(`${field}.external.api`, recordOf(external).api, isForeignApi, API)
    check(`${field}.external.deliver`, recordOf(external).deliver, writes, WRITES)
    for (const [index, one] of listOf(subject_transforms).entries())
      checkTransform(`${field}.subject_transforms.${index}`, one)
  }

  const { name, subjects, mirror, sources, republish, subject_transform } = config
  for (const [index, one] of listOf(subjects).entries()) check(`subjects.${index}`, one, listens, LISTENS)
  // Without subjects a stream listens on its name.
  if (listOf(subjects).length === 0 && !mirror && listOf(sources).length === 0)
    check('name', name, listens, LISTENS)
  check('republish.dest', recordOf(republish).dest, writes, WRITES)
  checkTransform('subject_transform', subject_transform)
  checkSource('mirror', mirror)
  for (const [index, one] of listOf(sources).entries()) checkSource(`sources.${index}`, one)
  return parts
}

const recordOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
