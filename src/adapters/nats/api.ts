/** Owns the JetStream API: one JSON request, one JSON reply, its error translated. */
import type { NatsConnection } from 'nats.ws'
import type { Connection } from './connection.ts'
import { type ApiError, fromApiError } from './errors.ts'

const PREFIX = '$JS.API.'
const UTF8 = new TextEncoder()

export const encodeJson = (body: object): Uint8Array => UTF8.encode(JSON.stringify(body))

/**
 * Asks the JetStream API. `path` is what follows `$JS.API.` in the subject, `body` is left out where it is undefined.
 * The reply's shape is JetStream's promise for that subject and is not checked again.
 */
export async function callApi<Reply extends object>(
  connection: Connection,
  path: string,
  body?: object,
  client?: NatsConnection,
): Promise<Reply> {
  const payload = body && encodeJson(body)
  const message = await connection.request(
    { subject: PREFIX + path, ...(payload ? { payload } : {}) },
    client,
  )
  const reply = message.json<Reply & { error?: ApiError }>()
  if (reply.error) throw fromApiError(reply.error)
  return reply
}
