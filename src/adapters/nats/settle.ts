/** Owns settling deliveries: one answer to JetStream, and its confirmation. */
import { BridgeError, refuse } from '../../errors.ts'
import type { AckAction } from '../../jetstream.ts'
import { msToNanos } from '../../schemas/time.ts'
import { parseAckSubject } from './ack-subject.ts'
import type { Connection } from './connection.ts'
import { NoResponders } from './errors.ts'
import { checkedSubject } from './names.ts'

const UTF8 = new TextEncoder()

function words(action: AckAction): string {
  switch (action.action) {
    case 'ack':
      return '+ACK'
    case 'nak':
      return action.delayMs === undefined
        ? '-NAK'
        : `-NAK ${JSON.stringify({ delay: msToNanos(action.delayMs) })}`
    case 'progress':
      return '+WPI'
    case 'term':
      return action.reason === undefined ? '+TERM' : `+TERM ${action.reason}`
  }
}

/** `JetStream.settle`. Throws `consumer_not_found`, and `jetstream_timeout` also for a delivery that never was. */
export async function settle(connection: Connection, replySubject: string, action: AckAction): Promise<void> {
  const subject = checkedSubject('reply', replySubject)
  if (!parseAckSubject(subject)) throw refuse('reply', 'is not the reply subject of a delivery')
  try {
    await connection.request({ subject, payload: UTF8.encode(words(action)) })
  } catch (err) {
    if (!(err instanceof NoResponders)) throw err
    throw new BridgeError('consumer_not_found', 'The consumer of this delivery is gone.', { cause: err })
  }
}
