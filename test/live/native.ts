/** The tests' own way to JetStream, past the bridge: a native client, and the record of all that a stream ever had. */
import { setTimeout as delay } from 'node:timers/promises'
import { connect, headers, type NatsConnection } from 'nats.ws'
import { covers } from './filters.ts'

export interface NewMessage {
  readonly subject: string
  readonly payload: Uint8Array
  readonly headers: Readonly<Record<string, readonly string[]>>
}

export interface State {
  readonly messages: number
  readonly first_seq: number
  readonly last_seq: number
  readonly consumer_count: number
  readonly deleted?: readonly number[]
}

export interface Purge {
  readonly filter?: string
  readonly seq?: number
  readonly keep?: number
}

export interface Native {
  readonly client: NatsConnection
  /** A request to the JetStream API. Throws with what it complains of. */
  ask<Reply>(path: string, body?: object): Promise<Reply>
  /** Stores a message and answers its sequence. `id`: it is tried until it is stored, once. */
  publish(message: NewMessage, id?: string): Promise<number>
  /** Resolves once the server answers again. */
  ready(): Promise<void>
  close(): Promise<void>
}

const REQUEST_MS = 5_000
const RETRY_MS = 500
const ROLLUP = 'Nats-Rollup'

/** Connects to a nats-server past any relay; comes back by itself after an outage. */
export const openNative = async (wsUrl: string): Promise<Native> => {
  const client = await connect({
    servers: wsUrl,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 20,
    reconnectJitter: 0,
  })
  const request = async <Reply>(
    subject: string,
    body: Uint8Array | string,
    timeout: number,
    block = headers(),
  ) => {
    const reply = await client.request(subject, body, { timeout, headers: block })
    const answer = reply.json<Reply & { error?: { description: string } }>()
    if (answer.error) throw new Error(`${subject}: ${answer.error.description}`)
    return answer
  }
  const store = async ({ subject, payload, headers: given }: NewMessage, timeout: number, id?: string) => {
    const block = headers()
    for (const [name, values] of Object.entries(given)) for (const value of values) block.append(name, value)
    if (id !== undefined) block.set('Nats-Msg-Id', id)
    return (await request<{ seq: number }>(subject, payload, timeout, block)).seq
  }
  const until = async <Result>(attempt: () => Promise<Result>): Promise<Result> => {
    const giveUpAt = performance.now() + 20_000
    for (;;) {
      try {
        return await attempt()
      } catch (err) {
        if (performance.now() > giveUpAt) throw err
        await delay(20)
      }
    }
  }
  return {
    client,
    ask: (path, body) => request(`$JS.API.${path}`, body ? JSON.stringify(body) : '', REQUEST_MS),
    publish: (message, id) =>
      id === undefined ? store(message, REQUEST_MS) : until(() => store(message, RETRY_MS, id)),
    ready: async () => {
      await until(() => request('$JS.API.INFO', '', RETRY_MS))
    },
    close: () => client.close(),
  }
}

/** All that was ever stored in one stream, and what was taken out of it one by one. */
export class StreamLog {
  readonly name: string
  readonly stored = new Map<number, NewMessage>()
  /** Where the stream began at most: nothing before it can be missed without a word. */
  highestFirstSeq = 0
  readonly #native: Native
  readonly #perSubject: number
  readonly #deleted = new Set<number>()

  constructor(native: Native, name: string, perSubject: number) {
    this.#native = native
    this.name = name
    this.#perSubject = perSubject
  }

  /** `safely`: each carries an id, so that it can be tried again while NATS is away. */
  async publish(messages: readonly NewMessage[], safely = false): Promise<void> {
    const queue = [...messages]
    const work = async () => {
      for (let message = queue.shift(); message; message = queue.shift()) {
        const id = safely ? crypto.randomUUID() : undefined
        const seq = await this.#native.publish(message, id)
        const given = id === undefined ? {} : { 'Nats-Msg-Id': [id] }
        this.stored.set(seq, { ...message, headers: { ...message.headers, ...given } })
      }
    }
    await Promise.all(Array.from({ length: 32 }, work))
  }

  async purge(request: Purge): Promise<void> {
    const { seq = Number.POSITIVE_INFINITY, filter } = request
    for (const [at, { subject }] of this.stored)
      if (filter !== undefined && at < seq && covers(filter, subject)) this.#deleted.add(at)
    await this.#native.ask(`STREAM.PURGE.${this.name}`, request)
    await this.state()
  }

  /** What is not there any more may be deleted too, but nothing that is not there yet. */
  async delete(seq: number): Promise<void> {
    if (!this.stored.has(seq)) return
    this.#deleted.add(seq)
    await this.#native.ask(`STREAM.MSG.DELETE.${this.name}`, { seq }).catch(() => undefined)
    await this.state()
  }

  /**
   * What is missing between the first message and the last counts as deleted one by one, however it went: a server that
   * was killed may have forgotten how far it had purged, and then begins where it began before.
   */
  async state(): Promise<State> {
    const { state } = await this.#native.ask<{ state: State }>(`STREAM.INFO.${this.name}`, {
      deleted_details: true,
    })
    this.highestFirstSeq = Math.max(this.highestFirstSeq, state.first_seq)
    for (const seq of state.deleted ?? []) this.#deleted.add(seq)
    return state
  }

  /** Removed one by one, by a filter, a rollup or a newer message of its subject: what the API calls no gap. */
  singlyRemoved(): ReadonlySet<number> {
    const removed = new Set(this.#deleted)
    const newer = new Map<string, number>()
    const rolledUp = new Set<string>()
    for (const [seq, { subject, headers }] of [...this.stored].sort(([a], [b]) => b - a)) {
      const count = newer.get(subject) ?? 0
      if (rolledUp.has(subject) || (this.#perSubject > 0 && count >= this.#perSubject)) removed.add(seq)
      newer.set(subject, count + 1)
      if (headers[ROLLUP]) rolledUp.add(subject)
    }
    return removed
  }

  /** The sequences that are there now and match, in order. */
  async present(filters: readonly string[]): Promise<number[]> {
    const { first_seq, deleted = [] } = await this.state()
    const removed = new Set(deleted)
    const matches = (subject: string) =>
      filters.length === 0 || filters.some((filter) => covers(filter, subject))
    return [...this.stored]
      .filter(([seq, { subject }]) => seq >= first_seq && !removed.has(seq) && matches(subject))
      .map(([seq]) => seq)
      .sort((a, b) => a - b)
  }
}
