/** Which feeds there are: one for each stream that is read live over a connection, whoever reads it. */
import { BridgeError } from '../errors.ts'
import type { JetStream } from '../jetstream.ts'
import type { Wants } from './channel.ts'
import { type Feed, type FeedOptions, openFeed } from './feed.ts'
import type { Seat } from './seat.ts'

export interface Feeds {
  /** Has the stream be followed, for readers that are to come. Throws what stops a subscription, such as `forbidden`. */
  open(stream: string): Promise<void>
  /**
   * A seat for a reader that has read up to `afterSeq`. Throws `stream_not_found` and what else stops a subscription.
   */
  join(stream: string, wants: Wants, afterSeq: number): Promise<Seat>
  close(): Promise<void>
}

/** The feeds of one connection. */
export function createFeeds(jetstream: JetStream, options: FeedOptions): Feeds {
  const feeds = new Map<string, Promise<Feed>>()

  const open = (stream: string): Promise<Feed> => {
    // Once it has ended or failed, another may have taken its place already, and stays.
    const forget = () => {
      if (feeds.get(stream) === opening) feeds.delete(stream)
    }
    const opening = openFeed(jetstream, stream, { ...options, closed: forget })
    feeds.set(stream, opening)
    opening.catch(forget)
    return opening
  }

  return {
    async open(stream) {
      await (feeds.get(stream) ?? open(stream))
    },
    async join(stream, wants, afterSeq) {
      const current = () => feeds.get(stream) ?? open(stream)
      const feed = await current()
      // One that has ended is not in its place any more: all who find that meet at the next one.
      return feed.join(wants, afterSeq) ?? (await current()).join(wants, afterSeq) ?? failToJoin(stream)
    },
    async close() {
      const all = await Promise.allSettled(feeds.values())
      await Promise.allSettled(
        all.map((feed) => (feed.status === 'fulfilled' ? feed.value.end(undefined) : undefined)),
      )
    },
  }
}

function failToJoin(stream: string): never {
  throw new BridgeError('jetstream_unavailable', `Stream "${stream}" cannot be followed right now.`)
}

const OF_THE_STREAM: ReadonlySet<unknown> = new Set(['stream_not_found', 'stream_recreated'])

/** Whether a feed ended with its stream. What that means to a reader its history tells, with a cursor to go on from. */
export const isOfStream = (failure: unknown): boolean =>
  failure instanceof BridgeError && OF_THE_STREAM.has(failure.code)
