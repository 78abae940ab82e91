/** What one tenant tries with what it knows of another: every operation, with every name and token. */
import { OPERATIONS, type Operation, pathOf } from './operations.ts'
import { type Asked, asking, JSON_TYPE, type Tenant, type Tokens } from './tenant-fleet.ts'

export interface Victim {
  readonly tenant: Tenant
  readonly tokens: Tokens
}

export interface Try extends Asked {
  readonly operation: string
}

const EVENTS = { Accept: 'text/event-stream' }
const LINES = { Accept: 'application/x-ndjson' }

/** What of an operation is made with a body, by its `operationId`. */
function bodiesOf({ tenant, tokens }: Victim): Readonly<Record<string, readonly object[]>> {
  const { stream, subject, consumer } = tenant
  const message = { subject, data: 'from another' }
  return {
    createStream: [
      { name: stream, subjects: [`${stream}.>`], storage: 'memory' },
      { name: `${stream}-copy`, subjects: [`${stream}.known`], storage: 'memory' },
    ],
    updateStream: [{ subjects: [`${stream}.>`], storage: 'memory' }],
    purgeStream: [{}, { keep: 0 }],
    putConsumer: [{}, { filter_subjects: [subject] }, { cursor: tokens.cursors[0] }],
    pauseConsumer: [{ pause_until: '2099-01-01T00:00:00Z' }],
    resetConsumer: [{}, { seq: 1 }],
    pullMessages: [{ batch: 10 }],
    settleDeliveries: (['ack', 'nak', 'progress', 'term'] as const).map((action) => ({
      acks: tokens.acks.map((token) => ({ token, action })),
    })),
    createTicket: [{ stream }, { stream, cursor: tokens.cursors[0] }, { stream, consumer }],
    publishMessages: [{ messages: [message] }, { messages: [message, message], atomic: true }],
  }
}

/** Queries that an operation is also asked with. */
function queriesOf({ id }: Operation, { tenant, tokens }: Victim): readonly string[] {
  if (id === 'readMessages')
    return [
      '',
      '?subject=%3E',
      '?start=last',
      '?start=tail:5',
      '?payload=base64',
      ...tokens.cursors.map(cursorQuery),
    ]
  if (id === 'getLastMessage') return [`?subject=${tenant.subject}`, '?subject=%3E']
  return ['']
}

const cursorQuery = (cursor: string) => `?cursor=${encodeURIComponent(cursor)}`
const ticketQuery = (ticket: string) => `?ticket=${encodeURIComponent(ticket)}`

/** Every operation of the contract on what is the victim's. */
export function triesAt(victim: Victim): Try[] {
  const bodies = bodiesOf(victim)
  return OPERATIONS.flatMap((operation) => {
    const path = pathOf(operation, { ...victim.tenant, seq: 1 })
    const tries = queriesOf(operation, victim).flatMap((query) =>
      (bodies[operation.id] ?? [undefined]).map((body) => asking(operation.method, path + query, body)),
    )
    return [...tries, ...specialTries(operation, path, victim)].map((one) => ({
      ...one,
      operation: operation.id,
    }))
  })
}

function specialTries({ id }: Operation, path: string, { tenant, tokens }: Victim): Asked[] {
  const events = (query: string, headers = {}) =>
    asking('GET', path + query, undefined, { ...EVENTS, ...headers })
  switch (id) {
    case 'readMessages':
      return [
        asking('GET', path, undefined, LINES),
        events('?start=beginning'),
        ...tokens.cursors.slice(0, 2).map((cursor) => events('', { 'Last-Event-ID': cursor })),
      ]
    case 'pushMessages':
      return [events('')]
    case 'publishMessage':
      return [
        {
          method: 'POST',
          path,
          body: 'from another',
          headers: { 'Idempotency-Key': `${tenant.key} ${tenant.subject}` },
        },
      ]
    case 'publishMessages':
      return [
        {
          method: 'POST',
          path,
          body: `${JSON.stringify({ subject: tenant.subject, data: 'from another', id: tenant.key })}\n`,
          headers: { 'Content-Type': 'application/x-ndjson' },
        },
        {
          method: 'POST',
          path: `${path}?subject=${tenant.subject}`,
          body: JSON.stringify({
            specversion: '1.0',
            id: '1',
            source: '/x',
            type: 't',
            data: 'from another',
          }),
          headers: { 'Content-Type': 'application/cloudevents+json' },
        },
      ]
    default:
      return []
  }
}

/** The victim's tokens on what is the attacker's own, and its tickets wherever they do not open. */
export function triesAtHome(attacker: Tenant, { tokens, tenant }: Victim): Try[] {
  const own = `/v1/streams/${attacker.stream}`
  const named = (operation: string, asked: Asked): Try => ({ ...asked, operation })
  return [
    ...tokens.cursors.flatMap((cursor) => [
      named('readMessages', asking('GET', `${own}/messages${cursorQuery(cursor)}`)),
      named(
        'readMessages',
        asking('GET', `${own}/messages`, undefined, { ...EVENTS, 'Last-Event-ID': cursor }),
      ),
      named('putConsumer', asking('PUT', `${own}/consumers/from-cursor`, { cursor })),
      named('createTicket', asking('POST', '/v1/tickets', { stream: attacker.stream, cursor })),
    ]),
    // A ticket is a right to bear: it opens what it says for whoever has it, and nothing else.
    ...tokens.tickets.flatMap((ticket) => [
      named('readMessages', asking('GET', `${own}/messages${ticketQuery(ticket)}`, undefined, EVENTS)),
      named(
        'pushMessages',
        asking('GET', `${own}/consumers/worker/messages${ticketQuery(ticket)}`, undefined, EVENTS),
      ),
      ...['', '/consumers', '/subjects', '/messages/1', '/messages/last'].map((path) =>
        named('getStream', asking('GET', `/v1/streams/${tenant.stream}${path}${ticketQuery(ticket)}`)),
      ),
      named('listStreams', asking('GET', `/v1/streams${ticketQuery(ticket)}`)),
    ]),
    named('settleDeliveries', {
      ...asking('POST', '/v1/acks', {
        acks: [...tokens.cursors, ...tokens.tickets].map((token) => ({ token, action: 'ack' })),
      }),
      headers: JSON_TYPE,
    }),
  ]
}
