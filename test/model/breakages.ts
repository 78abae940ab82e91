/** Ways to break the bridge or its JetStream, each with what the oracle has to say of it. */
import type { Session } from '../../src/context.ts'
import type { JetStream, StreamInfo } from '../../src/jetstream.ts'
import type { SimulatedJetStream } from './simulated-jetstream.ts'
import type { Breakage } from './world.ts'

/** The simulated JetStream with some calls of its own. */
const instead = (calls: (jetstream: SimulatedJetStream) => Partial<JetStream>): Breakage => ({
  jetstream: (jetstream) => {
    const broken = calls(jetstream)
    return new Proxy(jetstream, {
      get: (target, name) => {
        const call = broken[name as keyof JetStream] ?? Reflect.get(target, name)
        return typeof call === 'function' ? call.bind(target) : call
      },
    })
  },
})

const withSession = (change: (session: Session) => Partial<Session>): Breakage => ({
  session: (session) => ({ ...session, ...change(session) }),
})

export const BREAKAGES: Readonly<Record<string, readonly [Breakage, RegExp]>> = {
  'a batch that leaves out a message': [
    instead((jetstream) => ({
      async getBatch(stream, request) {
        const { messages, numPending } = await jetstream.getBatch(stream, request)
        return { messages: messages.filter((_, index) => index !== 1), numPending }
      },
    })),
    /never heard of/,
  ],
  'a live feed that leaves out a message': [
    instead((jetstream) => ({
      follow: (stream, fromSeq, listener) =>
        jetstream.follow(stream, fromSeq, {
          ...listener,
          message: (message) => (message.seq % 3 === 0 ? undefined : listener.message(message)),
        }),
    })),
    /never heard of|does not come to the end/,
  ],
  'a publish that is confirmed and not stored': [
    instead((jetstream) => ({
      async publish(message) {
        const seq = (jetstream.streamNamed('S')?.lastSeq ?? 0) + 1
        return seq % 3 === 0 ? { stream: 'S', seq, duplicate: false } : await jetstream.publish(message)
      },
    })),
    /is not in the stream/,
  ],
  'a publish without a key that is tried again': [
    instead((jetstream) => ({
      publish: (message) => jetstream.publish(message).catch(() => jetstream.publish(message)),
    })),
    /was stored twice|was stored, though|against its condition/,
  ],
  'keys that are forgotten': [
    instead((jetstream) => ({
      publish: (message) => {
        jetstream.streamNamed('S')?.keys.clear()
        return jetstream.publish(message)
      },
    })),
    /The key .* was stored at/,
  ],
  'an ack that is answered and not sent': [
    instead(() => ({ settle: async () => undefined })),
    /delivered again after its ack|never came back/,
  ],
  'a message that is never delivered again': [
    instead((jetstream) => ({
      pull: async (...asked) =>
        (await jetstream.pull(...asked)).filter(({ deliveryCount }) => deliveryCount === 1),
    })),
    /never came back|never delivered|Nobody has/,
  ],
  'a stream that does not say that it was made again': [
    instead((jetstream) => ({
      async streamInfo(stream): Promise<StreamInfo> {
        const info = await jetstream.streamInfo(stream)
        return { ...info, created: jetstream.history[0]?.created ?? info.created }
      },
    })),
    /in a stream that is gone|what nobody published|was told/,
  ],
  'a pull that never ends': [
    instead(() => ({ pull: () => new Promise(() => undefined) })),
    /has no answer|never end/,
  ],
  'ack tokens without a deadline': [
    withSession(({ ackTokens }) => ({
      ackTokens: {
        ...ackTokens,
        open(token) {
          const claim = ackTokens.open(token)
          if (!claim) return undefined
          const { deliveredMs: _, renewedMs: __, ...rest } = claim
          return { ...rest, deadlineMs: Number.POSITIVE_INFINITY, endMs: Number.POSITIVE_INFINITY }
        },
      },
    })),
    /settled another's delivery/,
  ],
  'a failure without a documented code': [
    instead((jetstream) => ({
      streamInfo: (stream) => jetstream.streamInfo(stream).catch(() => Promise.reject(new Error('Oh.'))),
    })),
    /failed inside the bridge|was ended/,
  ],
  'a subscription that is left behind': [
    instead((jetstream) => ({
      follow: async (...asked) => {
        await jetstream.follow(...asked)
        return { stop: async () => undefined }
      },
    })),
    /subscriptions and .* are left/,
  ],
}
