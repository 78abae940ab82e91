/** Owns publishing: one message, one `PubAck`, and what a missing one means. */
import type { NatsConnection } from 'nats.ws'
import { BridgeError } from '../../errors.ts'
import type { MessageHeaders, OutgoingMessage, PubAck } from '../../jetstream.ts'
import type { Connection } from './connection.ts'
import { type ApiError, fromApiError, hasCode, NoResponders } from './errors.ts'
import { encodeHeaders } from './headers.ts'
import { checkedSubject } from './names.ts'
import { streamOf } from './streams.ts'

interface PubAckReply {
  readonly stream?: string
  readonly seq?: number
  readonly duplicate?: boolean
  readonly error?: ApiError
}

const hasMessageId = (headers: MessageHeaders): boolean =>
  Object.keys(headers).some((name) => name === 'Nats-Msg-Id')

const unconfirmed = (headers: MessageHeaders, cause: unknown): BridgeError =>
  hasMessageId(headers)
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
    return hasCode(err, 'forbidden') ? noStream(subject) : cause
  }
}

async function send(
  connection: Connection,
  client: NatsConnection,
  message: OutgoingMessage,
): Promise<PubAckReply> {
  const { subject, payload, headers } = message
  try {
    const reply = await connection.request({ subject, payload, headers: encodeHeaders(headers) }, client)
    return parsePubAck(reply.string())
  } catch (err) {
    if (err instanceof NoResponders) throw await explainNoResponders(connection, subject, err)
    if (hasCode(err, 'jetstream_timeout', 'jetstream_unavailable')) throw unconfirmed(headers, err)
    throw err
  }
}

function parsePubAck(text: string): PubAckReply {
  try {
    const reply: unknown = JSON.parse(text)
    return typeof reply === 'object' && reply !== null ? reply : {}
  } catch {
    return {}
  }
}

/**
 * `JetStream.publish`. A reply that is no `PubAck` came from somebody else who listens on a subject that no stream has:
 * `subject_not_found`.
 */
export async function publish(connection: Connection, message: OutgoingMessage): Promise<PubAck> {
  const subject = checkedSubject('subject', message.subject)
  const client = await connection.client()
  const { stream, seq, duplicate = false, error } = await send(connection, client, message)
  if (error) throw fromApiError(error)
  if (stream === undefined || seq === undefined) throw noStream(subject)
  return { stream, seq, duplicate }
}
