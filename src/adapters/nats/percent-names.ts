/** The refusal of names that the connected server does not serve. */
import { hasPercent, percentFault } from '../../schemas/percent-names.ts'
import type { Connection } from './connection.ts'
import { serverInfo } from './server.ts'

/** Throws `invalid_request` where the server has a fault with `%` in one of these names. */
export async function checkPercent(connection: Connection, stream: string, consumer = ''): Promise<void> {
  if (!hasPercent(stream, consumer)) return
  const fault = percentFault((await serverInfo(connection)).version, stream, consumer)
  if (fault) throw fault
}
