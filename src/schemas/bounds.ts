/** Bounds that schemas share. What has too many members is refused before any of them is looked at. */
import * as z from './zod.ts'

/** A text that people read, or one that JetStream looks at by itself. */
export const MAX_TEXT_CHARS = 4_096
/** A header of a request that is passed on as it is. */
export const MAX_PASSED_CHARS = 8_192
/** NATS's own bound on `max_payload`: the server's setting holds besides. */
const MAX_PAYLOAD_BYTES = 64 * 1_024 * 1_024
/** The longest text that the JSON of a payload can be; base64 has four characters for three bytes. */
export const MAX_PAYLOAD_CHARS = Math.ceil((MAX_PAYLOAD_BYTES * 4) / 3)
/** JetStream counts nanoseconds in 64 bits: 292 years. */
export const MAX_DURATION_MS = 9_223_372_036_854

/** Subjects of one stream, or filters of one consumer: JetStream has no bound of its own. */
export const MAX_SUBJECTS = 1_000

export const shortText = z.string().max(MAX_TEXT_CHARS)

interface RecordBounds {
  readonly members: number
  readonly nameChars: number
}

/** A record of values by names. zod's own would look at each member first, and lose one that is named `__proto__`. */
export function boundedRecord<Value extends z.ZodType>(value: Value, { members, nameChars }: RecordBounds) {
  const names = z.string().min(1).max(nameChars)
  return z
    .preprocess(
      (said, context) => {
        const fault = recordFault(said, members)
        if (fault === undefined) return said
        context.addIssue({ code: 'custom', ...fault })
        return z.NEVER
      },
      z.record(names, value),
    )
    .openapi({ maxProperties: members })
}

function recordFault(said: unknown, members: number): { message: string; path?: string[] } | undefined {
  if (typeof said !== 'object' || said === null) return undefined
  if (Object.hasOwn(said, '__proto__'))
    return { message: 'is not a name that can be kept', path: ['__proto__'] }
  let count = 0
  for (const _ in said) {
    count += 1
    if (count > members) return { message: `must have at most ${members} members` }
  }
  return undefined
}

/** JetStream's bound on the metadata of a stream or consumer, over all of it. */
const MAX_METADATA_CHARS = 131_072
const MAX_METADATA_MEMBERS = 1_000

/** What else is to be known of a stream or consumer. */
export const metadata = boundedRecord(z.string().max(MAX_METADATA_CHARS), {
  members: MAX_METADATA_MEMBERS,
  nameChars: MAX_METADATA_CHARS,
})
