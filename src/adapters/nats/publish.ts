/** Publishing: one message, one `PubAck`, and what a missing one means. */
import type { Msg, MsgHdrs, NatsConnection } from 'nats.ws'
import { BatchRefused, BridgeError } from '../../errors.ts'
import type { BatchAck, OutgoingMessage, PubAck, SubjectEnd } from '../../jetstream.ts'
import {
  BATCH_COMMIT,
  BATCH_SEQUENCE,
  EXPECTED_LAST_SUBJECT_SEQ,
  MSG_ID,
} from '../../schemas/nats-headers.ts'
import type { Connection } from './connection.ts'
import { type ApiError, fromApiError, fromClient, hasCode, NoResponders } from './errors.ts'
import { encodedBytes, encodeHeaders } from './headers.ts'
import type { NatsRequest } from './inbox.ts'
import { checkedSubject } from './names.ts'
import { streamOf } from './streams.ts'

interface PubAckReply {
  readonly stream?: string
  readonly seq?: number
  readonly duplicate?: boolean
  /** Of a counter. */
  readonly val?: string
  /** Of an atomic batch. */
  readonly count?: number
  readonly error?: ApiError
}

const unconfirmed = (hasKey: boolean, cause: unknown): BridgeError =>
  hasKey
    ? new BridgeError(
        'publish_unconfirmed_keyed',
        'JetStream did not confirm the message. Publish it again with the same key: it is stored once.',
        { cause },
      )
    : new BridgeError('publish_unconfirmed', 'JetStream did not confirm the message. It may be stored.', {
        cause,
      })

const noStream = (subject: string): BridgeError =>
  new BridgeError('subject_not_found', `No stream listens on "${subject}".`)

/** Nobody took the message: no stream has the subject, or its stream has no leader just now. */
async function explainNoResponders(
  connection: Connection,
  subject: string,
  cause: BridgeError,
): Promise<BridgeError> {
  try {
    return (await streamOf(connection, subject)) ? cause : noStream(subject)
  } catch (err) {
    // A credential that may publish need not be allowed to ask which streams there are.
    if (hasCode(err, 'forbidden')) return noStream(subject)
    // It says more than that nobody took the message, such as that JetStream is switched off.
    return hasCode(err, 'jetstream_unavailable') ? err : cause
  }
}

/** Which replies end the wait for one publish: a service on the subject may reply before JetStream does. */
type IsAnswer = (text: string, reply: PubAckReply) => boolean

/**
 * A message in the form that nats.ws sends, and JetStream's reply to it. What cannot be sent is refused here, before anything is.
 * A class, and one object for all of it, since nothing else is made as often.
 */
class Encoded implements NatsRequest {
  readonly subject: string
  readonly payload: Uint8Array
  readonly headers: MsgHdrs | undefined
  readonly hasKey: boolean
  readonly #isAnswer: IsAnswer
  answer: PubAckReply | undefined
  /** Whether somebody else replied. */
  hasOther = false

  constructor({ subject, payload, headers }: OutgoingMessage, isAnswer: IsAnswer = isPubAck) {
    this.subject = checkedSubject('subject', subject)
    this.payload = payload
    this.headers = encodeHeaders(headers)
    this.hasKey = MSG_ID in headers
    this.#isAnswer = isAnswer
  }

  accepts({ data }: Msg): boolean {
    const text = DECODER.decode(data)
    const reply = parsePubAck(text)
    if (this.#isAnswer(text, reply)) this.answer = reply
    else this.hasOther = true
    return this.answer !== undefined
  }
}

async function send(connection: Connection, client: NatsConnection, message: Encoded): Promise<PubAckReply> {
  try {
    await connection.request(message, client)
    return message.answer ?? {}
  } catch (err) {
    if (err instanceof NoResponders) throw await explainNoResponders(connection, message.subject, err)
    if (message.hasOther && hasCode(err, 'jetstream_timeout'))
      throw await explainOther(connection, message, err)
    if (hasCode(err, 'jetstream_timeout', 'jetstream_unavailable')) throw unconfirmed(message.hasKey, err)
    throw err
  }
}

/** Somebody replied, and it was not JetStream: no stream has the subject, or its confirmation is lost. */
async function explainOther(
  connection: Connection,
  { subject, hasKey }: Encoded,
  cause: BridgeError,
): Promise<BridgeError> {
  const isHeard = await streamOf(connection, subject).catch(() => subject)
  return isHeard === undefined ? noStream(subject) : unconfirmed(hasKey, cause)
}

const DECODER = new TextDecoder()

function parsePubAck(text: string): PubAckReply {
  try {
    const reply: unknown = JSON.parse(text)
    return typeof reply === 'object' && reply !== null ? reply : {}
  } catch {
    return {}
  }
}

/** Whether a reply is of JetStream: stored at a sequence, or an error with a number of JetStream's. */
const isPubAck: IsAnswer = (_, { stream, seq, error }) =>
  (typeof stream === 'string' && typeof seq === 'number') || typeof error?.err_code === 'number'

/** The beginning of a batch is confirmed by an empty reply. */
const isBatchBegun: IsAnswer = (text, reply) => text === '' || isPubAck(text, reply)

/** `JetStream.publish`. */
export async function publish(connection: Connection, message: OutgoingMessage): Promise<PubAck> {
  const encoded = new Encoded(message)
  const client = await connection.client()
  const { stream, seq, duplicate = false, val, error } = await send(connection, client, encoded)
  if (error) throw fromApiError(error, stream)
  if (stream === undefined || seq === undefined) throw noStream(message.subject)
  requireExact(seq)
  return val === undefined ? { stream, seq, duplicate } : { stream, seq, duplicate, val }
}

/** Never holds, and is looked at once the subject is the stored one. */
const NEVER = { [EXPECTED_LAST_SUBJECT_SEQ]: [String(Number.MAX_SAFE_INTEGER)] }

/** `JetStream.lookUpSubject`. */
export async function lookUpSubject(
  connection: Connection,
  subject: string,
): Promise<SubjectEnd | undefined> {
  const encoded = new Encoded({ subject, payload: new Uint8Array(), headers: NEVER })
  try {
    const { stream, error } = await send(connection, await connection.client(), encoded)
    if (stream === undefined) return undefined
    const told = error && fromApiError(error).members.current_seq
    return { stream, lastSeq: typeof told === 'number' ? told : undefined }
  } catch (err) {
    if (hasCode(err, 'subject_not_found')) return undefined
    throw err
  }
}

/**
 * `JetStream.publishAtomic`: what is not confirmed may be stored, as a whole. Nothing is sent unless all of it can be: a
 * batch that stops midway would stay open at the server.
 */
export async function publishAtomic(
  connection: Connection,
  messages: readonly OutgoingMessage[],
): Promise<BatchAck> {
  const batchId = crypto.randomUUID()
  const [first, ...others] = messages.map((message, index) => {
    const isLast = index + 1 === messages.length
    const isBegin = index === 0 && !isLast
    const placed = inBatch(message, batchId, { seq: index + 1, isLast })
    return new Encoded(placed, isBegin ? isBatchBegun : isPubAck)
  })
  if (!first) throw new Error('An empty batch.')
  const client = await connection.client()
  requireSendable([first, ...others], client.info?.max_payload ?? Number.POSITIVE_INFINITY)
  const last = others.pop()
  const begun = send(connection, client, first)
  // Whatever else fails first, nobody is left who hears of this one.
  begun.catch(() => undefined)
  try {
    for (const message of others) sendUnanswered(client, message)
  } catch (err) {
    abandon(client, first, batchId)
    throw fromClient(err, client.isClosed())
  }
  const ended = last ? send(connection, client, last) : begun
  const [beginning, end] = await Promise.allSettled([begun, ended])
  if (end.status === 'rejected' || end.value.error) abandon(client, first, batchId)
  // A refusal of the first message tells why; the last one hears only that the batch is not whole.
  if (last && beginning.status === 'fulfilled' && beginning.value.error)
    throw fromApiError(beginning.value.error, beginning.value.stream)
  if (end.status === 'rejected') throw end.reason
  const { stream, seq, count, error } = end.value
  if (error) throw fromApiError(error, stream)
  if (stream === undefined || seq === undefined) throw noStream(first.subject)
  requireExact(seq)
  return { stream, lastSeq: seq, count: count ?? messages.length }
}

/** The server counts headers and payload, and closes the connection over one that is too large. */
function requireSendable(messages: readonly Encoded[], maxBytes: number): void {
  const own = messages.map(({ payload, headers }) => {
    const bytes = payload.length + encodedBytes(headers)
    return bytes > maxBytes
      ? new BridgeError(
          'payload_too_large',
          `The message has ${bytes} bytes with its headers, those of the batch among them; the NATS server takes ${maxBytes}.`,
        )
      : undefined
  })
  const refusal = own.find((failure) => failure !== undefined)
  if (refusal) throw new BatchRefused(own, refusal)
}

/** Of what is not the first or the last of a batch, the server says nothing that the last one would not hear too. */
function sendUnanswered(client: NatsConnection, { subject, payload, headers }: Encoded): void {
  client.publish(subject, payload, headers ? { headers } : {})
}

/** Sequences end at JetStream's limit on a batch, far below this one. */
const NO_SEQUENCE = '4294967295'

/** Throws `publish_unconfirmed` where the message is stored and cannot be told of: its sequence would be another's. */
function requireExact(seq: number): void {
  if (seq < Number.MAX_SAFE_INTEGER) return
  const detail = 'It is stored, at a sequence beyond 9007199254740990, which JSON cannot carry exactly.'
  throw new BridgeError('publish_unconfirmed', detail)
}

/** JetStream holds what has come of a batch for ten seconds, and of few batches at once; a wrong sequence ends it now. */
function abandon(client: NatsConnection, { subject }: Encoded, batchId: string): void {
  if (client.isClosed() || client.isDraining()) return
  const headers = encodeHeaders({ 'Nats-Batch-Id': [batchId], [BATCH_SEQUENCE]: [NO_SEQUENCE] })
  client.publish(subject, undefined, headers ? { headers } : {})
}

function inBatch(
  message: OutgoingMessage,
  batchId: string,
  { seq, isLast }: { readonly seq: number; readonly isLast: boolean },
): OutgoingMessage {
  const place = { 'Nats-Batch-Id': [batchId], [BATCH_SEQUENCE]: [String(seq)] }
  const commit = isLast ? { [BATCH_COMMIT]: ['1'] } : {}
  return { ...message, headers: { ...message.headers, ...place, ...commit } }
}
