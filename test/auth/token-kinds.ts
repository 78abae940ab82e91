/** The kinds of sealed tokens as the tests see them: what seals one, and what opens it. */
import { BridgeError } from '../../src/errors.ts'
import type { NatsCredential } from '../../src/jetstream.ts'
import type { Position } from '../../src/reading.ts'
import { createAckTokens, type DeliveryClaim } from '../../src/tokens/ack.ts'
import { createCursors } from '../../src/tokens/cursor.ts'
import { type Keyring, readKeyring } from '../../src/tokens/seal.ts'
import { createTickets, type Ticket } from '../../src/tokens/ticket.ts'
import golden from './golden.json' with { type: 'json' }

export const TENANT = 'golden-tenant'
export const STREAM = 'ORDERS'
export const GOLDEN_KEYS = readKeyring(golden.keys)

export const POSITION: Position = { seq: 42, created: '2026-11-20T10:00:00.5Z', time: '2026-11-20T10:00:01Z' }
export const CLAIM: DeliveryClaim = {
  stream: STREAM,
  consumer: 'billing',
  consumerCreated: '2026-11-20T10:00:00.5Z',
  deliveryCount: 1,
  replySubject: '$JS.ACK.ORDERS.billing.1.42.7.1795168800123456789.0',
  deadlineMs: 1_795_168_830_000,
}
const CREDENTIAL: NatsCredential = { kind: 'user', user: 'alice', password: 'alice-secret' }
export const TICKET: Ticket = {
  credential: CREDENTIAL,
  stream: STREAM,
  subjects: ['orders.eu.>'],
  consumer: '',
  start: 'new',
  cursor: '',
  openUntilMs: 1,
  validUntilMs: 2,
}

/** A kind of token: what seals one, and what opens it; undefined: it does not open. */
export interface Kind {
  readonly name: string
  seal(keyring: Keyring): string
  open(keyring: Keyring, token: string): unknown
}

/** A cursor that does not open throws; anything else than `cursor_invalid` would be a leak or a fault. */
function openCursor(keyring: Keyring, token: string): unknown {
  try {
    return createCursors(keyring, TENANT).scope(STREAM, []).open(token)
  } catch (failure) {
    if (failure instanceof BridgeError && failure.code === 'cursor_invalid') return undefined
    throw failure
  }
}

export const KINDS: readonly Kind[] = [
  {
    name: 'a cursor',
    seal: (keyring) => createCursors(keyring, TENANT).scope(STREAM, []).seal(POSITION),
    open: openCursor,
  },
  {
    name: 'a cursor of a run',
    seal: (keyring) => {
      const run = createCursors(keyring, TENANT).scope(STREAM, []).run(POSITION)
      return run.seal([{ seq: 43, time: '2026-11-20T10:00:02.5Z' }])[0] ?? ''
    },
    open: openCursor,
  },
  {
    name: 'an ack token',
    seal: (keyring) => createAckTokens(keyring, TENANT).seal(CLAIM),
    open: (keyring, token) => createAckTokens(keyring, TENANT).open(token),
  },
  {
    name: 'a ticket',
    seal: (keyring) => createTickets(keyring).seal(TICKET) ?? '',
    open: (keyring, token) => createTickets(keyring).open(token),
  },
]

/** A key for TOKEN_KEYS, the same for the same `fill`. */
export const key = (id: string, fill: number) => `${id}:${Buffer.alloc(32, fill).toString('base64url')}`
