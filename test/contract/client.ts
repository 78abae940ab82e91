/** The suite's HTTP client: typed, and each answer is checked against the contract that the bridge publishes. */
import { type Contract, createContract, type Received } from './contract.ts'

export interface Message {
  readonly stream: string
  readonly subject: string
  readonly seq: number
  readonly time: string
  readonly headers: Readonly<Record<string, readonly string[]>>
  readonly data?: string
  readonly data_base64?: string
  readonly json?: unknown
  readonly cursor: string
}

export interface Gap {
  readonly from_seq: number
  readonly to_seq: number
  readonly reason: string
}

export interface Page {
  readonly messages: readonly Message[]
  readonly cursor: string
  readonly up_to_date: boolean
  readonly gap?: Gap
}

export interface Published {
  readonly stream: string
  readonly seq: number
  readonly duplicate: boolean
  readonly cursor: string
}

export interface Delivery extends Omit<Message, 'cursor'> {
  readonly ack_token: string
  readonly delivery_count: number
  readonly ack_deadline: string | null
}

export interface Pulled {
  readonly messages: readonly Delivery[]
  readonly num_pending: number
}

export interface Ack {
  readonly token: string
  readonly action: 'ack' | 'nak' | 'progress' | 'term'
  readonly delay_ms?: number
  readonly delay?: 'backoff'
  readonly reason?: string
}

export interface AckResult {
  readonly status?: 'ok' | 'stale'
  readonly ack_token?: string
  readonly ack_deadline?: string | null
  readonly error?: Problem
}

export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: string
  readonly request_id: string
  readonly retryable: boolean
  readonly side_effects: 'none' | 'possible'
  readonly errors?: readonly { readonly field: string; readonly message: string }[]
  readonly current_seq?: number
  readonly earliest_seq?: number
  readonly missed?: number
  readonly earliest_cursor?: string
}

export interface StreamBody {
  readonly config: Readonly<Record<string, unknown>> & { readonly name: string }
  readonly created: string
  readonly state: Readonly<Record<string, unknown>> & {
    readonly messages: number
    readonly first_seq: number
    readonly last_seq: number
  }
}

export interface ConsumerBody {
  readonly stream: string
  readonly name: string
  readonly config: Readonly<Record<string, unknown>>
  readonly delivered: { readonly consumer_seq: number; readonly stream_seq: number }
  readonly ack_floor: { readonly consumer_seq: number; readonly stream_seq: number }
  readonly num_ack_pending: number
  readonly num_redelivered: number
  readonly num_waiting: number
  readonly num_pending: number
  readonly paused: boolean
  readonly cursor: string
}

export type Query = Readonly<Record<string, string | number | readonly string[] | undefined>>

export interface Call {
  readonly query?: Query
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON, with its content type. */
  readonly json?: unknown
  /** Sent as it is, without a content type of its own. */
  readonly body?: string | Uint8Array
  readonly signal?: AbortSignal
  /** A message's own payload is asked for: its type and content are not the contract's. */
  readonly raw?: boolean
}

/** `body` is the JSON of the answer; undefined where it has none. */
export interface Answer<Body = unknown> {
  readonly status: number
  readonly headers: Headers
  readonly body: Body
  readonly bytes: Uint8Array
}

/** `request` is a method and a path, such as `GET /v1/streams`. */
export interface Client {
  readonly url: string
  readonly contract: Contract
  /** Every answer is checked against the contract, also a refusal. */
  send<Body = unknown>(request: string, call?: Call): Promise<Answer<Body>>
  /** The body of a 2xx; throws on any other answer. */
  ok<Body = unknown>(request: string, call?: Call): Promise<Body>
  /** The head of an answer whose body the caller reads. */
  open(request: string, call?: Call): Promise<{ response: Response; received: Received }>

  publish(subject: string, payload?: string | Uint8Array, headers?: Call['headers']): Promise<Published>
  page(stream: string, query?: Query): Promise<Page>
  pull(consumerPath: string, pull?: Readonly<Record<string, unknown>>): Promise<Pulled>
  settle(...acks: Ack[]): Promise<readonly AckResult[]>
}

export const publishPath = (subject: string) => `/v1/subjects/${encodeURIComponent(subject)}/messages`

/** The `Authorization` of every request, for a bridge that wants a credential. */
const AUTHORIZATION = process.env.SLUICE_AUTH
export const CREDENTIAL: Readonly<Record<string, string>> = AUTHORIZATION
  ? { Authorization: AUTHORIZATION }
  : {}

/** A client for the bridge at `url`, without a slash at its end. */
export async function createClient(url: string): Promise<Client> {
  const document = await fetch(`${url}/openapi.json`)
  if (!document.ok) throw new Error(`GET ${url}/openapi.json → ${document.status}`)
  const contract = createContract(await document.json())

  const open: Client['open'] = async (request, call = {}) => {
    const [method = '', ...rest] = request.split(' ')
    const path = rest.join(' ') + encodeQuery(call.query)
    const body = encodeBody(call)
    const headers = {
      ...CREDENTIAL,
      ...(call.json === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...call.headers,
    }
    const response = await fetch(url + path, {
      method,
      headers,
      redirect: 'manual',
      ...(body === undefined ? {} : { body }),
      ...(call.signal ? { signal: call.signal } : {}),
    })
    return { response, received: { method, path, status: response.status, headers: response.headers } }
  }

  const send = async <Body>(request: string, call: Call = {}): Promise<Answer<Body>> => {
    const { response, received } = await open(request, call)
    const bytes = new Uint8Array(await response.arrayBuffer())
    contract.check({ ...received, bytes, raw: call.raw ?? false })
    return {
      status: response.status,
      headers: response.headers,
      bytes,
      body: readJson(response, bytes) as Body,
    }
  }

  const ok = async <Body>(request: string, call?: Call): Promise<Body> => {
    const { status, body } = await send<Body>(request, call)
    if (status >= 200 && status < 300) return body
    throw new Error(`${request} → ${status} ${JSON.stringify(body)}`)
  }

  return {
    url,
    contract,
    send,
    ok,
    open,
    publish: (subject, payload = '', headers = {}) =>
      ok(`POST ${publishPath(subject)}`, { body: payload, headers }),
    page: (stream, query = {}) => ok(`GET /v1/streams/${stream}/messages`, { query }),
    pull: (consumerPath, pull = {}) => ok(`POST ${consumerPath}/pull`, { json: pull }),
    settle: async (...acks) => {
      const { results } = await ok<{ results: readonly AckResult[] }>('POST /v1/acks', { json: { acks } })
      return results
    },
  }
}

export function encodeQuery(query: Query = {}): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== undefined) parameters.append(name, String(one))
  }
  const text = parameters.toString()
  return text === '' ? '' : `?${text}`
}

// Always bytes: `fetch` would give a text a content type of its own.
function encodeBody({ json, body }: Call): Uint8Array<ArrayBuffer> | undefined {
  const content = json === undefined ? body : JSON.stringify(json)
  return content === undefined ? undefined : Uint8Array.from(Buffer.from(content as string))
}

function readJson(response: Response, bytes: Uint8Array): unknown {
  const isJson = /\bjson\b/.test(response.headers.get('Content-Type') ?? '') && bytes.length > 0
  if (!isJson) return undefined
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    return undefined
  }
}
