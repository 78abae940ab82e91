/** Tickets: a short-lived right to read one stream from a browser, sealed with the credential it reads by. */
import type { NatsCredential } from '../jetstream.ts'
import { packFields, unpackFields } from './fields.ts'
import { createSealer, type Keyring, MAX_TOKEN_CHARS } from './seal.ts'

/** Version 1 of the fields below, in their order. */
const PURPOSE = 't1'
const FIELD_COUNT = 7

/** What a ticket opens, by whose credential, and until when (Unix milliseconds). */
export interface Ticket {
  readonly credential: NatsCredential
  readonly stream: string
  readonly subjects: readonly string[]
  /** Set: the ticket opens this durable consumer's messages instead of a read by cursor. */
  readonly consumer: string
  /** Where the first opening begins: a `start` or a cursor, as in the query. */
  readonly start: string
  readonly cursor: string
  readonly openUntilMs: number
  readonly validUntilMs: number
}

export interface Tickets {
  /** Undefined: it would be too long to be opened, as with many long filters. */
  seal(ticket: Ticket): string | undefined
  /** Undefined: forged or damaged. Its times are the caller's to check. */
  open(token: string): Ticket | undefined
}

/** Nearly every credential is shorter, so that nearly all tickets for the same thing are equally long. */
const CREDENTIAL_STEP_BYTES = 1_024

/** White space behind JSON means nothing: what is padded with it is read by every version. */
function padded(json: string): string {
  const missing = -Buffer.byteLength(json) % CREDENTIAL_STEP_BYTES
  return json + ' '.repeat(missing === 0 ? 0 : missing + CREDENTIAL_STEP_BYTES)
}

export function createTickets(keyring: Keyring): Tickets {
  const sealer = createSealer(keyring, PURPOSE, '')
  return {
    seal(ticket) {
      const fields = [
        padded(JSON.stringify(ticket.credential)),
        ticket.stream,
        JSON.stringify(ticket.subjects),
        ticket.consumer,
        ticket.start,
        ticket.cursor,
        `${ticket.openUntilMs} ${ticket.validUntilMs}`,
      ]
      if (fields.some((field) => field.length > MAX_TOKEN_CHARS)) return undefined
      const token = sealer.seal(packFields(fields))
      return token.length > MAX_TOKEN_CHARS ? undefined : token
    },
    open(token) {
      const packed = sealer.open(token)
      const fields = packed && unpackFields(packed, FIELD_COUNT)
      if (!fields) return undefined
      const [
        credential = '',
        stream = '',
        subjects = '',
        consumer = '',
        start = '',
        cursor = '',
        times = '',
      ] = fields
      const [openUntilMs = 0, validUntilMs = 0] = times.split(' ').map(Number)
      return {
        credential: JSON.parse(credential) as NatsCredential,
        stream,
        subjects: JSON.parse(subjects) as string[],
        consumer,
        start,
        cursor,
        openUntilMs,
        validUntilMs,
      }
    },
  }
}
