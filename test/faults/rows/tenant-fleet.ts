/** Tenants side by side: users with streams of their own, each with a secret that no other may ever see. */
import { randomBytes } from 'node:crypto'
import { authorizationText, basic, type NatsUser, usersText } from '../../auth/support.ts'
import { publishPath } from '../../contract/client.ts'

/** What keeps tenants apart: an account each, or what each may do in the one that they share. */
export type Separation = 'accounts' | 'permissions'

/** What a tenant has, and what others may know of it but its `secret`. */
export interface Tenant {
  readonly index: number
  readonly authorization: string
  readonly stream: string
  readonly subject: string
  readonly consumer: string
  readonly key: string
  /** Stands in its payloads, headers, descriptions, and in the names of what nobody else knows of. */
  readonly secret: string
}

/** Something of each kind that a tenant was given. */
export interface Tokens {
  readonly cursors: readonly string[]
  readonly acks: readonly string[]
  readonly tickets: readonly string[]
}

export interface Asked {
  readonly method: string
  readonly path: string
  readonly body?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
}

export interface Answered {
  readonly status: number
  readonly headers: string
  readonly text: string
}

const MESSAGES = 5
const DELIVERIES = 3
/** A stream of events goes on: so much of it is looked at. */
const LOOK_MS = 250
const GIVE_UP_MS = 20_000

const hex = () => randomBytes(6).toString('hex')

/** What a user needs for its own streams, which begin alike, and for nothing else. */
const ownStreams = (prefix: string): readonly string[] => [
  `${prefix}.>`,
  ...[prefix, `${prefix}-hidden`].flatMap((stream) => [
    `$JS.API.STREAM.*.${stream}`,
    `$JS.API.STREAM.MSG.*.${stream}`,
    `$JS.API.DIRECT.GET.${stream}`,
    `$JS.API.DIRECT.GET.${stream}.>`,
    `$JS.API.CONSUMER.*.${stream}`,
    `$JS.API.CONSUMER.*.${stream}.>`,
    `$JS.API.CONSUMER.MSG.NEXT.${stream}.>`,
    `$JS.ACK.${stream}.>`,
  ]),
]

/** `count` tenants, and the configuration of the nats-server that knows them. */
export function planTenants(
  separation: Separation,
  count: number,
): { tenants: Tenant[]; configText: string } {
  const planned = Array.from({ length: count }, (_, index) => {
    const prefix = `tenant${index}-${hex()}`
    const user: NatsUser = { name: prefix, password: `password-${hex()}` }
    const tenant: Tenant = {
      index,
      authorization: basic(user),
      stream: prefix,
      subject: `${prefix}.known`,
      consumer: 'worker',
      key: 'the same key of all',
      secret: `secret-${index}-${hex()}`,
    }
    return { tenant, user }
  })
  const configText =
    separation === 'accounts'
      ? `accounts { ${planned
          .map(({ user }, index) => `T${index} { jetstream: enabled, ${usersText([user])} }`)
          .join('\n')} }`
      : authorizationText(
          planned.map(({ user }) => ({ ...user, publish: ownStreams(user.name), subscribe: ['_INBOX.>'] })),
        )
  return { tenants: planned.map(({ tenant }) => tenant), configText }
}

/** One request by a tenant, or by nobody. A body that goes on is cut off. */
export async function ask(
  url: string,
  by: Pick<Tenant, 'authorization'> | undefined,
  asked: Asked,
): Promise<Answered> {
  const stopping = new AbortController()
  const timer = setTimeout(() => stopping.abort(), GIVE_UP_MS)
  const { method, path, body } = asked
  const authorization = by ? { Authorization: by.authorization } : {}
  try {
    const answer = await fetch(url + path, {
      method,
      headers: { ...authorization, ...asked.headers },
      signal: stopping.signal,
      redirect: 'manual',
      ...(body === undefined ? {} : { body }),
    })
    if (answer.headers.get('Content-Type')?.startsWith('text/event-stream'))
      setTimeout(() => stopping.abort(), LOOK_MS)
    const headers = JSON.stringify([...answer.headers])
    return { status: answer.status, headers, text: await readSome(answer) }
  } finally {
    clearTimeout(timer)
  }
}

async function readSome(answer: Response): Promise<string> {
  const chunks: Uint8Array[] = []
  try {
    if (answer.body) for await (const chunk of answer.body) chunks.push(chunk)
  } catch (err) {
    if (!(err instanceof DOMException)) throw err
  }
  return Buffer.concat(chunks).toString('utf8')
}

export const JSON_TYPE = { 'Content-Type': 'application/json' }

export const asking = (method: string, path: string, body?: object, headers = {}): Asked => ({
  method,
  path,
  headers: { ...(body ? JSON_TYPE : {}), ...headers },
  body: body && JSON.stringify(body),
})

/** The answer's JSON. Throws where it is no 2xx. */
export async function mustAsk<Body>(url: string, by: Tenant, asked: Asked): Promise<Body> {
  const { status, text } = await ask(url, by, asked)
  if (status < 200 || status >= 300) throw new Error(`${asked.method} ${asked.path}: ${status} ${text}`)
  return (text === '' ? undefined : JSON.parse(text)) as Body
}

/** Makes what a tenant has: a stream others know, one that nobody else knows, consumers and messages. */
export async function settleIn(url: string, tenant: Tenant): Promise<void> {
  const { stream, consumer, secret, subject } = tenant
  const must = (asked: Asked) => mustAsk(url, tenant, asked)
  const description = `of ${secret}`
  const make = (name: string, subjects: readonly string[]) =>
    must(asking('POST', '/v1/streams', { name, subjects, storage: 'memory', description }))
  await make(stream, [`${stream}.known`, `${stream}.${secret}.>`])
  await make(`${stream}-hidden`, [`${stream}.hidden-${secret}.>`])
  const config = { description, ack_wait_ms: 600_000 }
  await must(asking('PUT', `/v1/streams/${stream}/consumers/${consumer}`, config))
  await must(asking('PUT', `/v1/streams/${stream}/consumers/hidden-${secret}`, config))
  for (let turn = 0; turn < MESSAGES; turn += 1) {
    for (const to of [subject, `${stream}.${secret}.${turn}`])
      await must({
        method: 'POST',
        path: publishPath(to),
        body: secret,
        headers: {
          'NatsH-Secret': secret,
          ...(turn === 0 ? { 'Idempotency-Key': `${tenant.key} ${to}` } : {}),
        },
      })
  }
}

/** Tokens of a tenant, all of them good. */
export async function collectTokens(url: string, tenant: Tenant): Promise<Tokens> {
  const { stream, consumer } = tenant
  const path = `/v1/streams/${stream}`
  const page = await mustAsk<{ cursor: string; messages: { cursor: string }[] }>(
    url,
    tenant,
    asking('GET', `${path}/messages?limit=4`),
  )
  const { cursor } = await mustAsk<{ cursor: string }>(url, tenant, {
    method: 'POST',
    path: publishPath(tenant.subject),
    body: tenant.secret,
  })
  const pull = asking('POST', `${path}/consumers/${consumer}/pull`, { batch: DELIVERIES, wait_ms: 2_000 })
  const pulled = await mustAsk<{ messages: { ack_token: string }[] }>(url, tenant, pull)
  const ticket = async (json: object) =>
    (await mustAsk<{ ticket: string }>(url, tenant, asking('POST', '/v1/tickets', json))).ticket
  return {
    cursors: [page.cursor, ...page.messages.map((message) => message.cursor), cursor],
    acks: pulled.messages.map(({ ack_token }) => ack_token),
    tickets: [await ticket({ stream }), await ticket({ stream, cursor }), await ticket({ stream, consumer })],
  }
}

/** All that there is of a tenant, but for cursors, which are sealed anew each time. */
export async function lookAt(url: string, tenant: Tenant): Promise<string> {
  const seen = await Promise.all(
    [tenant.stream, `${tenant.stream}-hidden`].flatMap((stream) =>
      [`/v1/streams/${stream}`, `/v1/streams/${stream}/consumers`, `/v1/streams/${stream}/subjects`].map(
        async (path) => await mustAsk<unknown>(url, tenant, asking('GET', path)),
      ),
    ),
  )
  return JSON.stringify(seen, (name, value) => (name === 'cursor' ? undefined : value))
}
