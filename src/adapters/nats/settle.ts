/** Settling deliveries: one answer to JetStream, and its confirmation. */
import { BridgeError, refuse } from '../../errors.ts'
import type { AckAction } from '../../jetstream.ts'
import { msToNanos } from '../../schemas/time.ts'
import { isAckSubject } from './ack-subject.ts'
import type { Connection } from './connection.ts'
import { NoResponders } from './errors.ts'
import { checkedSubject } from './names.ts'

const UTF8 = new TextEncoder()
const ACK = UTF8.encode('+ACK')
const NAK = UTF8.encode('-NAK')
const PROGRESS = UTF8.encode('+WPI')
const TERM = UTF8.encode('+TERM')

function payloadOf(action: AckAction): Uint8Array {
  switch (action.action) {
    case 'ack':
      return ACK
    case 'nak':
      return action.delayMs === undefined
        ? NAK
        : UTF8.encode(`-NAK ${JSON.stringify({ delay: msToNanos(action.delayMs) })}`)
    case 'progress':
      return PROGRESS
    case 'term':
      return action.reason === undefined ? TERM : UTF8.encode(`+TERM ${action.reason}`)
  }
}

/** `JetStream.settle`. Throws `consumer_not_found`, and `jetstream_timeout` also for a delivery that never was. */
export async function settle(connection: Connection, replySubject: string, action: AckAction): Promise<void> {
  const subject = checkedSubject('reply', replySubject)
  if (!isAckSubject(subject)) throw refuse('reply', 'is not the reply subject of a delivery')
  try {
    await connection.request({ subject, payload: payloadOf(action) })
  } catch (err) {
    if (!(err instanceof NoResponders)) throw err
    throw new BridgeError('consumer_not_found', 'The consumer of this delivery is gone.', { cause: err })
  }
}
