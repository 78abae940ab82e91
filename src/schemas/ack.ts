/** The wire form of acknowledgements. */

import { integer } from './names.ts'
import { problemSchema } from './problem.ts'
import * as z from './zod.ts'

/** Acknowledgements in one request. */
const MAX_ACKS = 1_000
/** The longest ack token that is looked at. */
const MAX_TOKEN_CHARS = 8_192
/** A day: what JetStream would take for a nak's delay beyond that is an error of the caller. */
const MAX_DELAY_MS = 24 * 60 * 60 * 1_000

const ackSchema = z
  .strictObject({
    token: z
      .string()
      .min(1)
      .max(MAX_TOKEN_CHARS)
      .openapi({ description: 'The `ack_token` of the delivery.' }),
    action: z.enum(['ack', 'nak', 'progress', 'term']).openapi({
      description:
        '`ack`: done. `nak`: deliver it again, at once where no delay is given, whatever `backoff_ms` its consumer has. `progress`: still at it, renew the deadline. `term`: never deliver it again.',
    }),
    delay_ms: integer(0, MAX_DELAY_MS)
      .optional()
      .openapi({ description: 'With `nak`: not before this has passed.' }),
    delay: z
      .literal('backoff')
      .optional()
      .openapi({
        description:
          "With `nak`, instead of `delay_ms`: as long as the consumer would wait for this delivery's ack, by its `backoff_ms` " +
          'or else its `ack_wait_ms`.',
      }),
    reason: z
      .string()
      .max(1_000)
      .refine((text) => !/\p{Cc}/u.test(text), 'must not hold control characters')
      .optional()
      .openapi({ description: "With `term`: why, for JetStream's advisory." }),
  })
  .refine((ack) => ack.delay_ms === undefined || ack.action === 'nak', {
    message: 'goes with nak alone',
    path: ['delay_ms'],
  })
  .refine((ack) => ack.delay === undefined || ack.action === 'nak', {
    message: 'goes with nak alone',
    path: ['delay'],
  })
  .refine((ack) => ack.delay === undefined || ack.delay_ms === undefined, {
    message: 'must not be given together with delay_ms',
    path: ['delay'],
  })
  .refine((ack) => ack.reason === undefined || ack.action === 'term', {
    message: 'goes with term alone',
    path: ['reason'],
  })
  .openapi('Ack', { description: 'What to do with one delivery.' })

export const acksSchema = z
  .strictObject({
    acks: z.array(ackSchema).min(1).max(MAX_ACKS).openapi({ description: 'Each is settled by itself.' }),
  })
  .openapi('Acks', { description: 'Deliveries to settle, of any streams and consumers.' })

export type Ack = z.output<typeof ackSchema>
type Acks = z.output<typeof acksSchema>

const ACTIONS: ReadonlySet<unknown> = new Set(ackSchema.shape.action.options)

/**
 * Whether a body is what `acksSchema` takes without a doubt: tokens and actions, and nothing else. The schema answers the
 * same at many times the cost, and is there for all that is not plain.
 */
export function isPlain(body: unknown): body is Acks {
  if (typeof body !== 'object' || body === null || !('acks' in body)) return false
  const { acks, ...rest } = body
  if (!Array.isArray(acks) || Object.keys(rest).length > 0) return false
  return acks.length > 0 && acks.length <= MAX_ACKS && acks.every(isPlainAck)
}

function isPlainAck(ack: unknown): boolean {
  if (typeof ack !== 'object' || ack === null || !('token' in ack) || !('action' in ack)) return false
  if (typeof ack.token !== 'string' || ack.token === '' || !ACTIONS.has(ack.action)) return false
  return Object.keys(ack).length === 2
}

const ackResultSchema = z
  .union([
    z
      .object({
        status: z.literal('ok').openapi({ description: 'The server has answered for it.' }),
        ack_token: z
          .string()
          .optional()
          .openapi({ description: 'With `progress`: the token with the renewed deadline.' }),
        ack_deadline: z.iso
          .datetime({ offset: true })
          .nullable()
          .optional()
          .openapi({ description: 'With `progress`: the renewed deadline.' }),
      })
      .openapi('AckOk', { description: 'The delivery is settled, or renewed.' }),
    z
      .object({
        status: z
          .literal('stale')
          .openapi({ description: "The delivery is no longer this client's to settle." }),
      })
      .openapi('AckStale', { description: 'Nothing was done: the delivery, or its consumer, is over.' }),
    z
      .object({ error: problemSchema })
      .openapi('AckError', { description: 'This one failed; the others did not.' }),
  ])
  .openapi('AckResult', { description: 'What became of one of the `acks`.' })

export type AckResult = z.output<typeof ackResultSchema>

export const ackResultsSchema = z
  .object({ results: z.array(ackResultSchema).openapi({ description: 'In the order of the request.' }) })
  .openapi('AckResults', { description: 'What became of each of the `acks`.' })
