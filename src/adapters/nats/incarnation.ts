/** Knowing whether a stream is still the one that is being followed. */
import type { NatsConnection } from 'nats.ws'
import { BridgeError } from '../../errors.ts'
import type { StreamInfo } from '../../jetstream.ts'
import type { Connection } from './connection.ts'
import { hasCode, unavailable } from './errors.ts'
import { streamInfo } from './streams.ts'

/** Where a stream is followed from, over which connection. */
interface Place {
  readonly stream: string
  readonly nextSeq: number
  readonly client: NatsConnection
}

export class Incarnation {
  #created: string | undefined

  /**
   * Throws `stream_recreated` where the stream was made anew, which would go on with other messages, and
   * `jetstream_unavailable` where it has lost what was read of it: readers then find out where each of them stands.
   */
  async check(connection: Connection, place: Place): Promise<void> {
    const info = await infoOf(connection, place)
    if (!info) return
    this.#created ??= info.created
    if (info.created !== this.#created)
      throw new BridgeError('stream_recreated', 'The stream was deleted and made again.')
    if (info.state.last_seq < place.nextSeq - 1) throw unavailable()
  }
}

async function infoOf(connection: Connection, { stream, client }: Place): Promise<StreamInfo | undefined> {
  try {
    return await streamInfo(connection, stream, client)
  } catch (err) {
    // A credential may be allowed to read a stream and not to ask about it.
    if (hasCode(err, 'forbidden')) return undefined
    throw err
  }
}
