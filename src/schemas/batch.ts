/** The wire form of publishes of many messages: the batch, its results, and their lines. */
import { type Problem, toProblem } from '../errors.ts'
import type { PubAck } from '../jetstream.ts'
import { integer } from './names.ts'
import { outgoingSchema } from './outgoing.ts'
import { problemSchema } from './problem.ts'
import { encodeStored, storedShape } from './publish.ts'
import * as z from './zod.ts'

/** Messages of one batch; an atomic one has JetStream's own limit besides, by default 1,000. */
export const MAX_BATCH_MESSAGES = 10_000

const index = integer(0).openapi({ description: 'Which message of the request this is about, from 0.' })

/** The batch as the contract has it. */
export const batchSchema = z
  .strictObject({
    messages: z
      .array(outgoingSchema)
      .min(1)
      .max(MAX_BATCH_MESSAGES)
      .openapi({ description: 'Published in this order.' }),
    atomic: z.boolean().default(false).openapi({
      description: 'Stored as a whole or not at all, in a stream with `allow_atomic`; NATS 2.12.',
    }),
  })
  .openapi('Batch', { description: 'Messages to be published.' })

/** The batch as it is read: what is wrong with one message is told of that one. */
export const looseBatchSchema = batchSchema.extend({
  messages: z.array(z.unknown()).min(1).max(MAX_BATCH_MESSAGES),
})

const storedResultSchema = z
  .object({ index, ...storedShape })
  .openapi('MessageStored', { description: 'The message is stored.' })
const failedResultSchema = z
  .object({ index, error: problemSchema })
  .openapi('MessageFailed', { description: 'This message failed; others need not have.' })

const resultSchema = z
  .union([storedResultSchema, failedResultSchema])
  .openapi('PublishResult', { description: 'What became of one message.' })

export const resultsSchema = z
  .object({ results: z.array(resultSchema).openapi({ description: 'In the order of the request.' }) })
  .openapi('PublishResults', { description: 'What became of each message.' })

export const resultLineSchema = z
  .union([
    storedResultSchema,
    failedResultSchema,
    z.object({ error: problemSchema }).openapi('PublishEnd', {
      description:
        'The last line of a request that could not go on: messages without a line before it were not sent.',
    }),
  ])
  .openapi('PublishResultLine', { description: 'One line of newline-delimited JSON.' })

/** Writes the result of a message that is stored. */
export function encodeStoredResult(
  index: number,
  ack: PubAck,
  duplicateWindowMs: number | undefined,
): string {
  return `{"index":${index},${encodeStored(ack, duplicateWindowMs)}}`
}

/** Writes the result of a message that is not, or may not be. */
export function encodeFailedResult(index: number, failure: unknown, requestId: string): string {
  return `{"index":${index},"error":${JSON.stringify(toProblem(failure, requestId))}}`
}

/** What a problem says of each message of an atomic batch. */
export function failedResults(
  failures: readonly unknown[],
  requestId: string,
): readonly { readonly index: number; readonly error: Problem }[] {
  return failures.map((failure, at) => ({ index: at, error: toProblem(failure, requestId) }))
}
