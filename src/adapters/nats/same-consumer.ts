/** Telling whether a consumer is still the one that delivered a message. */
import type { ConsumerInfo } from '../../jetstream.ts'
import { isSameCreation } from '../../schemas/time.ts'
import { parseAckSubject } from './ack-subject.ts'
import type { Connection } from './connection.ts'
import { getMessage } from './messages.ts'
import { serverInfo } from './server.ts'

/** Of a consumer when it delivered: its creation time, and the delivery's reply subject. */
export interface DeliveredBy {
  readonly created: string
  readonly replySubject: string
}

/**
 * `JetStream.isSameConsumer`. A single nats-server 2.10 says another creation time after it was restarted twice, with an
 * update between. There it is the same consumer where it was recovered from its store, not made since, which shows in that
 * it has delivered and cannot say when; where it has come as far as the delivery; and where its stream has the very message.
 */
export async function isSameConsumer(
  connection: Connection,
  info: ConsumerInfo,
  { created, replySubject }: DeliveredBy,
): Promise<boolean> {
  if (isSameCreation(info.created, created)) return true
  const delivery = parseAckSubject(replySubject)
  const { consumer_seq, stream_seq, last_active } = info.delivered
  const isRecovered = last_active === undefined && info.num_ack_pending > 0
  if (!delivery || !isRecovered || consumer_seq < delivery.consumerSeq || stream_seq < delivery.streamSeq)
    return false
  // From 2.11 on, and in a cluster, the time stays what it was.
  if (info.cluster !== undefined || (await serverInfo(connection)).apiLevel > 0) return false
  const message = await getMessage(connection, info.stream_name, { seq: delivery.streamSeq })
  return message?.time === delivery.time
}
