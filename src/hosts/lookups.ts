/** Lookups of single messages over one connection: few at once where they are large, since each comes whole. */
import { BridgeError } from '../errors.ts'
import type { JetStream } from '../jetstream.ts'
import { heldBytes } from '../message-size.ts'
import type { StartTimer } from '../timers.ts'

type GetMessage = JetStream['getMessage']

/** What all lookups that are under way may bring, bytes. */
const BUDGET_BYTES = 16_777_216
/** A message is there as the connection brought it, in base64, and as it is. */
const COPIES = 4
/** What a lookup is taken for at least, since the next message may be larger; and where nothing is known of its stream. */
const LEAST_BYTES = 524_288
const UNKNOWN_BYTES = 1_048_576
/** Streams of which it is known how large their messages are. */
const MAX_KNOWN = 1_000
/** What was learned of a stream's messages is forgotten by so much with each lookup. */
const FORGETTING = 0.9

interface LookupParts {
  readonly startTimer: StartTimer
  /** How long a lookup waits for its turn, ms. */
  readonly waitMs: number
}

/** `getMessage`, each call in its turn. Throws `jetstream_timeout` where none comes. */
export function lookUpInTurn(getMessage: GetMessage, { startTimer, waitMs }: LookupParts): GetMessage {
  const known = new Map<string, number>()
  const line = new Set<{ readonly bytes: number; begin(): void }>()
  let underWay = 0

  const expected = (stream: string) =>
    Math.min(BUDGET_BYTES, Math.max(LEAST_BYTES, known.get(stream) ?? UNKNOWN_BYTES))
  const hasRoom = (bytes: number) => underWay === 0 || underWay + bytes <= BUDGET_BYTES
  const learn = (stream: string, bytes: number) => {
    if (known.size >= MAX_KNOWN && !known.has(stream)) known.clear()
    known.set(stream, Math.max(COPIES * bytes, (known.get(stream) ?? 0) * FORGETTING))
  }
  const turn = (bytes: number) =>
    new Promise<void>((resolve, reject) => {
      const waiting = {
        bytes,
        begin() {
          stop()
          line.delete(waiting)
          underWay += bytes
          resolve()
        },
      }
      const stop = startTimer(() => {
        line.delete(waiting)
        reject(new BridgeError('jetstream_timeout', 'Too many messages are looked up at once.'))
      }, waitMs)
      line.add(waiting)
    })
  const leave = (bytes: number) => {
    underWay -= bytes
    for (const waiting of line) {
      if (!hasRoom(waiting.bytes)) return
      waiting.begin()
    }
  }

  return async (stream, lookup) => {
    const bytes = expected(stream)
    if (line.size === 0 && hasRoom(bytes)) underWay += bytes
    else await turn(bytes)
    try {
      const message = await getMessage(stream, lookup)
      if (message) learn(stream, heldBytes([message]))
      return message
    } finally {
      leave(bytes)
    }
  }
}
