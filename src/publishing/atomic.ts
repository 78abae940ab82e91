/** Batches that are stored as a whole: tried again where that is safe, found again, and why one was refused. */
import { BatchRefused, BridgeError } from '../errors.ts'
import type { JetStream, OutgoingMessage, PubAck, StoredMessage, StreamInfo } from '../jetstream.ts'
import {
  BATCH_COMMIT,
  BATCH_SEQUENCE,
  EXPECTED_LAST_MSG_ID,
  EXPECTED_LAST_SEQ,
  EXPECTED_LAST_SUBJECT_SEQ,
  EXPECTED_LAST_SUBJECT_SEQ_SUBJECT,
  EXPECTED_STREAM,
  INCR,
  ROLLUP,
  SCHEDULE,
  TTL,
} from '../schemas/nats-headers.ts'
import { delay, someAtOnce } from '../turns.ts'
import { explainCondition } from './conditions.ts'
import { createComparison, findByKey, ifPermitted, keyOf } from './keys.ts'
import type { PublisherOptions } from './publisher.ts'

/** Pauses between tries, ms: among the batches under way there is room within milliseconds, after an election in seconds. */
const FIRST_PAUSE_MS = 25
const LONGEST_PAUSE_MS = 1_000
/** Questions under way at once, about messages of a refused batch. */
const LOOKUPS = 16
/** Tries of a batch whose conditions were refused for what was still being applied. */
const APPLYING_TRIES = 6

/**
 * Publishes all or none; each with a `PubAck`, in their order. Throws `BatchRefused`, and as `JetStream.publishAtomic`
 * where the batch is not confirmed or JetStream cannot be reached.
 */
export async function publishAtomically(
  jetstream: JetStream,
  messages: readonly OutgoingMessage[],
  { deadlineMs, now }: PublisherOptions,
): Promise<readonly PubAck[]> {
  const giveUpAt = now() + deadlineMs
  let unconfirmed: unknown
  let tries = 0
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      const { stream, lastSeq } = await jetstream.publishAtomic(messages)
      const firstSeq = lastSeq - messages.length + 1
      return messages.map((_, index) => ({ stream, seq: firstSeq + index, duplicate: false }))
    } catch (failure) {
      if (!(failure instanceof BridgeError)) throw failure
      if (isUnconfirmed(failure)) unconfirmed = failure
      tries += 1
      const isApplying = mayBeApplying(failure, messages) && tries < APPLYING_TRIES
      if (!isApplying && !mayTryAgain(failure, messages)) {
        const stored = await explain(jetstream, messages, failure)
        if (stored) return stored
      }
      if (now() + pauseMs > giveUpAt) throw unconfirmed ?? lastWord(messages, failure)
      await delay(pauseMs)
    }
  }
}

/** What was refused for want of room is refused for each message. */
function lastWord(messages: readonly OutgoingMessage[], failure: BridgeError): Error {
  if (failure.code !== 'batches_in_flight') return failure
  return new BatchRefused(
    messages.map(() => undefined),
    failure,
  )
}

const isUnconfirmed = ({ code }: BridgeError) =>
  code === 'publish_unconfirmed' || code === 'publish_unconfirmed_keyed'

/** A batch that may be stored is sent again only where one key of it would have JetStream refuse to store it twice. */
function mayTryAgain(failure: BridgeError, messages: readonly OutgoingMessage[]): boolean {
  if (isUnconfirmed(failure)) return messages.some((message) => keyOf(message) !== undefined)
  return ['jetstream_unavailable', 'jetstream_timeout', 'batches_in_flight'].includes(failure.code)
}

/** Refused without a value: another publish to the subject is being applied, unless it is of the batch itself. */
function mayBeApplying({ code, members }: BridgeError, messages: readonly OutgoingMessage[]): boolean {
  const isUntold = code === 'precondition_failed' && Object.keys(members).length === 0
  if (!isUntold) return false
  const bySubject = firstPlaces(messages, subjectOf)
  return !messages.some((message, index) => writesBefore(message, index, bySubject))
}

const isOutage = ({ code }: BridgeError) =>
  ['jetstream_unavailable', 'jetstream_timeout', 'unauthenticated'].includes(code)

/**
 * JetStream refuses a batch with one reason, and says neither for which message nor all there is: that is found here.
 * Answers the batch where it is stored; undefined: JetStream went away meanwhile, so that nothing can be said.
 */
async function explain(
  jetstream: JetStream,
  messages: readonly OutgoingMessage[],
  refusal: BridgeError,
): Promise<readonly PubAck[] | undefined> {
  if (isUnconfirmed(refusal) || isOutage(refusal)) throw refusal
  try {
    return await findReason(jetstream, messages, refusal)
  } catch (failure) {
    // Keys are asked for by publishes, which may be lost as well.
    if (failure instanceof BridgeError && (isOutage(failure) || isUnconfirmed(failure))) return undefined
    throw failure
  }
}

async function findReason(
  jetstream: JetStream,
  messages: readonly OutgoingMessage[],
  refusal: BridgeError,
): Promise<readonly PubAck[]> {
  // A stored batch may be in the way of its own keys, and of its own conditions.
  const mayBeStored = refusal.code === 'idempotency_conflict' || refusal.code === 'precondition_failed'
  const stored = mayBeStored ? await findBatch(jetstream, messages) : undefined
  if (stored) return stored
  const find = createFinder(jetstream, messages, refusal)
  throw new BatchRefused(await someAtOnce(messages, LOOKUPS, find), refusal)
}

type FindFailure = (message: OutgoingMessage, index: number) => Promise<BridgeError | undefined>

/** Answers what a message gave JetStream reason to refuse the batch for; undefined: nothing that can be found. */
function createFinder(
  jetstream: JetStream,
  messages: readonly OutgoingMessage[],
  refusal: BridgeError,
): FindFailure {
  switch (refusal.code) {
    case 'precondition_failed': {
      const bySubject = firstPlaces(messages, subjectOf)
      return async (message, index) =>
        writesBefore(message, index, bySubject)
          ? new BridgeError('precondition_failed', 'A message before it in the batch has the subject.')
          : await findCondition(jetstream, message, refusal)
    }
    case 'idempotency_conflict': {
      const byKey = firstPlaces(messages, keyOf)
      return async (message, index) => await findKey(jetstream, message, index, byKey)
    }
    case 'batch_incomplete':
    case 'subject_not_found':
    case 'payload_too_large': {
      const streamOf = createStreamFinder(jetstream)
      const findSize = createSizeFinder(jetstream, streamOf, messages)
      return async (message) =>
        (await findStream(streamOf, message, messages[0])) ?? (await findSize(message))
    }
    case 'refused_by_jetstream': {
      const findSetting = createSettingFinder(jetstream, createStreamFinder(jetstream))
      return async (message) =>
        EXPECTED_LAST_MSG_ID in message.headers ? refusal : await findSetting(message)
    }
    default:
      return async ({ headers }) => (EXPECTED_LAST_MSG_ID in headers ? refusal : undefined)
  }
}

const subjectOf = ({ subject }: OutgoingMessage) => subject

/** The first message of the batch with each subject, or key: to look for it from each message would take their square. */
type FirstPlaces = ReadonlyMap<string, number>

function firstPlaces(
  messages: readonly OutgoingMessage[],
  textOf: (message: OutgoingMessage) => string | undefined,
): FirstPlaces {
  const places = new Map<string, number>()
  for (const [index, message] of messages.entries()) {
    const text = textOf(message)
    if (text !== undefined && !places.has(text)) places.set(text, index)
  }
  return places
}

/** Whether a message asks for the last sequence of a subject that the batch itself changes before it. */
function writesBefore({ subject, headers }: OutgoingMessage, index: number, bySubject: FirstPlaces): boolean {
  if (!(EXPECTED_LAST_SUBJECT_SEQ in headers)) return false
  const asked = headers[EXPECTED_LAST_SUBJECT_SEQ_SUBJECT]?.[0] ?? subject
  return (bySubject.get(asked) ?? index) < index
}

async function findCondition(jetstream: JetStream, message: OutgoingMessage, refusal: BridgeError) {
  const { headers } = message
  const { current_stream } = refusal.members
  if (current_stream !== undefined) {
    const expected = headers[EXPECTED_STREAM]?.[0]
    return expected === undefined || expected === current_stream ? undefined : refusal
  }
  if (!(EXPECTED_LAST_SEQ in headers || EXPECTED_LAST_SUBJECT_SEQ in headers)) return undefined
  return await explainCondition(jetstream, message, new BridgeError('precondition_failed', refusal.message))
}

async function findKey(jetstream: JetStream, message: OutgoingMessage, index: number, byKey: FirstPlaces) {
  const key = keyOf(message)
  if (key === undefined) return undefined
  if ((byKey.get(key) ?? index) < index)
    return new BridgeError('idempotency_conflict', 'A message before it in the batch has the key.')
  const found = await findByKey(jetstream, message)
  return (
    found &&
    new BridgeError(
      'idempotency_conflict',
      `The key was used, at sequence ${found.seq} of stream "${found.stream}", and not in this batch.`,
    )
  )
}

type StreamOf = (subject: string) => Promise<string | undefined>

/**
 * Finds the stream of a subject, asked once. Where an account may map it, that takes a publish, which others on the subject
 * hear, and which nobody but they may answer: that is done for so many subjects of a batch alone.
 */
function createStreamFinder(jetstream: JetStream): StreamOf {
  const known = new Map<string, Promise<string | undefined>>()
  let looks = 0
  const find = async (subject: string) => {
    const listening = await ifPermitted(jetstream.streamOf(subject))
    if (listening !== undefined || looks === LOOKUPS) return listening
    looks += 1
    return (await ifPermitted(jetstream.lookUpSubject(subject)))?.stream
  }
  return async (subject) => {
    const finding = known.get(subject) ?? find(subject)
    known.set(subject, finding)
    return await finding
  }
}

/** Finds what is over the stream's own limit on a message; what JetStream counts of its headers is not known here. */
function createSizeFinder(jetstream: JetStream, streamOf: StreamOf, [first]: readonly OutgoingMessage[]) {
  let asking: Promise<number | undefined> | undefined
  return async ({ payload }: OutgoingMessage): Promise<BridgeError | undefined> => {
    if (first) asking ??= mostBytes(jetstream, streamOf, first)
    const most = await asking
    return most !== undefined && payload.length > most
      ? new BridgeError('payload_too_large', `The stream takes messages of ${most} bytes.`)
      : undefined
  }
}

async function mostBytes(jetstream: JetStream, streamOf: StreamOf, { subject }: OutgoingMessage) {
  const stream = await streamOf(subject)
  const info = stream === undefined ? undefined : await ifPermitted(jetstream.streamInfo(stream))
  const most = Number(info?.config.max_msg_size ?? -1)
  return most < 0 ? undefined : most
}

/** What a stream has to allow for a header of a message. */
const NEEDED: Readonly<Record<string, string>> = {
  [TTL]: 'allow_msg_ttl',
  [ROLLUP]: 'allow_rollup_hdrs',
  [INCR]: 'allow_msg_counter',
  [SCHEDULE]: 'allow_msg_schedules',
}

/** Finds what the stream of a message does not allow: JetStream says that of the batch as a whole, and not of which stream. */
function createSettingFinder(jetstream: JetStream, streamOf: StreamOf) {
  const known = new Map<string, Promise<StreamInfo | undefined>>()
  return async ({ subject, headers }: OutgoingMessage): Promise<BridgeError | undefined> => {
    const stream = await streamOf(subject)
    if (stream === undefined) return undefined
    const asking = known.get(stream) ?? ifPermitted(jetstream.streamInfo(stream))
    known.set(stream, asking)
    const info = await asking
    const needed = ['allow_atomic', ...Object.keys(headers).flatMap((name) => NEEDED[name] ?? [])]
    const missing = needed.find((setting) => info !== undefined && info.config[setting] !== true)
    return missing === undefined
      ? undefined
      : new BridgeError('refused_by_jetstream', `Stream "${stream}" needs "${missing}": true.`)
  }
}

async function findStream(streamOf: StreamOf, { subject }: OutgoingMessage, first = { subject }) {
  const [stream, ofFirst] = await Promise.all([subject, first.subject].map(streamOf))
  if (stream === undefined) return new BridgeError('subject_not_found', `No stream listens on "${subject}".`)
  if (ofFirst === undefined || stream === ofFirst) return undefined
  return new BridgeError(
    'batch_incomplete',
    `"${subject}" is of stream "${stream}", the batch of "${ofFirst}".`,
  )
}

/**
 * The batch where the stream has it already, one message after another; undefined: it has not, as far as can be told. A message
 * that is gone by now is told by its key, and one without a key by the others: each says where it was in which batch.
 */
async function findBatch(
  jetstream: JetStream,
  messages: readonly OutgoingMessage[],
): Promise<readonly PubAck[] | undefined> {
  const keyed = messages.findIndex((message) => keyOf(message) !== undefined)
  const message = messages[keyed]
  const found = message && (await findByKey(jetstream, message))
  if (!found) return undefined
  const acks = messages.map((_, index) => ({ ...found, seq: found.seq - keyed + index }))
  const [first = found, last = found] = [acks[0], acks.at(-1)]
  const end = (await ifPermitted(jetstream.streamInfo(found.stream)))?.state.last_seq
  if (first.seq < 1 || (end !== undefined && last.seq > end)) return undefined
  const isSame = createComparison(jetstream, found.stream)
  const places = await someAtOnce(messages, LOOKUPS, async (one, index): Promise<Place> => {
    const { stream, seq } = acks[index] ?? found
    const stored = await ifPermitted(jetstream.getMessage(stream, { seq }))
    if (stored) {
      if (!(await isSame(one, stored))) return 'another'
      return isInPlace(stored, index, messages.length) ? 'in_place' : 'its'
    }
    if (keyOf(one) === undefined) return 'untold'
    return index === keyed || (await findByKey(jetstream, one))?.seq === seq ? 'in_place' : 'another'
  })
  const isUntold = places.includes('untold') && places.includes('its')
  return places.includes('another') || isUntold ? undefined : acks
}

/**
 * Where a message of a batch would be: `in_place`: it is, or was, and nothing speaks against such a batch; `its`: it is, but was
 * not stored in such a batch; `untold`: what was there is gone, or may not be looked at.
 */
type Place = 'in_place' | 'its' | 'another' | 'untold'

/** Whether a message was stored at this place of a batch of so many messages. */
function isInPlace({ headers }: StoredMessage, index: number, count: number): boolean {
  const isCommit = headers[BATCH_COMMIT] !== undefined
  return headers[BATCH_SEQUENCE]?.[0] === String(index + 1) && isCommit === (index === count - 1)
}
