/** The JetStream API: one JSON request, one JSON reply, its error translated. */
import type { Msg, NatsConnection } from 'nats.ws'
import type { Connection } from './connection.ts'
import { type ApiError, fromApiError, NoResponders, switchedOff } from './errors.ts'

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
  const reply = (await requestApi(connection, path, body, client)).json<Reply & { error?: ApiError }>()
  if (reply.error) throw fromApiError(reply.error)
  return reply
}

/** As `callApi`, but the reply as it came. */
export async function requestApi(
  connection: Connection,
  path: string,
  body?: object,
  client?: NatsConnection,
): Promise<Msg> {
  const payload = body && encodeJson(body)
  const link = client ?? (await connection.client())
  const request = { subject: PREFIX + path, ...(payload ? { payload } : {}) }
  return await connection.request(request, link).catch((failure: unknown) => {
    // A server of a cluster may have none itself and still pass requests on: the silence comes first.
    throw failure instanceof NoResponders && link.info?.jetstream !== true ? switchedOff(failure) : failure
  })
}
